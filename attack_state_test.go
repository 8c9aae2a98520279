package vippslogin_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestTabsMixedUp: one tab's code with another tab's state is refused: the code is bound to the tab that asked
// for it by PKCE, and the answer by the nonce (RFC 9700 section 4.5).
func TestTabsMixedUp(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	tab := func(path, user string) (asked url.Values, callback string) {
		start := b.get(shop + path)
		return mustQuery(t, start.location()), b.consent(b.follow(start), approve(user)).location()
	}
	askedOne, one := tab("/one", kari)
	askedTwo, two := tab("/two", bjorn)
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if askedOne.Get(name) == "" || askedOne.Get(name) == askedTwo.Get(name) {
			t.Errorf("%s of the tabs: %q and %q", name, askedOne.Get(name), askedTwo.Get(name))
		}
	}
	var verifier string
	w.vipps.answer(pathToken, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		verifier = form.Get("code_verifier")
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.vipps.sim.ServeHTTP(rw, r)
	})
	b.get(withQuery(t, one, "code="+mustQuery(t, two).Get("code"))).wantStatus(t, http.StatusBadRequest)
	hash := sha256.Sum256([]byte(verifier))
	if len(verifier) < 43 || base64.RawURLEncoding.EncodeToString(hash[:]) != askedOne.Get("code_challenge") {
		t.Errorf("code_verifier %q is not that of the first tab", verifier)
	}
	// A provider that does not look at the code_verifier: the nonce says whose answer it is.
	_, three := tab("/three", kari)
	w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { claims["nonce"] = askedTwo.Get("nonce") }})
	b.get(three).wantStatus(t, http.StatusBadGateway)
	if strings.Contains(b.cookies(shop), "vipps_session") {
		t.Error("a session")
	}
}

// TestLoginCSRF: somebody's own callback, opened in a stranger's browser, logs nobody in, also where a
// sibling subdomain has planted the cookie that goes with it (CVE-2021-41246; RFC 6265bis section 4.1.3.2).
func TestLoginCSRF(t *testing.T) {
	w := newWorld(t)
	w.load(secureShops)
	shop := w.secureShop("shop-a.localhost")
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
			attacker, victim := newBrowser(t), newBrowser(t)
			callback := attacker.approved(shop+"/", bjorn).location()
			w.vipps.counted()
			a := victim.get(callback, "Cookie: "+plant(attacker.cookies(shop+"/"))).wantStatus(t, http.StatusBadRequest)
			for _, cookie := range a.Cookies() {
				if strings.Contains(cookie.Name, "session") && cookie.Value != "" {
					t.Errorf("logged in as the attacker: %s", cookie.Raw)
				}
			}
			if calls := w.vipps.counted(); len(calls) > 0 {
				t.Errorf("Vipps was called: %v", calls)
			}
		})
	}
}

// TestSessionFixation: a login opens a session of its own, whatever session the browser was given before
// (GHSA-f24x-5g9q-753f), and a planted session on HTTPS is none.
func TestSessionFixation(t *testing.T) {
	w := newWorld(t)
	w.load(secureShops)
	shop := w.secureShop("shop-a.localhost")
	attacker := newBrowser(t)
	attacker.login(shop+"/", bjorn).wantStatus(t, http.StatusOK)
	attackers := attacker.cookies(shop + "/")
	// What a sibling subdomain can plant: the names that the browser does not take for __Host- ones, in front of
	// the person's own where their path is longer.
	planted := map[string]string{"no prefix": strings.ReplaceAll(attackers, "__Host-", "")}
	for _, space := range "\u0085\u00a0\u1680\u2000\u2009\u2028\u202f\u205f\u3000\ufeff" {
		planted[fmt.Sprintf("%U", space)] = string(space) + attackers
	}
	person := newBrowser(t)
	person.login(shop+"/", kari).wantStatus(t, http.StatusOK)
	for name, cookie := range planted {
		newBrowser(t).get(shop+"/", "Cookie: "+cookie).wantStatus(t, http.StatusFound)
		newBrowser(t).get(shop+"/", "Cookie: "+cookie+"; "+person.cookies(shop+"/")).wantStatus(t, http.StatusOK)
		r := w.upstream.last(t)
		if got := r.Header.Get("X-Vipps-Name"); got != "Kari Nordmann" {
			t.Errorf("%s: with the planted session before her own, Kari is %q", name, got)
		}
		if strings.Contains(r.Header.Get("Cookie"), "vipps_session=") && name != "U+FEFF" { // which nobody trims
			t.Errorf("%s: the site got %q", name, r.Header.Get("Cookie"))
		}
	}

	victim := copyOf(attacker, shop+"/") // worse than planted: with the prefix
	victim.follow(victim.consent(victim.follow(victim.get(shop+"/vipps/login")), url.Values{"user": {kari}, "answer": {"approve"}})).wantStatus(t, http.StatusOK)
	if name := w.upstream.last(t).Header.Get("X-Vipps-Name"); name != "Kari Nordmann" {
		t.Errorf("logged in as %q", name)
	}
	if victim.cookies(shop+"/") == attackers {
		t.Error("the session is the one that was there before")
	}
	attacker.get(shop+"/").wantStatus(t, http.StatusFound) // the login has ended the session that it replaced
}

