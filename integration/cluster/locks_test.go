package cluster_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/internal/harness"
)

func init() { caddy.RegisterModule(new(hangingStorage)) }

// hangingStorage is Caddy's file storage, but for one thing: while there is a file "hang" in it, it never
// ends to write a phone login down. So an instance can be caught with a lock in its hand.
type hangingStorage struct{ *certmagic.FileStorage }

func (*hangingStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.hanging", New: func() caddy.Module { return &hangingStorage{new(certmagic.FileStorage)} }}
}

func (s *hangingStorage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&s.Path) {
		return d.ArgErr()
	}
	return nil
}

func (s *hangingStorage) CertMagicStorage() (certmagic.Storage, error) { return s, nil }

func (s *hangingStorage) Store(ctx context.Context, key string, value []byte) error {
	if id, ok := strings.CutPrefix(key, "vipps_login/phone_login/"); ok && s.Exists(ctx, "hang") {
		_ = s.FileStorage.Store(ctx, "hangs/"+id, nil)
		select {} // until the end of the process
	}
	return s.FileStorage.Store(ctx, key, value)
}

// TestLocksOfTheDead: an instance dies with the locks of two logins in its hand, and the other goes on
// with both within the time that storage.go gives it. It had one of the locks itself a moment before.
func TestLocksOfTheDead(t *testing.T) {
	const lockTimeout = 20 * time.Second // as in storage.go
	w := harness.NewPhoneWorld(t)
	w.UseFiles()
	if err := caddy.Stop(); err != nil { // the one in this process
		t.Fatal(err)
	}
	survivor := w.StartInstance(harness.PhoneShops)
	victim := w.StartChangedInstance(freeport.New(t), harness.PhoneShops, strings.NewReplacer("storage file_system", "storage hanging"))
	a, b := w.Through(survivor), w.Through(victim)

	fresh, _ := a.Start(w, `{"phone_number":"+4712345678"}`)
	held, heldRequest := a.Start(w, `{"phone_number":"+4740000001"}`)
	if err := os.WriteFile(filepath.Join(w.Storage, "hang"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// The survivor has the lock of the one login for a moment, and lets go of it.
	w.Ping(t, a.Shop+"/vipps/webhook", `{"auth_req_id":"`+heldRequest+`"}`, harness.WebhookSecret, nil).WantStatus(t, http.StatusOK)
	for _, id := range []string{fresh, held} {
		go func() {
			req := harness.NewRequest(t, http.MethodGet, b.Shop+"/vipps/phone/"+id+"?wait=60", nil, "Authorization: Bearer "+harness.APIKey)
			if resp, err := harness.NewBrowser(t).Client.Do(req); err == nil { // cut off
				resp.Body.Close()
			}
		}()
	}
	harness.WaitFor(t, func() bool {
		hanging, _ := os.ReadDir(filepath.Join(w.Storage, "hangs"))
		return len(hanging) == 2
	})
	victim.Kill()
	died := time.Now()
	var all sync.WaitGroup
	for name, id := range map[string]string{"the dead one's alone": fresh, "the survivor's before": held} {
		all.Go(func() {
			answer := a.Call(http.MethodDelete, "/phone/"+id, "")
			took := time.Since(died)
			if answer.StatusCode != http.StatusNoContent || took > lockTimeout {
				t.Errorf("%s: %d %s after %s", name, answer.StatusCode, answer.Text, took)
			}
			t.Logf("%s: the lock was free after %s", name, took)
		})
	}
	all.Wait()
}
