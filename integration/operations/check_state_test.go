package operations_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
	redis9 "github.com/redis/go-redis/v9"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/internal/redistest"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
)

func init() { caddy.RegisterModule(&otherStorage{}) }

// otherStorage is a storage module such as others write: in order, away, or with other names in its lists than were stored.
type otherStorage struct {
	Manner string `json:"manner"`
}

// CaddyModule implements caddy.Module.
func (*otherStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.other", New: func() caddy.Module { return new(otherStorage) }}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler.
func (s *otherStorage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	d.AllArgs(&s.Manner)
	return nil
}

// CertMagicStorage implements caddy.StorageConverter.
func (s *otherStorage) CertMagicStorage() (certmagic.Storage, error) {
	storage := &storetest.Mannered{Memory: storetest.New(), Excludes: s.Manner != "locks"}
	switch s.Manner {
	case "lists":
		storage.ListPrefix = "caddy/"
	case "away":
		storage.SetAway(true)
	}
	return storage, nil
}

// TestCheckState: shared state on a server is tried, and nothing stays there. Files are not.
func TestCheckState(t *testing.T) {
	w := newCheckWorld(t)
	server := redistest.Start(t, "--requirepass", "redis-secret")
	limited := redis9.NewClient(&redis9.Options{Addr: server.Address(), Password: "redis-secret"})
	defer limited.Close()
	if err := limited.Do(t.Context(), "ACL", "SETUSER", "limited", "on", ">redis-secret", "~*", "&*", "+@all", "-xadd", "-subscribe").Err(); err != nil {
		t.Fatal(err)
	}
	away := redistest.Start(t)
	away.Kill()
	globals := w.Globals()
	redis := func(address, password string) string {
		return strings.Replace(globals, "	vipps_login {", "	vipps_login {\n		state redis {\n			address "+address+"\n			password "+password+"\n		}", 1)
	}
	storage := regexp.MustCompile(`storage file_system ".*"`)
	config := func(manner string) string {
		return storage.ReplaceAllString(globals, "storage other "+manner) + harness.TwoShops
	}
	for name, test := range map[string]struct{ config, status, detail string }{
		"files":                     {globals + harness.TwoShops, "", ""},
		"redis":                     {redis(server.Address(), "redis-secret") + harness.TwoShops, "ok", "state redis"},
		"redis, wrong password":     {redis(server.Address(), "other-redis-secret") + harness.TwoShops, "failed", "refuses: the shared state does not work: redis: WRONGPASS"},
		"redis, no right to append": {redis(server.Address(), "redis-secret\n			username limited") + harness.TwoShops, "failed", "refuses the user XADD, SUBSCRIBE"},
		"redis, away":               {redis(away.Address(), "redis-secret") + harness.TwoShops, "failed", "connection refused"},
		"a module in order":         {config("well"), "ok", "storage other"},
		"a module that is away":     {config("away"), "failed", "storage other does not answer"},
		"a module's lists":          {config("lists"), "failed", "its list of a folder has other names"},
		"a module's locks":          {config("locks"), "failed", "its locks do not exclude"},
	} {
		t.Run(name, func(t *testing.T) {
			w.T = t
			run := w.Check(test.config, "--json")
			if strings.Contains(run.Stdout+run.Stderr, "redis-secret") {
				t.Error("the password is printed")
			}
			var found struct{ Name, Status, Detail, Fix string }
			for _, f := range run.Report(t).Partner {
				if f.Name == "shared_state" {
					found = f
				}
			}
			if found.Status != test.status || !strings.Contains(found.Detail, test.detail) || (found.Status == "failed") != (found.Fix != "") {
				t.Errorf("%+v", found)
			}
		})
	}
	server.Client = redis9.NewClient(&redis9.Options{Addr: server.Address(), Password: "redis-secret"})
	defer server.Client.Close()
	if left := server.Do("KEYS", "*").([]any); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
