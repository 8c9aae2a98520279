package attack_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestForgedAssertionOverHTTP2And3: a client's own assertion reaches no site, in any spelling, as a header or as a trailer,
// over any version of HTTP, with a session or without one, and in error routes; the user's comes once.
func TestForgedAssertionOverHTTP2And3(t *testing.T) {
	w := harness.NewWorld(t)
	sites := strings.Replace(secureSpoofSites, "header X-Shop msn", "assertion Site-Proof", 1)
	w.StartHTTP3(sites, strings.TrimPrefix(harness.AllowAliases, "protocols h1 h2"))
	shop := w.SecureShop("shop-a.localhost")
	spellings := []string{"site-proof", "site_proof", "site.proof", "Site_Proof", "sItE-pRoOf"}
	for major, newBrowser := range transports {
		user, stranger := newBrowser(t), newBrowser(t)
		user.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
		proof := w.Upstream.Last(t).Header.Get("Site-Proof")
		if strings.Count(proof, ".") != 2 {
			t.Fatalf("HTTP/%d: the proof is %q", major, proof)
		}
		for who, someone := range map[string]*harness.Browser{"stranger": stranger, "user": user} {
			for _, path := range []string{"/public", "/missing"} {
				req := harness.NewRequest(t, http.MethodPost, shop+path, nil)
				req.Trailer = http.Header{"X-Kept": {"1"}}
				for _, spelling := range spellings {
					req.Header[spelling] = []string{"evil"}
					req.Trailer[spelling] = []string{"evil"}
				}
				req.Body, req.ContentLength = io.NopCloser(strings.NewReader("body")), -1
				req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("body")), nil }
				someone.Do(req)
				r := w.Upstream.Last(t)
				for _, header := range []http.Header{r.Header, r.Trailer} {
					for field, values := range header {
						if strings.Contains(strings.Join(values, ","), "evil") {
							t.Errorf("HTTP/%d, %s at %s: the site got %s", major, who, path, field)
						}
					}
				}
				got := r.Header["Site-Proof"]
				if isUser := who == "user"; isUser != (len(got) == 1 && got[0] == proof) && path == "/public" || !isUser && len(got) > 0 {
					t.Errorf("HTTP/%d, %s at %s: the proof is %q", major, who, path, got)
				}
			}
		}
	}
}

// TestNoAssertionForARevokedSession: a session that was ended, in its own browser and in a copy's, and one of a user who has
// revoked their consent, get no proof on public pages either, though what was signed before is still valid for a while.
func TestNoAssertionForARevokedSession(t *testing.T) {
	w := harness.NewWorld(t)
	sites := harness.SiteWith("assertion\n\t\tconsent_webhook_secret " + harness.ConsentSecret)
	admin := w.LoadWithAdmin(strings.Replace(w.Vars.Replace(sites), "vipps_login 123456", "vipps_login /account/* 123456", 1))
	shop := w.Shop("shop-a.localhost")
	proof := func(b *harness.Browser) string {
		b.Get(shop+"/public").WantStatus(t, http.StatusOK)
		return w.Upstream.Last(t).Header.Get("X-Vipps-Assertion")
	}
	users := []string{harness.Kari, harness.Bjorn} // one each: a login in the second of a revocation counts as before it
	for name, end := range map[string]func(sub string){
		"by the operator": func(sub string) { admin.End("?sub="+sub).WantStatus(t, http.StatusNoContent) },
		"by the user's consent": func(sub string) {
			body := harness.ConsentRevoked("CONSENT_REVOKED", sub, time.Now())
			harness.NewBrowser(t).Do(harness.NewRequest(t, http.MethodPost, shop+"/vipps/webhook?secret="+harness.ConsentSecret, strings.NewReader(body))).WantStatus(t, http.StatusOK)
		},
	} {
		b := harness.NewBrowser(t)
		b.Login(shop+"/account/", users[0]).WantStatus(t, http.StatusOK)
		users = users[1:]
		sub := w.Upstream.Last(t).Header.Get("X-Vipps-Sub")
		thief := harness.CopyOf(b, shop+"/")
		if proof(b) == "" || proof(thief) == "" {
			t.Fatalf("%s: no proof before", name)
		}
		end(sub)
		if proof(b) != "" || proof(thief) != "" {
			t.Errorf("%s: a proof after the end", name)
		}
	}
}
