package cluster_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestLogoutEndsCopies: CVE-2024-21492, a logout that only cleared the cookie.
func TestLogoutEndsCopies(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost") + "/"
	b, other := harness.NewBrowser(t), harness.NewBrowser(t)
	b.Login(shop, harness.Kari)
	other.Login(shop, harness.Kari)
	thief := harness.CopyOf(b, shop)
	if !thief.LoggedIn(shop) {
		t.Fatal("the copy is no session: the test shows nothing")
	}
	b.Get(shop+"vipps/logout").WantStatus(t, http.StatusFound)
	if thief.LoggedIn(shop) {
		t.Error("the copy lives on")
	}
	if thief.Cookies(shop) != "" && strings.Contains(thief.Cookies(shop), "vipps_session") {
		t.Error("the cookie was not cleared")
	}
	if !other.LoggedIn(shop) {
		t.Error("another session of the same person was ended")
	}
	// Through a reload and a restart.
	thief = harness.CopyOf(other, shop)
	other.Get(shop+"vipps/logout").WantStatus(t, http.StatusFound)
	w.Reload(w.Globals() + harness.TwoShops + "# changed\n")
	if thief.LoggedIn(shop) {
		t.Error("the copy lives again after a reload")
	}
	w.Load(harness.TwoShops)
	if thief.LoggedIn(shop) {
		t.Error("the copy lives again after a restart")
	}
	b.Login(shop, harness.Kari).WantStatus(t, http.StatusOK)
}

