package provider_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// ownKeysShop is a site with keys of its own, and a till.
const ownKeysShop = `
http://shop-a.localhost:$HTTP {
	vipps_login /account/* {
		merchant 123456 shop-a.localhost {
			client_id own-id
			client_secret "s+cret/%2F="
		}
		phone {
			api_key ` + harness.APIKey + `
		}
	}
	reverse_proxy $UPSTREAM
}
`

// mannersWorld has one sales unit, with keys of its own, and a Vipps MobilePay of these manners.
func mannersWorld(t *testing.T, change func(*simulator.Config)) *harness.World {
	t.Helper()
	t.Setenv("TILL_API_KEY", harness.APIKey)
	t.Setenv("TILL_OLDER_API_KEY", harness.OlderAPIKey)
	return harness.WorldWhere(t, func(w *harness.World, c *simulator.Config) {
		shop := w.Shop("shop-a.localhost")
		c.Merchants = []simulator.Merchant{{
			MSN: "123456", ClientID: "own-id", ClientSecret: "s+cret/%2F=", RedirectURIs: []string{shop + "/vipps/callback", shop + "/vipps/phone/callback"},
			ConsentURL: shop + "/vipps/webhook?secret=" + harness.ConsentSecret,
		}}
		change(c)
	})
}

// TestManners: with every manner that Vipps MobilePay may have, a login in the browser and one from a phone number end well,
// with a sales unit's own keys and with the partner's.
func TestManners(t *testing.T) {
	partnerShop := strings.Replace(ownKeysShop, "client_id own-id", "", 1)
	partnerShop = strings.Replace(partnerShop, `client_secret "s+cret/%2F="`, "", 1)
	accepting := strings.Replace(partnerShop, "phone {", "phone {\n\t\t\taccept_missing_msn", 1)
	for name, test := range map[string]struct {
		change func(*simulator.Config)
		config string
		phone  string // how a phone login ends; complete where it is empty
	}{
		"raw keys":                 {func(c *simulator.Config) { c.BasicForm = "raw" }, ownKeysShop, ""},
		"encoded keys":             {func(c *simulator.Config) { c.BasicForm = "encoded" }, ownKeysShop, ""},
		"a sparse token, own keys": {func(c *simulator.Config) { c.PhoneIDToken = "sparse" }, ownKeysShop, ""},
		"a sparse token, partner":  {func(c *simulator.Config) { c.PhoneIDToken = "sparse" }, partnerShop, "failed"},
		"a sparse token, accepted": {func(c *simulator.Config) { c.PhoneIDToken = "sparse" }, accepting, ""},
		"authReqId":                {func(c *simulator.Config) { c.PhoneRequestID = "authReqId" }, partnerShop, ""},
		"a number for the msn":     {func(c *simulator.Config) { c.PhoneMSN = "number" }, partnerShop, ""},
		"no msn":                   {func(c *simulator.Config) { c.PhoneMSN = "none" }, accepting, ""},
		"ES256":                    {func(c *simulator.Config) { c.PhoneSigningAlg = "ES256" }, partnerShop, ""},
		"ORY Hydra, in all there is": {func(c *simulator.Config) {
			c.Hydra = []string{"no_store", "last_tab", "error_redirect", "old_kid", "userinfo_claims"}
		}, partnerShop, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := mannersWorld(t, test.change)
			w.Load(test.config)
			shop := w.Shop("shop-a.localhost")
			harness.NewBrowser(t).Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
			for field := range w.Upstream.Last(t).Header {
				for _, claim := range []string{"iss", "aud", "iat", "auth-time", "rat", "amr", "acr"} {
					if strings.EqualFold(field, "X-Vipps-"+claim) {
						t.Errorf("the site is told %s", field)
					}
				}
			}
			till := harness.NewTill(t, shop)
			id, authReqID := till.Start(w, `{"phone_number":"+4712345678"}`)
			harness.MustAnswer(t, w, authReqID, true)
			want := test.phone
			if want == "" {
				want = "complete"
			}
			if got := till.Call("GET", "/phone/"+id+"?wait=10", "").State(t); got.Status != want {
				t.Errorf("the phone login: %+v", got)
			}
		})
	}
}

// TestRotationInBetween: the user approves, the keys are rotated, and the code is exchanged: the ID token has the old kid
// and the new key's signature, as ORY Hydra has it.
func TestRotationInBetween(t *testing.T) {
	w := mannersWorld(t, func(c *simulator.Config) { c.Hydra = []string{"old_kid"} })
	w.Load(ownKeysShop)
	shop := w.Shop("shop-a.localhost")
	harness.NewBrowser(t).Login(shop+"/account/", harness.Bjorn).WantStatus(t, http.StatusOK) // the keys are known
	b := harness.NewBrowser(t)
	callback := b.Approved(shop+"/account/", harness.Kari).RedirectTo()
	w.Vipps.Sim.RotateKey()
	b.Get(callback).WantStatus(t, http.StatusFound)
	b.Get(shop+"/account/").WantStatus(t, http.StatusOK)
}

// TestConsentOfTheSimulator: a consent that is revoked ends the session, in whatever form Vipps MobilePay tells it.
func TestConsentOfTheSimulator(t *testing.T) {
	for _, form := range []string{"two", "two_dot", "three"} {
		w := mannersWorld(t, func(c *simulator.Config) { c.ConsentJWT = form })
		w.Load(strings.Replace(ownKeysShop, "phone {", "consent_webhook_secret "+harness.ConsentSecret+"\n\t\tphone {", 1))
		b := harness.NewBrowser(t)
		b.Login(w.Shop("shop-a.localhost")+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
		if err := w.Vipps.Sim.RevokeConsent("123456", harness.Kari); err != nil {
			t.Errorf("%s: %v", form, err)
		}
		if b.LoggedIn(w.Shop("shop-a.localhost") + "/account/") {
			t.Errorf("%s: the session lives on", form)
		}
	}
}

// TestFlowResultHeader: what the user has agreed to in a customFlow comes with the first login, and again when the merchant
// has changed its flow.
func TestFlowResultHeader(t *testing.T) {
	w := mannersWorld(t, func(*simulator.Config) {})
	w.Load(strings.Replace(ownKeysShop, "phone {", "scope openid customFlow\n\t\tphone {", 1))
	shop := w.Shop("shop-a.localhost")
	told := func() string {
		harness.NewBrowser(t).Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
		return w.Upstream.Last(t).Header.Get("X-Vipps-Flowresult")
	}
	if got := told(); !strings.Contains(got, "cf_accept_terms") {
		t.Errorf("the first login: %q", got)
	}
	if got := told(); got != "" {
		t.Errorf("the second login: %q", got)
	}
	w.Vipps.Sim.ChangeFlow("123456")
	if got := told(); !strings.Contains(got, "cf_accept_terms") {
		t.Errorf("after the change: %q", got)
	}
}