// TestHeapsOfCookies: 64 KiB of cookies of all kinds neither crash, nor lock anybody out, nor make a
// session (CVE-2024-24814, CVE-2023-28625, CVE-2026-54789, CVE-2026-55149).
func TestHeapsOfCookies(t *testing.T) {
	w := newWorld(t)
	w.loadWhole(strings.Replace(w.globals(), "protocols h1 h2", "protocols h1 h2\n\t\tmax_header_size 256KB", 1) + twoShops)
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
	session := b.cookies(shop + "/")
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
				status, _ := rawRequest(t, w.http, "GET / HTTP/1.1\r\nHost: shop-a.localhost\r\nAccept: text/html\r\nConnection: close\r\nCookie: "+cookie+"\r\n\r\n")
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
		newBrowser(t).get(shop+"/", "Cookie: "+cookie).wantStatus(t, want)
	}
	for _, first := range []string{"0", "1", "2", "3", "4", "9", "99999999999", "-1", ":", "/", "\x30\x30", "a"} {
		newBrowser(t).get(shop+"/", "Cookie: vipps_session="+first+"; vipps_session_1=A; vipps_session_2=A").wantStatus(t, http.StatusFound)
	}
}

// TestWithdrawnSecret: once a secret is withdrawn, nothing that it sealed is good, whatever it was sealed for.
func TestWithdrawnSecret(t *testing.T) {
	w := newWorld(t)
	shop := w.shop("shop-a.localhost")
	sites := strings.Replace(twoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\treturn_in_any_browser\n\t}\n", 1)
	load := func(secrets string) {
		w.loadWhole(strings.Replace(w.globals(), "cookie_secret "+cookieSecret, "cookie_secret "+secrets, 1) + sites)
	}
	const other = "another-cookie-secret-for-the-tests-of-32-bytes"
	load(cookieSecret)
	type pending struct {
		b        *browser
		callback string
	}
	var logins []pending
	for range 4 {
		b := newBrowser(t)
		logins = append(logins, pending{b, b.approved(shop+"/", kari).location()})
	}
	load(other + " " + cookieSecret)
	logins[0].b.get(logins[0].callback).wantStatus(t, http.StatusFound)
	newBrowser(t).get(logins[1].callback).wantStatus(t, http.StatusFound)
	load(other)
	w.vipps.counted()
	logins[2].b.get(logins[2].callback).wantStatus(t, http.StatusBadRequest)
	newBrowser(t).get(logins[3].callback).wantStatus(t, http.StatusBadRequest)
	if calls := w.vipps.counted(); len(calls) > 0 {
		t.Errorf("Vipps was called: %v", calls)
	}
	// An undecodable cookie is no error for ever: the next login works.
	logins[2].b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
}

// TestNobodyFillsUpTheState: logins that are only started take no memory and no storage here, so a flood of
// them locks nobody out.
func TestNobodyFillsUpTheState(t *testing.T) {
	w := newWorld(t)
	sites := strings.Replace(twoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\treturn_in_any_browser\n\t}\n", 1)
	w.load(sites)
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	callback := b.approved(shop+"/", kari).location()
	before := w.stored(t)
	flood := newBrowser(t)
	flood.client.Jar = nil
	for range 200 {
		flood.get(shop+"/vipps/login").wantStatus(t, http.StatusFound)
	}
	if after := w.stored(t); !slices.Equal(before, after) {
		t.Errorf("storage had %v, and has %v", before, after)
	}
	b.get(callback).wantStatus(t, http.StatusFound)
}

// stored returns the names of the files in storage that are ours.
func (w *world) stored(t *testing.T) (names []string) {
	t.Helper()
	walk(t, os.DirFS(w.storage), func(name string, _ []byte) {
		if strings.HasPrefix(name, "vipps_login") {
			names = append(names, name)
		}
	})
	slices.Sort(names)
	return names
}