// TestReloadWhileStorageIsAway: a reload forgets no logout, and locks nobody out.
func TestReloadWhileStorageIsAway(t *testing.T) {
	w := harness.NewWorld(t)
	w.UseFiles()
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost") + "/"
	b, other := harness.NewBrowser(t), harness.NewBrowser(t)
	b.Login(shop, harness.Kari)
	other.Login(shop, harness.Bjorn)
	thief := harness.CopyOf(b, shop)
	away := w.Storage + ".away"
	if err := errors.Join(os.Rename(w.Storage, away), os.WriteFile(w.Storage, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	b.Get(shop+"vipps/logout").WantStatus(t, http.StatusFound)
	w.Reload(w.Globals() + harness.TwoShops + "# changed\n")
	if !other.LoggedIn(shop) {
		t.Error("somebody with a session is locked out")
	}
	stolen := func() bool { return harness.CopyOf(thief, shop).LoggedIn(shop) } // each time anew: the cookie is cleared
	if stolen() {
		t.Error("the logout was forgotten at the reload")
	}
	if err := errors.Join(os.Remove(w.Storage), os.Rename(away, w.Storage)); err != nil {
		t.Fatal(err)
	}
	harness.WaitFor(t, func() bool { // written down as soon as that can be done
		_, err := os.Stat(filepath.Join(w.Storage, "vipps_login", "revoked_version")) // last
		return err == nil
	})
	w.Load(harness.TwoShops)
	if stolen() {
		t.Error("the logout was never written down")
	}
}

// TestAdminEndsSessions by id, person, merchant, and all; those that begin later are good.
func TestAdminEndsSessions(t *testing.T) {
	w := harness.NewWorld(t)
	a := w.LoadWithAdmin(harness.TwoShops)
	shopA, shopB := w.Shop("shop-a.localhost")+"/", w.Shop("shop-b.localhost")+"/account/"
	kariA, kariB, bjornA := harness.NewBrowser(t), harness.NewBrowser(t), harness.NewBrowser(t)
	login := func() (sub, session string) {
		for _, b := range []*harness.Browser{kariA, kariB, bjornA} {
			b.Client.Jar = harness.NewBrowser(t).Client.Jar
		}
		kariB.Login(shopB, harness.Kari).WantStatus(t, http.StatusOK)
		bjornA.Login(shopA, harness.Bjorn).WantStatus(t, http.StatusOK)
		kariA.Login(shopA, harness.Kari).WantStatus(t, http.StatusOK)
		lines := strings.Split(w.Logged(), "\n")
		for _, line := range lines {
			var fields struct{ Msg, Sub, Session string }
			if json.Unmarshal([]byte(line), &fields) == nil && fields.Msg == "login completed" {
				sub, session = fields.Sub, fields.Session // of the last: Kari at shop A
			}
		}
		return sub, session
	}
	for _, test := range []struct {
		query func(sub, session string) string
		want  string // who is still logged in
	}{
		{func(_, session string) string { return "?session=" + session }, "kariB bjornA "},
		{func(sub, _ string) string { return "?sub=" + sub }, "kariB bjornA "},
		{func(sub, _ string) string { return "?msn=123456&sub=" + sub }, "kariB bjornA "},
		{func(sub, _ string) string { return "?msn=234567&sub=" + sub }, "kariA kariB bjornA "},
		{func(string, string) string { return "?msn=123456" }, "kariB "},
		{func(string, string) string { return "?msn=234567" }, "kariA bjornA "},
		{func(string, string) string { return "?all=true" }, ""},
	} {
		query := test.query(login())
		a.End(query).WantStatus(t, http.StatusNoContent)
		got := ""
		for _, b := range []struct {
			name, address string
			*harness.Browser
		}{{"kariA ", shopA, kariA}, {"kariB ", shopB, kariB}, {"bjornA ", shopA, bjornA}} {
			if b.LoggedIn(b.address) {
				got += b.name
			}
		}
		if got != test.want {
			t.Errorf("after %s: %q are logged in, want %q", query, got, test.want)
		}
		// Counted in seconds: a login in the same one is ended, too.
		harness.WaitFor(t, func() bool {
			b := harness.NewBrowser(t)
			b.Login(shopA, harness.Kari)
			c := harness.NewBrowser(t)
			c.Login(shopB, harness.Kari)
			return b.LoggedIn(shopA) && c.LoggedIn(shopB)
		})
	}
	login()
	for query, status := range map[string]int{
		"": 400, "?": 400, "?all=": 400, "?all=false": 400, "?all=true&msn=123456": 400, "?msn=": 400, "?sub=": 400, "?msn=12": 400,
		"?session=x": 400, "?session=AAAAAAAAAAAAAAAA&sub=x": 400, "?msn=123456&msn=234567": 400, "?mns=123456": 400, "?sub=x;msn=123456": 400,
	} {
		a.End(query).WantStatus(t, status)
	}
	if !kariA.LoggedIn(shopA) || !kariB.LoggedIn(shopB) {
		t.Error("a bad request ended sessions")
	}
	a.Get(a.Address+"?all=true").WantStatus(t, http.StatusMethodNotAllowed)
}

// TestAdminWithoutGlobalOption: where every merchant has keys of its own, the directive alone brings it.
func TestAdminWithoutGlobalOption(t *testing.T) {
	w := harness.NewWorld(t)
	w.UseFiles()
	a := w.LoadWithAdmin("")
	a.End("?all=true").WantStatus(t, http.StatusNoContent)
	globals, _, _ := strings.Cut(w.Globals(), "\tvipps_login {")
	address := strings.TrimSuffix(strings.TrimPrefix(a.Address, "http://"), "/vipps_login/sessions")
	globals = strings.Replace(globals, "admin off", "admin "+address, 1) + "}\n"
	w.LoadWhole(globals + "http://shop-a.localhost:$HTTP {\n\tvipps_login {\n\t\tmerchant 123456 shop-a.localhost {\n\t\t\tclient_id x\n\t\t\tclient_secret y\n\t\t}\n\t}\n}\n")
	a.End("?all=true").WantStatus(t, http.StatusNoContent)
	w.LoadWhole(globals + "http://shop-a.localhost:$HTTP {\n\trespond ok\n}\n")
	// Caddy stops the admin server of the former config in the background.
	harness.WaitFor(t, func() bool { return a.End("?all=true").StatusCode == http.StatusNotFound })
}

// TestConsentRevoked ends the person's sessions, for those who know the secret in the URL.
func TestConsentRevoked(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.EndableShops)
	shop := w.Shop("shop-a.localhost")
	b, stranger := harness.NewBrowser(t), harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	sub := w.Upstream.Last(t).Header.Get("X-Vipps-Sub")
	stranger.Login(shop+"/", harness.Bjorn).WantStatus(t, http.StatusOK)
	send := func(query, body string) harness.Answer {
		return harness.NewBrowser(t).Do(harness.NewRequest(t, http.MethodPost, shop+"/vipps/webhook"+query, strings.NewReader(body), "Content-Type: text/plain"))
	}
	now := time.Now()
	good := harness.ConsentRevoked("CONSENT_REVOKED", sub, now)
	for _, query := range []string{"", "?secret=", "?secret=wrong", "?secret=" + harness.ConsentSecret + "&secret=" + harness.ConsentSecret, "?Secret=" + harness.ConsentSecret} {
		send(query, good).WantStatus(t, http.StatusUnauthorized)
	}
	for name, body := range map[string]string{
		"empty": "", "no JWT": "x", "JSON": `{"sub":"x","event":"CONSENT_REVOKED"}`,
		"another event": harness.ConsentRevoked("CONSENT_GIVEN", sub, now), "no sub": harness.ConsentRevoked("CONSENT_REVOKED", "", now),
		"long sub": harness.ConsentRevoked("CONSENT_REVOKED", strings.Repeat("x", 256), now),
	} {
		if a := send("?secret="+harness.ConsentSecret, body); a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
	}
	send("?secret="+harness.ConsentSecret, strings.Repeat("x", 70_000)).WantStatus(t, http.StatusRequestEntityTooLarge)
	if !b.LoggedIn(shop + "/") {
		t.Fatal("something of that ended the session")
	}
	// One from before the login says nothing about it: it may be sent again for days.
	send("?secret="+harness.ConsentSecret, harness.ConsentRevoked("CONSENT_REVOKED", sub, now.Add(-time.Hour))).WantStatus(t, http.StatusOK)
	if !b.LoggedIn(shop + "/") {
		t.Error("an old one ended a new session")
	}
	send("?secret="+harness.ConsentSecret, good+"\n").WantStatus(t, http.StatusOK)
	if b.LoggedIn(shop + "/") {
		t.Error("the session lives on")
	}
	// A date that cannot be is no reason to end nothing.
	for _, issued := range []time.Time{time.Unix(-1, 0), time.Unix(0, 0), now.Add(100 * 365 * 24 * time.Hour)} {
		b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
		send("?secret="+harness.ConsentSecret, harness.ConsentRevoked("CONSENT_REVOKED", sub, issued)).WantStatus(t, http.StatusOK)
		if b.LoggedIn(shop + "/") {
			t.Errorf("issued %s: the session lives on", issued)
		}
	}
	if !stranger.LoggedIn(shop + "/") {
		t.Error("somebody else's session was ended")
	}
	if strings.Contains(w.Logged(), harness.ConsentSecret) && strings.Contains(w.Logged(), "/vipps/webhook") {
		t.Error("the webhook's URL is in the access log")
	}
	harness.NewBrowser(t).Do(harness.NewRequest(t, http.MethodPost, w.Shop("shop-b.localhost")+"/vipps/webhook?secret="+harness.ConsentSecret, strings.NewReader(good))).
		WantStatus(t, http.StatusOK) // the site's own there
	if w.Upstream.Last(t).URL.Path != "/vipps/webhook" {
		t.Error("taken where none is configured")
	}
}

// TestRevocationsInACluster: what one instance ends, the others know within 10 seconds, and those that
// start later at once; no instance has to live on for it.
func TestRevocationsInACluster(t *testing.T) {
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	port := freeport.New(t)
	w := harness.WorldWith(t, func(*harness.World) []simulator.Merchant {
		return []simulator.Merchant{{MSN: "234567", RedirectURIs: []string{fmt.Sprintf("http://shop-b.localhost:%d/vipps/callback", port)}}}
	})
	first, second := w.StartInstanceOn(port, harness.TwoShops), w.StartInstance(harness.TwoShops)
	at := func(i *harness.Instance) string { return fmt.Sprintf("http://shop-b.localhost:%d/account/", i.Port) }
	b := harness.NewBrowser(t)
	b.Login(at(first), harness.Kari).WantStatus(t, http.StatusOK)
	thief := harness.CopyOf(b, at(second))
	u, _ := url.Parse(at(first))
	v, _ := url.Parse(at(second))
	thief.Client.Jar.SetCookies(v, b.Client.Jar.Cookies(u))
	if !thief.LoggedIn(at(second)) {
		t.Fatal("the second instance does not know the session")
	}
	b.Get(strings.TrimSuffix(at(first), "account/")+"vipps/logout").WantStatus(t, http.StatusFound)
	first.Kill()
	began := time.Now()
	harness.WaitFor(t, func() bool {
		fresh := harness.NewBrowser(t) // the cookie is cleared when it is no good any more
		fresh.Client.Jar.SetCookies(v, thief.Client.Jar.Cookies(v))
		return !fresh.LoggedIn(at(second))
	})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the second instance knew after %s", took)
	} else {
		t.Logf("the second instance knew after %s", took)
	}
	second.Kill()
	third := w.StartInstance(harness.TwoShops)
	x, _ := url.Parse(at(third))
	late := harness.NewBrowser(t)
	late.Client.Jar.SetCookies(x, thief.Client.Jar.Cookies(v))
	if late.LoggedIn(at(third)) {
		t.Error("an instance that starts later lets it in")
	}
}

