package attack_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestTabsMixedUp: one tab's code with another tab's state is refused: the code is bound to the tab that asked
// for it by PKCE, and the answer by the nonce (RFC 9700 section 4.5).
func TestTabsMixedUp(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	tab := func(path, user string) (asked url.Values, callback string) {
		start := b.Get(shop + path)
		return harness.MustQuery(t, start.RedirectTo()), b.Consent(b.Follow(start), harness.Approve(user)).RedirectTo()
	}
	askedOne, one := tab("/one", harness.Kari)
	askedTwo, two := tab("/two", harness.Bjorn)
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if askedOne.Get(name) == "" || askedOne.Get(name) == askedTwo.Get(name) {
			t.Errorf("%s of the tabs: %q and %q", name, askedOne.Get(name), askedTwo.Get(name))
		}
	}
	var verifier string
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		verifier = form.Get("code_verifier")
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.Vipps.Sim.ServeHTTP(rw, r)
	})
	b.Get(harness.WithQuery(t, one, "code="+harness.MustQuery(t, two).Get("code"))).WantStatus(t, http.StatusBadRequest)
	hash := sha256.Sum256([]byte(verifier))
	if len(verifier) < 43 || base64.RawURLEncoding.EncodeToString(hash[:]) != askedOne.Get("code_challenge") {
		t.Errorf("code_verifier %q is not that of the first tab", verifier)
	}
	// A provider that does not look at the code_verifier: the nonce says whose answer it is.
	_, three := tab("/three", harness.Kari)
	w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { claims["nonce"] = askedTwo.Get("nonce") }})
	b.Get(three).WantStatus(t, http.StatusBadGateway)
	if strings.Contains(b.Cookies(shop), "vipps_session") {
		t.Error("a session")
	}
}

// TestLoginCSRF: somebody's own callback, opened in a stranger's browser, logs nobody in, also where a
// sibling subdomain has planted the cookie that goes with it (CVE-2021-41246; RFC 6265bis section 4.1.3.2).
func TestLoginCSRF(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.SecureShops)
	shop := w.SecureShop("shop-a.localhost")
	for name, plant := range map[string]func(cookie string) string{
		"no cookie":              func(string) string { return "" },
		"planted without Host-":  func(cookie string) string { return strings.ReplaceAll(cookie, "__Host-", "") },
		"planted in other case":  func(cookie string) string { return strings.ReplaceAll(cookie, "__Host-", "__host-") },
		"planted with a space":   func(cookie string) string { return strings.ReplaceAll(cookie, "__Host-", "__Host- ") },
		"planted with U+2000":    func(cookie string) string { return "\u2000" + cookie },
		"planted with U+00A0":    func(cookie string) string { return "\u00a0" + cookie },
		"planted with U+0085":    func(cookie string) string { return "\u0085" + cookie },
		"planted with a tab":     func(cookie string) string { return strings.ReplaceAll(cookie, "__Host-", "__Host-\t") },
		"planted without name":   func(cookie string) string { return "=" + cookie }, // a nameless cookie serialises as its value
		"planted Secure- prefix": func(cookie string) string { return strings.ReplaceAll(cookie, "__Host-", "__Secure-") },
		"as a session": func(cookie string) string {
			return "__Host-vipps_session=1" + cookie[strings.IndexByte(cookie, '=')+1:]
		},
		"under another login's id": func(cookie string) string {
			return "__Host-vipps_login_AAAAAAAAAAAAAAAAAAAAAA" + cookie[strings.IndexByte(cookie, '='):]
		},
	} {
		t.Run(name, func(t *testing.T) {
			attacker, victim := harness.NewBrowser(t), harness.NewBrowser(t)
			callback := attacker.Approved(shop+"/", harness.Bjorn).RedirectTo()
			w.Vipps.Counted()
			a := victim.Get(callback, "Cookie: "+plant(attacker.Cookies(shop+"/"))).WantStatus(t, http.StatusBadRequest)
			for _, cookie := range a.Cookies() {
				if strings.Contains(cookie.Name, "session") && cookie.Value != "" {
					t.Errorf("logged in as the attacker: %s", cookie.Raw)
				}
			}
			if calls := w.Vipps.Counted(); len(calls) > 0 {
				t.Errorf("Vipps was called: %v", calls)
			}
		})
	}
}

