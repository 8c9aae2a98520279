package browser_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// keepCookies returns what puts the browser's cookies for an address back as they are now: the answer that changed
// them was lost.
func keepCookies(b *harness.Browser, address string) (restore func()) {
	u, _ := url.Parse(address)
	kept := b.Client.Jar.Cookies(u)
	return func() {
		fresh := harness.NewBrowser(b.T).Client.Jar
		for _, c := range kept {
			c.Path = "/"
		}
		fresh.SetCookies(u, kept)
		b.Client.Jar = fresh
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
		"a login":     {url.Values{"user": {harness.Kari}, "answer": {"approve"}}, http.StatusFound, `"msg":"login completed"`},
		"a cancelled": {url.Values{"answer": {"cancel"}}, http.StatusForbidden, `"msg":"login failed"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := harness.NewWorld(t)
			w.Load(harness.TwoShops)
			shop := w.Shop("shop-a.localhost")
			b := harness.NewBrowser(t)
			callback := b.Consent(b.Follow(b.Get(shop+"/wanted")), test.form).RedirectTo()
			restore := keepCookies(b, shop)
			w.Vipps.Counted()
			first := b.Get(callback).WantStatus(t, test.status)
			for range 2 {
				restore()
				again := b.Get(callback).WantStatus(t, test.status)
				if again.RedirectTo() != first.RedirectTo() || again.Text != first.Text {
					t.Errorf("another answer: %s\n%s", again.RedirectTo(), again.Text)
				}
			}
			if test.status == http.StatusFound {
				b.Get(shop+"/").WantStatus(t, http.StatusOK)
			}
			if calls := w.Vipps.Counted(); calls[harness.PathToken] > 1 {
				t.Errorf("the code was sent %d times", calls[harness.PathToken])
			}
			if n := strings.Count(w.Logged(), test.line); n != 1 {
				t.Errorf("%d outcomes in the log", n)
			}
			// Another code for the same login, or another browser, gets nothing of it.
			restore()
			b.Get(harness.WithQuery(t, callback, "-error", "code=another")).WantStatus(t, http.StatusBadRequest)
			harness.NewBrowser(t).Get(callback).WantStatus(t, http.StatusBadRequest)
		})
	}
}

// TestOverlappingTabs: of two tabs at the login page, the one that came first is sent back by Hydra. The user reads
// that the login was lost, or, logged in by the other tab, goes on to the page that this one wanted.
func TestOverlappingTabs(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	w.Vipps.Sim.SetFaults(simulator.Faults{LastTabOnly: true})
	approve := url.Values{"user": {harness.Kari}, "answer": {"approve"}}
	b := harness.NewBrowser(t)
	one, two, three := b.Follow(b.Get(shop+"/one")), b.Follow(b.Get(shop+"/two")), b.Follow(b.Get(shop+"/three"))
	a := b.Get(b.Consent(one, approve).RedirectTo()).WantStatus(t, http.StatusBadRequest)
	if !strings.Contains(a.Text, "/vipps/login?return_to=%2Fone") {
		t.Errorf("no way on: %s", a.Text)
	}
	log := w.Logged()
	if line := harness.LineWith(log, `"reason":"other_tab"`); !strings.Contains(line, `"level":"info"`) {
		t.Errorf("log: %s", line)
	}
	b.Follow(b.Consent(three, approve)).WantStatus(t, http.StatusOK)
	if a := b.Get(b.Consent(two, approve).RedirectTo()).WantStatus(t, http.StatusFound); a.RedirectTo() != shop+"/two" {
		t.Errorf("led to %s", a.RedirectTo())
	}
}

// TestOverlappingTabsTwice: the callback of a tab that came too late, sent twice, leads to its page twice, and is no
// failure.
func TestOverlappingTabsTwice(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	w.Vipps.Sim.SetFaults(simulator.Faults{LastTabOnly: true})
	approve := url.Values{"user": {harness.Kari}, "answer": {"approve"}}
	b := harness.NewBrowser(t)
	one, two := b.Follow(b.Get(shop+"/one")), b.Follow(b.Get(shop+"/two"))
	b.Follow(b.Consent(two, approve)).WantStatus(t, http.StatusOK)
	callback := b.Consent(one, approve).RedirectTo()
	restore := keepCookies(b, shop)
	for range 2 {
		restore()
		if a := b.Get(callback).WantStatus(t, http.StatusFound); a.RedirectTo() != shop+"/one" {
			t.Errorf("led to %s", a.RedirectTo())
		}
	}
	if line := harness.LineWith(w.Logged(), `"msg":"login failed"`); line != "" {
		t.Errorf("log: %s", line)
	}
}

// TestLostAnswerAfterAnotherLogin: an outcome that is told again does not take the place of who has logged in since.
// The session that the login replaced is no reason to keep it back.
func TestLostAnswerAfterAnotherLogin(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	approve := url.Values{"user": {harness.Kari}, "answer": {"approve"}}
	b := harness.NewBrowser(t)
	b.Follow(b.Approved(shop+"/", harness.Bjorn)).WantStatus(t, http.StatusOK)
	callback := b.Consent(b.Follow(b.Get(shop+"/vipps/login?return_to=%2Fwanted")), approve).RedirectTo()
	restore := keepCookies(b, shop)
	for range 2 {
		restore()
		b.Get(callback).WantStatus(t, http.StatusFound)
		if a := b.Get(shop + "/vipps/userinfo"); !strings.Contains(a.Text, "Kari") {
			t.Errorf("not told again: %s", a.Text)
		}
	}
	restore()
	b.Follow(b.Approved(shop+"/", harness.Bjorn)).WantStatus(t, http.StatusOK)
	if a := b.Get(callback).WantStatus(t, http.StatusFound); a.RedirectTo() != shop+"/wanted" {
		t.Errorf("led to %s", a.RedirectTo())
	}
	if a := b.Get(shop + "/vipps/userinfo"); strings.Contains(a.Text, "Kari") {
		t.Errorf("another person: %s", a.Text)
	}
}

// TestErrorsOfItsOwn: Hydra's "error" is a fault of the provider, not a refusal.
func TestErrorsOfItsOwn(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	callback := b.Approved(shop+"/", harness.Kari).RedirectTo()
	b.Get(harness.WithQuery(t, callback, "-code", "error=error")).WantStatus(t, http.StatusBadGateway)
}

// TestStrangeParameters: what others add to the callback's address is theirs.
func TestStrangeParameters(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	for _, added := range []string{"&campaign=a;b", "&rate=100%", "&%zz", "&x=%zz", "&;", "&a;b=c", "&fbclid=1&fbclid=2"} {
		b := harness.NewBrowser(t)
		if a := b.Get(b.Approved(shop+"/wanted", harness.Kari).RedirectTo() + added); a.RedirectTo() != shop+"/wanted" {
			t.Errorf("%s: %d %s", added, a.StatusCode, a.RedirectTo())
		}
	}
}

// TestFragments: the fragment of return_to, which many a page is known by, is kept on every way. A request target
// has none.
func TestFragments(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	const wanted, asked = "/app/?x=1#/orders/17", "%2Fapp%2F%3Fx%3D1%23%2Forders%2F17"
	b := harness.NewBrowser(t)
	b.Get(shop + "/vipps/logout?return_to=" + asked)
	if a := b.Get(b.Approved(shop+"/vipps/login?return_to="+asked, harness.Kari).RedirectTo()); a.RedirectTo() != shop+wanted {
		t.Errorf("login: %s", a.RedirectTo())
	}
	if a := b.Get(shop + "/vipps/logout?return_to=" + asked); a.RedirectTo() != shop+wanted {
		t.Errorf("logout: %s", a.RedirectTo())
	}
	callback := b.Consent(b.Follow(b.Get(shop+"/vipps/login?return_to="+asked)), url.Values{"answer": {"cancel"}}).RedirectTo()
	if a := b.Get(callback); !strings.Contains(a.Text, `/vipps/login?return_to=`+asked) {
		t.Errorf("page: %s", a.Text)
	}
	req := harness.NewRequest(t, http.MethodGet, shop+"/", nil)
	req.URL.Opaque = "//" + req.URL.Host + "/a#b"
	if a := b.Get(b.Consent(b.Follow(b.Do(req)), url.Values{"user": {harness.Kari}, "answer": {"approve"}}).RedirectTo()); a.RedirectTo() != shop+"/a%23b" {
		t.Errorf("a fragment in a request target: %s", a.RedirectTo())
	}
}

// TestWrongTypes: a claim of another JSON type says which one it is.
func TestWrongTypes(t *testing.T) {
	for name, value := range map[string]any{"msn": 123456, "nonce": []string{"x"}, "exp": "soon"} {
		w := harness.NewWorld(t)
		w.Load(harness.TwoShops)
		alterIDToken(w, func(claims map[string]any) { claims[name] = value })
		b := harness.NewBrowser(t)
		b.Get(b.Approved(w.Shop("shop-a.localhost")+"/", harness.Kari).RedirectTo()).WantStatus(t, http.StatusBadGateway)
		if line := harness.LineWith(w.Logged(), `"reason":"id_token"`); !strings.Contains(line, "wrong JSON type ("+name+")") {
			t.Errorf("%s: %s", name, line)
		}
	}
}

func alterIDToken(w *harness.World, alter func(claims map[string]any)) {
	w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { alter(claims) }})
}
