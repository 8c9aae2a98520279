package login

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/state/statetest"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
)

// FuzzLogin: nothing that nobody sealed opens as a login, and no bytes crash the reader behind the seal.
func FuzzLogin(f *testing.F) {
	keys := sealtest.Keys(f, string(seal.RandomBytes(32))) // of this process: seeds come from another one
	l := New("/x?y=1", time.Now())
	good := Seal(keys.Login, l, "h", "123456", MaxState)
	f.Add(good, l.encode())
	f.Add("", New("/"+strings.Repeat("long/", 100), time.Now()).encode())
	f.Add(Seal(keys.State, l, "h", "123456", MaxState), []byte(strings.Repeat("\x02", 80)))
	f.Add("AAAA", l.encode()[:fixedBytes])
	f.Add("", l.WithoutSecrets().encode())
	f.Add("", New("/"+strings.Repeat("long/", 100), time.Now()).WithoutSecrets().encode())
	f.Fuzz(func(t *testing.T, value string, plain []byte) {
		if _, ok := Open(keys.Login, value, "h", "123456"); ok && strings.NewReplacer("\r", "", "\n", "").Replace(value) != good {
			t.Errorf("opened %q", value)
		}
		read, ok := decode(plain)
		if !ok {
			return
		}
		if len(read.ReturnTo) > seal.MaxUnpacked {
			t.Errorf("%d bytes became a return path of %d", len(plain), len(read.ReturnTo))
		}
		if isWhole := plain[0]&withoutSecrets == 0; read.Carried() && !isWhole || read.Carried() != (read.Nonce != "") {
			t.Errorf("%x opened as %+v", plain, read)
		}
		if again, ok := decode(read.encode()); !ok || !reflect.DeepEqual(again, read) {
			t.Errorf("%+v became %+v", read, again)
		}
	})
}

// TestAskedIsCarried: what a login asks for comes back with it, in a cookie and in a state that carries the whole login, and
// in no other state.
func TestAskedIsCarried(t *testing.T) {
	keys := sealtest.Keys(t)
	for _, returnTo := range []string{"/", "/x?y=1", "/" + strings.Repeat("long/", 100)} {
		l := New(returnTo, time.Now().Truncate(time.Millisecond))
		l.Asked = Asked{Scopes: session.ScopesOf("openid", "birthDate", "urn:x"), Confirmed: true, StepUp: true}
		got, ok := Open(keys.Login, Seal(keys.Login, l, "h", "123456", MaxState), "h", "123456")
		if !ok || got.Asked != l.Asked || got.ReturnTo != returnTo || got.Verifier != l.Verifier {
			t.Errorf("%.20s: %+v", returnTo, got)
		}
		told, ok := Open(keys.State, Seal(keys.State, l.WithoutSecrets(), "h", "123456", MaxState), "h", "123456")
		if !ok || told.Asked != (Asked{}) || told.ReturnTo != returnTo {
			t.Errorf("%.20s: the state has %+v", returnTo, told)
		}
	}
	for _, cut := range []string{"", "\x03", "\x03\x01", "\x03\x01\x05", "\x03\x01\x05\x00", "\x03\x01\x05\x09x"} {
		if l, ok := decode(append(make([]byte, fixedBytes), cut...)); ok {
			t.Errorf("%q opened as %+v", cut, l)
		}
	}
}

// TestOutcomeIsToldAgain to the browser that began the login, for the same callback, and for a while.
func TestOutcomeIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSpent()
		ours := &Login{ID: "a", InCookie: true}
		attempt, first, err := s.Begin(ours, [32]byte{1})
		if !first || err != nil {
			t.Fatal(first, err)
		}
		again, first, err := s.Begin(ours, [32]byte{1})
		if first || err != nil || again != attempt {
			t.Errorf("while it runs: %v, %v", first, err)
		}
		if _, _, err := s.Begin(ours, [32]byte{2}); !errors.Is(err, ErrSpent) {
			t.Errorf("with another code: %v", err)
		}
		if _, _, err := s.Begin(&Login{ID: "a"}, [32]byte{1}); !errors.Is(err, ErrSpent) {
			t.Errorf("without the cookie: %v", err)
		}
		want := new(session.Session)
		go s.Finish(attempt, want, nil, "")
		if got, _, err := again.Wait(t.Context()); got != want || err != nil {
			t.Errorf("outcome: %v, %v", got, err)
		}
		time.Sleep(OutcomeKept)
		if _, _, err := s.Begin(ours, [32]byte{1}); !errors.Is(err, ErrSpent) {
			t.Errorf("after a while: %v", err)
		}
		time.Sleep(OutcomeKept)
		synctest.Wait()
		if len(s.recent) > 0 || len(s.order) > 0 {
			t.Error("the session is still in memory")
		}
	})
}

func TestSpentLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSpent()
		spend := func(id string) bool {
			_, first, err := s.Begin(&Login{ID: id}, [32]byte{})
			return first && err == nil
		}
		if !spend("a") || spend("a") || !spend("b") {
			t.Error("a login is good for one use")
		}
		for i := range 3 * maxSpent {
			spend(string(seal.RandomBytes(8)) + string(rune(i)))
		}
		if n := s.cache.ItemCount(); n > maxSpent {
			t.Errorf("%d are remembered", n)
		}
	})
}

// TestLoginEnds after ten minutes, wherever it was kept.
func TestLoginEnds(t *testing.T) {
	keys := sealtest.Keys(t)
	start := time.Now()
	l := New("/x", start)
	for _, size := range []int{MaxState, cookie.MaxLoginBytes} {
		sealed := Seal(keys.Login, l, "h", "123456", size)
		for after, want := range map[time.Duration]bool{0: true, Life - time.Second: true, Life: false, time.Hour: false, -time.Minute: true, -time.Hour: false} {
			opened, ok := Open(keys.Login, sealed, "h", "123456")
			if alive := ok && opened.Alive(start.Add(after)); alive != want {
				t.Errorf("after %s: alive %v", after, alive)
			}
		}
	}
}

// TestLoginCookiesFit in 4 KiB together, however long the paths are.
func TestLoginCookiesFit(t *testing.T) {
	keys := sealtest.Keys(t)
	jar := map[string]string{}
	for i := range 12 {
		r, _ := http.NewRequest(http.MethodGet, "https://h/", nil)
		var line []string
		for name, value := range jar {
			line = append(line, name+"="+value)
		}
		r.Header.Set("Cookie", strings.Join(line, "; "))
		path := "/" + base64.RawURLEncoding.EncodeToString(seal.RandomBytes(450+75*i)) // no shorter when deflated
		w := httptest.NewRecorder()
		now := time.Now().Add(time.Duration(i) * time.Second)
		SetCookie(w, r, cookie.Plain.Login, keys.Login, New(path, now), "h", "123456", true, now)
		for _, c := range w.Result().Cookies() {
			if c.MaxAge < 0 {
				delete(jar, c.Name)
			} else {
				jar[c.Name] = c.Value
			}
		}
		total := 0
		for name, value := range jar {
			total += len(name) + len(value) + 3
		}
		if total > cookie.MaxLoginBytes || len(jar) > cookie.MaxLogins || len(jar) == 0 {
			t.Errorf("after %d logins: %d cookies of %d bytes", i+1, len(jar), total)
		}
	}
}

// TestRedeemAfterLoss: a login from before the shared state was lost may have been completed.
func TestRedeemAfterLoss(t *testing.T) {
	shared := statetest.NewMemory()
	for _, test := range []struct {
		id      string
		started time.Time
		want    error
	}{{"before", time.Now().Add(-2 * time.Second), ErrRedeemed}, {"after", time.Now(), nil}} {
		if err := Redeem(t.Context(), shared, test.id, test.started); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.id, err)
		}
	}
}

// TestRedeemOnce, of many at the same time, whatever instance they are.
func TestRedeemOnce(t *testing.T) {
	folder := t.TempDir()
	var redeemed atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			err := Redeem(t.Context(), store.New(&certmagic.FileStorage{Path: folder}), "an-id", time.Now())
			switch {
			case err == nil:
				redeemed.Add(1)
			case !errors.Is(err, ErrRedeemed):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := redeemed.Load(); n != 1 {
		t.Errorf("redeemed %d times", n)
	}
}