// TestSessionFixation: a login opens a session of its own, whatever session the browser was given before
// (GHSA-f24x-5g9q-753f), and a planted session on HTTPS is none.
func TestSessionFixation(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.SecureShops)
	shop := w.SecureShop("shop-a.localhost")
	attacker := harness.NewBrowser(t)
	attacker.Login(shop+"/", harness.Bjorn).WantStatus(t, http.StatusOK)
	attackers := attacker.Cookies(shop + "/")
	// What a sibling subdomain can plant: the names that the browser does not take for __Host- ones, in front of
	// the person's own where their path is longer.
	planted := map[string]string{"no prefix": strings.ReplaceAll(attackers, "__Host-", "")}
	for _, space := range "\u0085\u00a0\u1680\u2000\u2009\u2028\u202f\u205f\u3000\ufeff" {
		planted[fmt.Sprintf("%U", space)] = string(space) + attackers
	}
	person := harness.NewBrowser(t)
	person.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	for name, cookie := range planted {
		harness.NewBrowser(t).Get(shop+"/", "Cookie: "+cookie).WantStatus(t, http.StatusFound)
		harness.NewBrowser(t).Get(shop+"/", "Cookie: "+cookie+"; "+person.Cookies(shop+"/")).WantStatus(t, http.StatusOK)
		r := w.Upstream.Last(t)
		if got := r.Header.Get("X-Vipps-Name"); got != "Kari Nordmann" {
			t.Errorf("%s: with the planted session before her own, Kari is %q", name, got)
		}
		if strings.Contains(r.Header.Get("Cookie"), "vipps_session=") && name != "U+FEFF" { // which nobody trims
			t.Errorf("%s: the site got %q", name, r.Header.Get("Cookie"))
		}
	}

	victim := harness.CopyOf(attacker, shop+"/") // worse than planted: with the prefix
	victim.Follow(victim.Consent(victim.Follow(victim.Get(shop+"/vipps/login")), url.Values{"user": {harness.Kari}, "answer": {"approve"}})).WantStatus(t, http.StatusOK)
	if name := w.Upstream.Last(t).Header.Get("X-Vipps-Name"); name != "Kari Nordmann" {
		t.Errorf("logged in as %q", name)
	}
	if victim.Cookies(shop+"/") == attackers {
		t.Error("the session is the one that was there before")
	}
	attacker.Get(shop+"/").WantStatus(t, http.StatusFound) // the login has ended the session that it replaced
}

