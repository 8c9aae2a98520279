package vippslogin

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/session"
)

// TestRequireMaxAge: a login is good for as long as max_age says, from when it was completed here, and logs in anew after
// that, as often as need be.
func TestRequireMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, time.Hour)
		defer b.handler.app.shared.client.Stop()
		b.handler.requirements = []requirement{{need: session.Need{MaxAge: 10 * time.Minute}}}
		const page = "http://shop.localhost/checkout/"
		cookies, status := b.login()
		if status != http.StatusOK {
			t.Fatalf("the first login: %d", status)
		}
		for range 3 {
			time.Sleep(10*time.Minute - time.Millisecond)
			if got := b.ask(page, cookies).StatusCode; got != http.StatusOK {
				t.Fatalf("just before: %d", got)
			}
			time.Sleep(time.Millisecond)
			start := b.ask(page, cookies)
			if start.StatusCode != http.StatusFound || strings.Contains(start.Header.Get("Location"), "max_age") {
				t.Fatalf("after ten minutes: %d %s", start.StatusCode, start.Header.Get("Location"))
			}
			time.Sleep(5 * time.Minute) // the person takes their time
			callback := b.approved(start.Header.Get("Location"))
			back := b.ask(callback, cookies)
			if got := b.ask(back.Header.Get("Location"), cookies).StatusCode; back.Header.Get("Location") != page || got != http.StatusOK {
				t.Fatalf("back: %s %d", back.Header.Get("Location"), got)
			}
		}
	})
}

// TestRequireLoops: clocks that differ by more than a max_age could send people round for ever. It ends with a page.
func TestRequireLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, time.Hour)
		defer b.handler.app.shared.client.Stop()
		b.handler.requirements = []requirement{{need: session.Need{MaxAge: time.Second}}}
		cookies, _ := b.login()
		for i := range 10 {
			time.Sleep(time.Second)
			start := b.ask("http://shop.localhost/", cookies)
			if start.StatusCode != http.StatusFound {
				t.Fatalf("login %d for more: %d", i+1, start.StatusCode)
			}
			b.ask(b.approved(start.Header.Get("Location")), cookies)
		}
		time.Sleep(time.Second)
		if got := b.ask("http://shop.localhost/", cookies); got.StatusCode != http.StatusLoopDetected || got.Header.Get("Retry-After") == "" {
			t.Errorf("the eleventh: %d", got.StatusCode)
		}
		time.Sleep(30 * time.Second)
		if got := b.ask("http://shop.localhost/", cookies).StatusCode; got != http.StatusFound {
			t.Errorf("half a minute later: %d", got)
		}
	})
}

// TestLoopEnds by itself after half a minute, and is seen where sessions end at once as well.
func TestLoopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, time.Hour)
		defer b.handler.app.shared.client.Stop()
		const address = "http://shop.localhost/vipps/login?return_to=/"
		cookies := map[string]string{}
		again := func() int {
			t.Helper()
			start := b.ask(address, cookies)
			if start.StatusCode != http.StatusFound {
				page, _ := io.ReadAll(start.Body)
				if !strings.Contains(string(page), "circles") {
					t.Errorf("%d: %s", start.StatusCode, page)
				}
				return start.StatusCode
			}
			return b.ask(b.approved(start.Header.Get("Location")), cookies).StatusCode
		}
		for i := range 3 {
			if status := again(); status != http.StatusFound {
				t.Fatalf("login %d: %d", i+1, status)
			}
			time.Sleep(10*time.Second - time.Millisecond)
		}
		if status := again(); status != http.StatusLoopDetected {
			t.Errorf("the fourth: %d", status)
		}
		time.Sleep(3 * time.Millisecond)
		if status := again(); status != http.StatusFound {
			t.Errorf("half a minute after the first: %d", status)
		}

		// Sessions that this instance takes for ones of the future, since its clock is behind by more than it forgives.
		cookies = map[string]string{}
		for range 3 {
			if status := again(); status != http.StatusFound {
				t.Fatalf("%d", status)
			}
			b.handler.lifetime = time.Nanosecond
			time.Sleep(2 * time.Second)
			if status := again(); status == http.StatusLoopDetected {
				return
			}
			b.handler.lifetime = 12 * time.Hour
		}
		t.Error("sessions that end at once make no loop")
	})
}

// TestRequireOfStoredSessions: of a session from before scopes were remembered nothing is known of them: it meets no
// requirement of any. What it says of the login's time and confirmation counts.
func TestRequireOfStoredSessions(t *testing.T) {
	s, ok := session.Open(sealtest.Keys(t).Session, readStored(t).Session, storedHost, storedMSN)
	if !ok {
		t.Fatal("does not open")
	}
	for scope, need := range map[string]session.Need{"name": {Scopes: session.ScopesOf("name")}, "openid": {Scopes: session.ScopesOf("openid")}} {
		if need.Missing(s, storedAt).IsZero() {
			t.Errorf("it has asked for %s", scope)
		}
	}
	need := session.Need{MaxAge: time.Minute, Confirmed: true}
	if got := need.Missing(s, storedAt.Add(59*time.Second)); !got.IsZero() {
		t.Errorf("missing: %+v", got)
	}
	if got := need.Missing(s, storedAt.Add(time.Minute)); got != (session.Need{MaxAge: time.Minute}) {
		t.Errorf("missing: %+v", got)
	}
	if s.History().IsRecent(storedAt) {
		t.Error("it remembers logins")
	}
}