// TestStorageIsLost: an instance that runs stores again what it knows, the generated cookie secret and the ended sessions, for
// those that start later. It says so.
func TestStorageIsLost(t *testing.T) {
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	port := freeport.New(t)
	w := harness.WorldWith(t, func(*harness.World) []simulator.Merchant {
		return []simulator.Merchant{{MSN: "234567", RedirectURIs: []string{fmt.Sprintf("http://shop-b.localhost:%d/vipps/callback", port)}}}
	})
	first, second := w.StartInstanceOn(port, harness.TwoShops), w.StartInstance(harness.TwoShops)
	at := func(i *harness.Instance) string { return fmt.Sprintf("http://shop-b.localhost:%d/account/", i.Port) }
	ended, open := harness.NewBrowser(t), harness.NewBrowser(t)
	ended.Login(at(first), harness.Kari).WantStatus(t, http.StatusOK)
	open.Login(at(first), harness.Bjorn).WantStatus(t, http.StatusOK)
	u, _ := url.Parse(at(first))
	stolen, kept := ended.Client.Jar.Cookies(u), open.Client.Jar.Cookies(u)
	loggedIn := func(i *harness.Instance, cookies []*http.Cookie) bool {
		v, _ := url.Parse(at(i))
		b := harness.NewBrowser(t)
		b.Client.Jar.SetCookies(v, cookies)
		return b.LoggedIn(at(i))
	}
	ended.Get(strings.TrimSuffix(at(first), "account/")+"vipps/logout").WantStatus(t, http.StatusFound)
	harness.WaitFor(t, func() bool { return !loggedIn(second, stolen) })
	first.Kill()
	w.LoseState()
	harness.WaitFor(t, func() bool { return strings.Contains(w.InstanceLogs(), "has lost what was stored") })
	third := w.StartInstance(harness.TwoShops)
	if loggedIn(third, stolen) {
		t.Error("an instance that starts later lets an ended session in")
	}
	if !loggedIn(third, kept) {
		t.Error("an instance that starts later knows no session: it has another cookie secret")
	}
}
