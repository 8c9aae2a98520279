package vippslogin_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// keepCookies returns what puts the browser's cookies for an address back as they are now: the answer that changed
// them was lost.
func keepCookies(b *browser, address string) (restore func()) {
	u, _ := url.Parse(address)
	kept := b.client.Jar.Cookies(u)
	return func() {
		fresh := newBrowser(b.t).client.Jar
		for _, c := range kept {
			c.Path = "/"
		}
		fresh.SetCookies(u, kept)
		b.client.Jar = fresh
	}
}

// TestLostAnswer: a browser that has lost the answer to a callback asks again, and gets the same outcome. The code
// is exchanged once, and there is one outcome in the log.
func TestLostAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		form   url.Values
		status int
		line   string
	}{
		"a login":     {url.Values{"user": {kari}, "answer": {"approve"}}, http.StatusFound, `"msg":"login completed"`},
		"a cancelled": {url.Values{"answer": {"cancel"}}, http.StatusForbidden, `"msg":"login failed"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.load(twoShops)
			shop := w.shop("shop-a.localhost")
			b := newBrowser(t)
			callback := b.consent(b.follow(b.get(shop+"/wanted")), test.form).location()
			restore := keepCookies(b, shop)
			w.vipps.counted()
			first := b.get(callback).wantStatus(t, test.status)
			for range 2 {
				restore()
				again := b.get(callback).wantStatus(t, test.status)
				if again.location() != first.location() || again.body != first.body {
					t.Errorf("another answer: %s\n%s", again.location(), again.body)
				}
			}
			if test.status == http.StatusFound {
				b.get(shop+"/").wantStatus(t, http.StatusOK)
			}
			if calls := w.vipps.counted(); calls[pathToken] > 1 {
				t.Errorf("the code was sent %d times", calls[pathToken])
			}
			if n := strings.Count(w.logged(), test.line); n != 1 {
				t.Errorf("%d outcomes in the log", n)
			}
			// Another code for the same login, or another browser, gets nothing of it.
			restore()
			b.get(withQuery(t, callback, "-error", "code=another")).wantStatus(t, http.StatusBadRequest)
			newBrowser(t).get(callback).wantStatus(t, http.StatusBadRequest)
		})
	}
}

// TestOverlappingTabs: of two tabs at the login page, the one that came first is sent back by Hydra. The user reads
// that the login was lost, or, logged in by the other tab, goes on to the page that this one wanted.
func TestOverlappingTabs(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	w.vipps.sim.SetFaults(simulator.Faults{LastTabOnly: true})
	approve := url.Values{"user": {kari}, "answer": {"approve"}}
	b := newBrowser(t)
	one, two, three := b.follow(b.get(shop+"/one")), b.follow(b.get(shop+"/two")), b.follow(b.get(shop+"/three"))
	a := b.get(b.consent(one, approve).location()).wantStatus(t, http.StatusBadRequest)
	if !strings.Contains(a.body, "/vipps/login?return_to=%2Fone") {
		t.Errorf("no way on: %s", a.body)
	}
	log := w.logged()
	if line := lineWith(log, `"reason":"other_tab"`); !strings.Contains(line, `"level":"info"`) {
		t.Errorf("log: %s", line)
	}
	b.follow(b.consent(three, approve)).wantStatus(t, http.StatusOK)
	if a := b.get(b.consent(two, approve).location()).wantStatus(t, http.StatusFound); a.location() != shop+"/two" {
		t.Errorf("led to %s", a.location())
	}
}

// TestOverlappingTabsTwice: the callback of a tab that came too late, sent twice, leads to its page twice, and is no
// failure.
func TestOverlappingTabsTwice(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	w.vipps.sim.SetFaults(simulator.Faults{LastTabOnly: true})
	approve := url.Values{"user": {kari}, "answer": {"approve"}}
	b := newBrowser(t)
	one, two := b.follow(b.get(shop+"/one")), b.follow(b.get(shop+"/two"))
	b.follow(b.consent(two, approve)).wantStatus(t, http.StatusOK)
	callback := b.consent(one, approve).location()
	restore := keepCookies(b, shop)
	for range 2 {
		restore()
		if a := b.get(callback).wantStatus(t, http.StatusFound); a.location() != shop+"/one" {
			t.Errorf("led to %s", a.location())
		}
	}
	if line := lineWith(w.logged(), `"msg":"login failed"`); line != "" {
		t.Errorf("log: %s", line)
	}
}

// TestLostAnswerAfterAnotherLogin: an outcome that is told again does not take the place of who has logged in since.
// The session that the login replaced is no reason to keep it back.
func TestLostAnswerAfterAnotherLogin(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	approve := url.Values{"user": {kari}, "answer": {"approve"}}
	b := newBrowser(t)
	b.follow(b.approved(shop+"/", bjorn)).wantStatus(t, http.StatusOK)
	callback := b.consent(b.follow(b.get(shop+"/vipps/login?return_to=%2Fwanted")), approve).location()
	restore := keepCookies(b, shop)
	for range 2 {
		restore()
		b.get(callback).wantStatus(t, http.StatusFound)
		if a := b.get(shop + "/vipps/userinfo"); !strings.Contains(a.body, "Kari") {
			t.Errorf("not told again: %s", a.body)
		}
	}
	restore()
	b.follow(b.approved(shop+"/", bjorn)).wantStatus(t, http.StatusOK)
	if a := b.get(callback).wantStatus(t, http.StatusFound); a.location() != shop+"/wanted" {
		t.Errorf("led to %s", a.location())
	}
	if a := b.get(shop + "/vipps/userinfo"); strings.Contains(a.body, "Kari") {
		t.Errorf("another person: %s", a.body)
	}
}

func lineWith(log, text string) string {
	for line := range strings.Lines(log) {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// TestErrorsOfItsOwn: Hydra's "error" is a fault of the provider, not a refusal.
func TestErrorsOfItsOwn(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	callback := b.approved(shop+"/", kari).location()
	b.get(withQuery(t, callback, "-code", "error=error")).wantStatus(t, http.StatusBadGateway)
}

// TestStrangeParameters: what others add to the callback's address is theirs.
func TestStrangeParameters(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	for _, added := range []string{"&campaign=a;b", "&rate=100%", "&%zz", "&x=%zz", "&;", "&a;b=c", "&fbclid=1&fbclid=2"} {
		b := newBrowser(t)
		if a := b.get(b.approved(shop+"/wanted", kari).location() + added); a.location() != shop+"/wanted" {
			t.Errorf("%s: %d %s", added, a.StatusCode, a.location())
		}
	}
}

// TestFragments: the fragment of return_to, which many a page is known by, is kept on every way. A request target
// has none.
func TestFragments(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	const wanted, asked = "/app/?x=1#/orders/17", "%2Fapp%2F%3Fx%3D1%23%2Forders%2F17"
	b := newBrowser(t)
	b.get(shop + "/vipps/logout?return_to=" + asked)
	if a := b.get(b.approved(shop+"/vipps/login?return_to="+asked, kari).location()); a.location() != shop+wanted {
		t.Errorf("login: %s", a.location())
	}
	if a := b.get(shop + "/vipps/logout?return_to=" + asked); a.location() != shop+wanted {
		t.Errorf("logout: %s", a.location())
	}
	callback := b.consent(b.follow(b.get(shop+"/vipps/login?return_to="+asked)), url.Values{"answer": {"cancel"}}).location()
	if a := b.get(callback); !strings.Contains(a.body, `/vipps/login?return_to=`+asked) {
		t.Errorf("page: %s", a.body)
	}
	req := newRequest(t, http.MethodGet, shop+"/", nil)
	req.URL.Opaque = "//" + req.URL.Host + "/a#b"
	if a := b.get(b.consent(b.follow(b.do(req)), url.Values{"user": {kari}, "answer": {"approve"}}).location()); a.location() != shop+"/a%23b" {
		t.Errorf("a fragment in a request target: %s", a.location())
	}
}

// TestWrongTypes: a claim of another JSON type says which one it is.
func TestWrongTypes(t *testing.T) {
	for name, value := range map[string]any{"msn": 123456, "nonce": []string{"x"}, "exp": "soon"} {
		w := newWorld(t)
		w.load(twoShops)
		alterIDToken(w, func(claims map[string]any) { claims[name] = value })
		b := newBrowser(t)
		b.get(b.approved(w.shop("shop-a.localhost")+"/", kari).location()).wantStatus(t, http.StatusBadGateway)
		if line := lineWith(w.logged(), `"reason":"id_token"`); !strings.Contains(line, "wrong JSON type ("+name+")") {
			t.Errorf("%s: %s", name, line)
		}
	}
}

func alterIDToken(w *world, alter func(claims map[string]any)) {
	w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { alter(claims) }})
}
