package vippslogin_test

import (
	"encoding/base64"
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
	"github.com/caddy-vipps/vippslogin/simulator"
)

const consentSecret = "a-secret-in-the-url-of-the-consent-webhook"

var endableShops = strings.Replace(twoShops, "vipps_login 123456\n",
	"vipps_login 123456 {\n\t\tconsent_webhook_secret an-older-secret-of-32-characters-and-more "+consentSecret+"\n\t}\n", 1)

// copyOf is somebody who has stolen a browser's cookies.
func copyOf(b *browser, address string) *browser {
	b.t.Helper()
	thief := newBrowser(b.t)
	u, _ := url.Parse(address)
	thief.client.Jar.SetCookies(u, b.client.Jar.Cookies(u))
	return thief
}

func (b *browser) loggedIn(address string) bool {
	b.t.Helper()
	return b.get(address).StatusCode == http.StatusOK
}

// TestLogoutEndsCopies: CVE-2024-21492, a logout that only cleared the cookie.
func TestLogoutEndsCopies(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost") + "/"
	b, other := newBrowser(t), newBrowser(t)
	b.login(shop, kari)
	other.login(shop, kari)
	thief := copyOf(b, shop)
	if !thief.loggedIn(shop) {
		t.Fatal("the copy is no session: the test shows nothing")
	}
	b.get(shop+"vipps/logout").wantStatus(t, http.StatusFound)
	if thief.loggedIn(shop) {
		t.Error("the copy lives on")
	}
	if thief.cookies(shop) != "" && strings.Contains(thief.cookies(shop), "vipps_session") {
		t.Error("the cookie was not cleared")
	}
	if !other.loggedIn(shop) {
		t.Error("another session of the same person was ended")
	}
	// Through a reload and a restart.
	thief = copyOf(other, shop)
	other.get(shop+"vipps/logout").wantStatus(t, http.StatusFound)
	w.reload(w.globals() + twoShops + "# changed\n")
	if thief.loggedIn(shop) {
		t.Error("the copy lives again after a reload")
	}
	w.load(twoShops)
	if thief.loggedIn(shop) {
		t.Error("the copy lives again after a restart")
	}
	b.login(shop, kari).wantStatus(t, http.StatusOK)
}