// TestHeapsOfCookies: 64 KiB of cookies of all kinds neither crash, nor lock anybody out, nor make a
// session (CVE-2024-24814, CVE-2023-28625, CVE-2026-54789, CVE-2026-55149).
func TestHeapsOfCookies(t *testing.T) {
	w := harness.NewWorld(t)
	w.LoadWhole(strings.Replace(w.Globals(), "protocols h1 h2", "protocols h1 h2\n\t\tmax_header_size 256KB", 1) + harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	session := b.Cookies(shop + "/")
	heap := func(format string) string {
		var pairs []string
		for size, i := 0, 0; size < 64<<10; i++ {
			pairs = append(pairs, fmt.Sprintf(format, i))
			size += len(pairs[i]) + 2
		}
		return strings.Join(pairs, "; ")
	}
	for name, format := range map[string]string{
		"others":            "cookie%d=value",
		"logins":            "vipps_login_%022d=AAAA",
		"chunks":            "vipps_session_%d=AAAA",
		"chunk counts":      "vipps_session_2=%dAAAA",
		"one name":          "x=%d",
		"no pairs":          "%d",
		"separators":        ";;;;%d=;;==;",
		"control":           "a\x01%d=\xff\xfe",
		"quotes":            `a%d="";"\"`,
		"of another scheme": "__Host-vipps_session=%d",
	} {
		t.Run(name, func(t *testing.T) {
			junk := heap(format)
			for cookie, want := range map[string]int{junk: 302, session + "; " + junk: 200, junk + "; " + session: 200} {
				began := time.Now()
				status, _ := harness.RawRequest(t, w.HTTP, "GET / HTTP/1.1\r\nHost: shop-a.localhost\r\nAccept: text/html\r\nConnection: close\r\nCookie: "+cookie+"\r\n\r\n")
				// Go's server refuses control characters in a header field before anybody sees them.
				if status != want && !(name == "control" && status == http.StatusBadRequest) {
					t.Errorf("got %d, want %d", status, want)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("it took %s", took)
				}
			}
		})
	}
	// Where one name stands twice, the first counts, and nothing is put together of both.
	half := session[:len(session)/2]
	for cookie, want := range map[string]int{session + "; " + session: 200, half + "; " + session: 302, session + "; vipps_session=": 200, session + "; vipps_session_1=x; vipps_session_2=y": 200} {
		harness.NewBrowser(t).Get(shop+"/", "Cookie: "+cookie).WantStatus(t, want)
	}
	for _, first := range []string{"0", "1", "2", "3", "4", "9", "99999999999", "-1", ":", "/", "\x30\x30", "a"} {
		harness.NewBrowser(t).Get(shop+"/", "Cookie: vipps_session="+first+"; vipps_session_1=A; vipps_session_2=A").WantStatus(t, http.StatusFound)
	}
}

// TestWithdrawnSecret: once a secret is withdrawn, nothing that it sealed is good, whatever it was sealed for.
func TestWithdrawnSecret(t *testing.T) {
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	sites := strings.Replace(harness.TwoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\treturn_in_any_browser\n\t}\n", 1)
	load := func(secrets string) {
		w.LoadWhole(strings.Replace(w.Globals(), "cookie_secret "+harness.CookieSecret, "cookie_secret "+secrets, 1) + sites)
	}
	const other = "another-cookie-secret-for-the-tests-of-32-bytes"
	load(harness.CookieSecret)
	type pending struct {
		b        *harness.Browser
		callback string
	}
	var logins []pending
	for range 4 {
		b := harness.NewBrowser(t)
		logins = append(logins, pending{b, b.Approved(shop+"/", harness.Kari).RedirectTo()})
	}
	load(other + " " + harness.CookieSecret)
	logins[0].b.Get(logins[0].callback).WantStatus(t, http.StatusFound)
	harness.NewBrowser(t).Get(logins[1].callback).WantStatus(t, http.StatusFound)
	load(other)
	w.Vipps.Counted()
	logins[2].b.Get(logins[2].callback).WantStatus(t, http.StatusBadRequest)
	harness.NewBrowser(t).Get(logins[3].callback).WantStatus(t, http.StatusBadRequest)
	if calls := w.Vipps.Counted(); len(calls) > 0 {
		t.Errorf("Vipps was called: %v", calls)
	}
	// An undecodable cookie is no error for ever: the next login works.
	logins[2].b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
}

// TestNobodyFillsUpTheState: logins that are only started take no memory and no storage here, so a flood of
// them locks nobody out.
func TestNobodyFillsUpTheState(t *testing.T) {
	w := harness.NewWorld(t)
	sites := strings.Replace(harness.TwoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\treturn_in_any_browser\n\t}\n", 1)
	w.Load(sites)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	callback := b.Approved(shop+"/", harness.Kari).RedirectTo()
	var before []string
	harness.WaitFor(t, func() bool { before = w.Stored(t); return len(before) >= 3 }) // the epoch, the list's marker and the last sweep
	flood := harness.NewBrowser(t)
	flood.Client.Jar = nil
	for range 200 {
		flood.Get(shop+"/vipps/login").WantStatus(t, http.StatusFound)
	}
	if after := w.Stored(t); !slices.Equal(before, after) {
		t.Errorf("storage had %v, and has %v", before, after)
	}
	b.Get(callback).WantStatus(t, http.StatusFound)
}
