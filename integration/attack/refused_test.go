package attack_test

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestRefusedCodesAtOnce: codes that a client makes up at the same moment count as well.
func TestRefusedCodesAtOnce(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	var callbacks []func()
	for i := range 100 {
		b := harness.NewBrowser(t)
		address := harness.MustQuery(t, b.Get(shop+"/").WantStatus(t, http.StatusFound).RedirectTo())
		target := shop + "/vipps/callback?code=made-up-" + fmt.Sprint(i) + "&state=" + url.QueryEscape(address.Get("state"))
		callbacks = append(callbacks, func() { b.Get(target) })
	}
	w.Vipps.Counted()
	var group sync.WaitGroup
	for _, callback := range callbacks {
		group.Go(callback)
	}
	group.Wait()
	if calls := w.Vipps.Counted()[harness.PathToken]; calls > 25 {
		t.Errorf("%d codes of one client were sent to Vipps MobilePay", calls)
	}
}

// TestAssertionKeysOfNobody: where the host gives the MSN, nobody can fill the storage by asking for the keys of all MSNs.
func TestAssertionKeysOfNobody(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load("http://*.localhost:$HTTP {\n\tvipps_login /account/* {labels.1} {\n\t\tassertion\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
	b := harness.NewBrowser(t)
	for i := range 100 {
		b.Get(fmt.Sprintf("http://%d.localhost:%d/vipps/jwks.json", 500000+i, w.HTTP)).WantStatus(t, http.StatusOK)
	}
	if stored := w.Stored(t); len(stored) > 10 {
		t.Errorf("%d files in storage, such as %s", len(stored), stored[0])
	}
}

// TestRefusedCodesFromAfar: a page of another site, opened in an office, must not lock the office out of all merchants.
func TestRefusedCodesFromAfar(t *testing.T) {
	w := harness.NewWorld(t)
	t.Setenv("TILL_API_KEY", harness.APIKey)
	w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login 123456 {\n\t\tphone {\n\t\t\tapi_key {env.TILL_API_KEY}\n\t\t}\n\t}\n\treverse_proxy $UPSTREAM\n}\nhttp://shop-b.localhost:$HTTP {\n\tvipps_login /account/* 234567\n\treverse_proxy $UPSTREAM\n}\n")
	for i := range 20 {
		harness.NewBrowser(t).Get(w.Shop("shop-a.localhost")+"/vipps/phone/callback?code=made-up-"+fmt.Sprint(i), "Sec-Fetch-Site: cross-site")
	}
	b := harness.NewBrowser(t)
	if a := b.Login(w.Shop("shop-b.localhost")+"/account/", harness.Kari); a.StatusCode != http.StatusOK {
		t.Errorf("an honest login at another merchant: %d", a.StatusCode)
	}
}

// TestClaimsOfOldSessions: sessions from before claims was narrowed.
func TestClaimsOfOldSessions(t *testing.T) {
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	w.Load(harness.SiteWith("scope openid name email"))
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	w.Load(harness.SiteWith("scope openid name email\n\t\tclaims name"))
	b.Get(shop+"/").WantStatus(t, http.StatusOK)
	if r := w.Upstream.Last(t); r.Header.Get("X-Vipps-Email") != "" {
		t.Errorf("an old session hands on the email: %v", r.Header.Get("X-Vipps-Email"))
	}
}