// TestReloadWhileStorageIsAway: a reload forgets no logout, and locks nobody out.
func TestReloadWhileStorageIsAway(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost") + "/"
	b, other := newBrowser(t), newBrowser(t)
	b.login(shop, kari)
	other.login(shop, bjorn)
	thief := copyOf(b, shop)
	away := w.storage + ".away"
	if err := errors.Join(os.Rename(w.storage, away), os.WriteFile(w.storage, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	b.get(shop+"vipps/logout").wantStatus(t, http.StatusFound)
	w.reload(w.globals() + twoShops + "# changed\n")
	if !other.loggedIn(shop) {
		t.Error("somebody with a session is locked out")
	}
	stolen := func() bool { return copyOf(thief, shop).loggedIn(shop) } // each time anew: the cookie is cleared
	if stolen() {
		t.Error("the logout was forgotten at the reload")
	}
	if err := errors.Join(os.Remove(w.storage), os.Rename(away, w.storage)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { // written down as soon as that can be done
		_, err := os.Stat(filepath.Join(w.storage, "vipps_login", "revoked_version")) // last
		return err == nil
	})
	w.load(twoShops)
	if stolen() {
		t.Error("the logout was never written down")
	}
}

// admin is Caddy's admin endpoint.
type admin struct {
	*browser
	address string
}

// loadWithAdmin loads sites with the admin endpoint on.
func (w *world) loadWithAdmin(sites string) admin {
	w.t.Helper()
	address := fmt.Sprintf("localhost:%d", freeport.New(w.t))
	w.loadWhole(strings.Replace(w.globals(), "admin off", "admin "+address, 1) + sites)
	b := newBrowser(w.t)
	b.header = nil // an operator has curl
	return admin{b, "http://" + address + "/vipps_login/sessions"}
}

func (a admin) end(query string) answer {
	a.t.Helper()
	return a.do(newRequest(a.t, http.MethodDelete, a.address+query, nil))
}

// TestAdminEndsSessions by id, person, merchant, and all; those that begin later are good.
func TestAdminEndsSessions(t *testing.T) {
	w := newWorld(t)
	a := w.loadWithAdmin(twoShops)
	shopA, shopB := w.shop("shop-a.localhost")+"/", w.shop("shop-b.localhost")+"/account/"
	kariA, kariB, bjornA := newBrowser(t), newBrowser(t), newBrowser(t)
	login := func() (sub, session string) {
		for _, b := range []*browser{kariA, kariB, bjornA} {
			b.client.Jar = newBrowser(t).client.Jar
		}
		kariB.login(shopB, kari).wantStatus(t, http.StatusOK)
		bjornA.login(shopA, bjorn).wantStatus(t, http.StatusOK)
		kariA.login(shopA, kari).wantStatus(t, http.StatusOK)
		lines := strings.Split(w.logged(), "\n")
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
		a.end(query).wantStatus(t, http.StatusNoContent)
		got := ""
		for _, b := range []struct {
			name, address string
			*browser
		}{{"kariA ", shopA, kariA}, {"kariB ", shopB, kariB}, {"bjornA ", shopA, bjornA}} {
			if b.loggedIn(b.address) {
				got += b.name
			}
		}
		if got != test.want {
			t.Errorf("after %s: %q are logged in, want %q", query, got, test.want)
		}
		// Counted in seconds: a login in the same one is ended, too.
		waitFor(t, func() bool {
			b := newBrowser(t)
			b.login(shopA, kari)
			c := newBrowser(t)
			c.login(shopB, kari)
			return b.loggedIn(shopA) && c.loggedIn(shopB)
		})
	}
	login()
	for query, status := range map[string]int{
		"": 400, "?": 400, "?all=": 400, "?all=false": 400, "?all=true&msn=123456": 400, "?msn=": 400, "?sub=": 400, "?msn=12": 400,
		"?session=x": 400, "?session=AAAAAAAAAAAAAAAA&sub=x": 400, "?msn=123456&msn=234567": 400, "?mns=123456": 400, "?sub=x;msn=123456": 400,
	} {
		a.end(query).wantStatus(t, status)
	}
	if !kariA.loggedIn(shopA) || !kariB.loggedIn(shopB) {
		t.Error("a bad request ended sessions")
	}
	a.get(a.address+"?all=true").wantStatus(t, http.StatusMethodNotAllowed)
}

// TestAdminWithoutGlobalOption: where every merchant has keys of its own, the directive alone brings it.
func TestAdminWithoutGlobalOption(t *testing.T) {
	w := newWorld(t)
	a := w.loadWithAdmin("")
	a.end("?all=true").wantStatus(t, http.StatusNoContent)
	globals, _, _ := strings.Cut(w.globals(), "\tvipps_login {")
	address := strings.TrimSuffix(strings.TrimPrefix(a.address, "http://"), "/vipps_login/sessions")
	globals = strings.Replace(globals, "admin off", "admin "+address, 1) + "}\n"
	w.loadWhole(globals + "http://shop-a.localhost:$HTTP {\n\tvipps_login {\n\t\tmerchant 123456 shop-a.localhost {\n\t\t\tclient_id x\n\t\t\tclient_secret y\n\t\t}\n\t}\n}\n")
	a.end("?all=true").wantStatus(t, http.StatusNoContent)
	w.loadWhole(globals + "http://shop-a.localhost:$HTTP {\n\trespond ok\n}\n")
	a.end("?all=true").wantStatus(t, http.StatusNotFound)
}

// consentRevoked is what Vipps MobilePay sends: an unsigned JWT.
func consentRevoked(event, sub string, issued time.Time) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." +
		encode(fmt.Appendf(nil, `{"sub":%q,"event":%q,"iat":%d,"exp":%d}`, sub, event, issued.Unix(), issued.Unix()+3600)) + "."
}

// TestConsentRevoked ends the person's sessions, for those who know the secret in the URL.
func TestConsentRevoked(t *testing.T) {
	w := newWorld(t)
	w.load(endableShops)
	shop := w.shop("shop-a.localhost")
	b, stranger := newBrowser(t), newBrowser(t)
	b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
	sub := w.upstream.last(t).Header.Get("X-Vipps-Sub")
	stranger.login(shop+"/", bjorn).wantStatus(t, http.StatusOK)
	send := func(query, body string) answer {
		return newBrowser(t).do(newRequest(t, http.MethodPost, shop+"/vipps/webhook"+query, strings.NewReader(body), "Content-Type: text/plain"))
	}
	now := time.Now()
	good := consentRevoked("CONSENT_REVOKED", sub, now)
	for _, query := range []string{"", "?secret=", "?secret=wrong", "?secret=" + consentSecret + "&secret=" + consentSecret, "?Secret=" + consentSecret} {
		send(query, good).wantStatus(t, http.StatusUnauthorized)
	}
	for name, body := range map[string]string{
		"empty": "", "no JWT": "x", "JSON": `{"sub":"x","event":"CONSENT_REVOKED"}`,
		"another event": consentRevoked("CONSENT_GIVEN", sub, now), "no sub": consentRevoked("CONSENT_REVOKED", "", now),
		"long sub": consentRevoked("CONSENT_REVOKED", strings.Repeat("x", 256), now),
	} {
		if a := send("?secret="+consentSecret, body); a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
	}
	send("?secret="+consentSecret, strings.Repeat("x", 70_000)).wantStatus(t, http.StatusRequestEntityTooLarge)
	if !b.loggedIn(shop + "/") {
		t.Fatal("something of that ended the session")
	}
	// One from before the login says nothing about it: it may be sent again for days.
	send("?secret="+consentSecret, consentRevoked("CONSENT_REVOKED", sub, now.Add(-time.Hour))).wantStatus(t, http.StatusOK)
	if !b.loggedIn(shop + "/") {
		t.Error("an old one ended a new session")
	}
	send("?secret="+consentSecret, good+"\n").wantStatus(t, http.StatusOK)
	if b.loggedIn(shop + "/") {
		t.Error("the session lives on")
	}
	// A date that cannot be is no reason to end nothing.
	for _, issued := range []time.Time{time.Unix(-1, 0), time.Unix(0, 0), now.Add(100 * 365 * 24 * time.Hour)} {
		b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
		send("?secret="+consentSecret, consentRevoked("CONSENT_REVOKED", sub, issued)).wantStatus(t, http.StatusOK)
		if b.loggedIn(shop + "/") {
			t.Errorf("issued %s: the session lives on", issued)
		}
	}
	if !stranger.loggedIn(shop + "/") {
		t.Error("somebody else's session was ended")
	}
	if strings.Contains(w.logged(), consentSecret) && strings.Contains(w.logged(), "/vipps/webhook") {
		t.Error("the webhook's URL is in the access log")
	}
	newBrowser(t).do(newRequest(t, http.MethodPost, w.shop("shop-b.localhost")+"/vipps/webhook?secret="+consentSecret, strings.NewReader(good))).
		wantStatus(t, http.StatusOK) // the site's own there
	if w.upstream.last(t).URL.Path != "/vipps/webhook" {
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
	w := worldWith(t, func(*world) []simulator.Merchant {
		return []simulator.Merchant{{MSN: "234567", RedirectURIs: []string{fmt.Sprintf("http://shop-b.localhost:%d/vipps/callback", port)}}}
	})
	first, second := w.startInstanceOn(port, twoShops), w.startInstance(twoShops)
	at := func(i *instance) string { return fmt.Sprintf("http://shop-b.localhost:%d/account/", i.port) }
	b := newBrowser(t)
	b.login(at(first), kari).wantStatus(t, http.StatusOK)
	thief := copyOf(b, at(second))
	u, _ := url.Parse(at(first))
	v, _ := url.Parse(at(second))
	thief.client.Jar.SetCookies(v, b.client.Jar.Cookies(u))
	if !thief.loggedIn(at(second)) {
		t.Fatal("the second instance does not know the session")
	}
	b.get(strings.TrimSuffix(at(first), "account/")+"vipps/logout").wantStatus(t, http.StatusFound)
	first.kill()
	began := time.Now()
	waitFor(t, func() bool {
		fresh := newBrowser(t) // the cookie is cleared when it is no good any more
		fresh.client.Jar.SetCookies(v, thief.client.Jar.Cookies(v))
		return !fresh.loggedIn(at(second))
	})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the second instance knew after %s", took)
	} else {
		t.Logf("the second instance knew after %s", took)
	}
	second.kill()
	third := w.startInstance(twoShops)
	x, _ := url.Parse(at(third))
	late := newBrowser(t)
	late.client.Jar.SetCookies(x, thief.client.Jar.Cookies(v))
	if late.loggedIn(at(third)) {
		t.Error("an instance that starts later lets it in")
	}
}
