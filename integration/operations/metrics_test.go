package operations_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/integration/scrape"
	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestMetrics counts logins, failures, sessions and calls, through a reload.
func TestMetrics(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops + scrape.Site)
	before := scrape.Metrics(w)
	if _, ok := before["partner_token_age_seconds{}"]; ok {
		t.Error("the age of no token")
	}
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	w.Reload(w.Globals() + harness.TwoShops + scrape.Site + "# changed\n")
	b.Get(shop+"/").WantStatus(t, http.StatusOK)
	harness.NewBrowser(t).Refused(shop+"/", "access_denied")
	harness.AlterCookies(b, shop)
	b.Get(shop+"/").WantStatus(t, http.StatusFound)
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusBadGateway)
	after := scrape.Metrics(w)
	scrape.WantMore(t, before, after, map[string]float64{
		"logins_started_total{flow=browser}":                           4,
		"logins_completed_total{flow=browser}":                         1,
		"logins_failed_total{flow=browser,reason=cancelled}":           1,
		"logins_failed_total{flow=browser,reason=bad_answer}":          1,
		"sessions_total{result=opened}":                                2, // after the login, after the reload
		"sessions_total{result=unreadable}":                            1,
		"vipps_call_duration_seconds{endpoint=accesstoken,status=2xx}": 1,
		"vipps_call_duration_seconds{endpoint=discovery,status=2xx}":   1,
		"vipps_call_duration_seconds{endpoint=keys,status=2xx}":        1,
		"vipps_call_duration_seconds{endpoint=token,status=2xx}":       1,
		"vipps_call_duration_seconds{endpoint=token,status=5xx}":       1,
		"vipps_call_duration_seconds{endpoint=userinfo,status=2xx}":    1,
		"phone_logins_pending{}":                                       0,
	})
	age, left := after["partner_token_age_seconds{}"], after["partner_token_expires_seconds{}"]
	if age <= 0 || age > 60 || left < 3600 {
		t.Errorf("the token is %v s old and has %v s", age, left)
	}
	for key := range after {
		if strings.Contains(key, "msn=") || strings.Contains(key, "endpoint=,") || strings.Contains(key, "endpoint=}") {
			t.Errorf("unwanted series %s", key)
		}
	}
}

// TestMetricsPerMerchant: the label is there where it is asked for.
func TestMetricsPerMerchant(t *testing.T) {
	w := harness.NewWorld(t)
	w.LoadWhole(strings.Replace(w.Globals(), "\t\tcookie_secret ", "\t\tmetrics per_merchant\n\t\tcookie_secret ", 1) + harness.TwoShops + scrape.Site + `
http://*.made.localhost:$HTTP {
	vipps_login {labels.2}
	reverse_proxy $UPSTREAM
}
`)
	before := scrape.Metrics(w)
	harness.NewBrowser(t).Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
	harness.NewBrowser(t).Refused(w.Shop("shop-b.localhost")+"/account/", "access_denied")
	for _, made := range []string{"77001", "77002", "77003"} { // an MSN that somebody makes up is no label
		harness.NewBrowser(t).Get(w.Shop(made+".made.localhost")+"/").WantStatus(t, http.StatusFound)
	}
	after := scrape.Metrics(w)
	for key := range after {
		if strings.Contains(key, "msn=7700") {
			t.Errorf("series %s", key)
		}
	}
	scrape.WantMore(t, before, after, map[string]float64{
		"logins_started_total{flow=browser}":                            3,
		"logins_completed_total{flow=browser,msn=123456}":               1,
		"sessions_total{msn=123456,result=opened}":                      1,
		"logins_failed_total{flow=browser,msn=234567,reason=cancelled}": 1,
		"logins_started_total{flow=browser,msn=234567}":                 1,
	})
}

// TestMetricsOfPhoneLogins: each is counted once, and pending until it has ended.
func TestMetricsOfPhoneLogins(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	w.Reload(w.Globals() + harness.PhoneShops + scrape.Site)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	before := scrape.Metrics(w)
	yes, yesRequest := c.Start(w, `{"phone_number": "`+harness.Kari+`"}`)
	no, noRequest := c.Start(w, `{"phone_number": "`+harness.Bjorn+`"}`)
	if n := scrape.Metrics(w)["phone_logins_pending{}"]; n != 2 {
		t.Errorf("%v pending, want 2", n)
	}
	harness.MustAnswer(t, w, yesRequest, true)
	harness.MustAnswer(t, w, noRequest, false)
	for id, want := range map[string]string{yes: "complete", no: "denied"} {
		if state := c.Call("GET", "/phone/"+id+"?wait=20", "").State(t); state.Status != want {
			t.Errorf("%+v, want %s", state, want)
		}
	}
	c.Call("POST", "/phone", "phone_number=4799999999").WantStatus(t, http.StatusUnprocessableEntity)
	scrape.WantMore(t, before, scrape.Metrics(w), map[string]float64{
		"logins_started_total{flow=phone}":                             2,
		"logins_completed_total{flow=phone}":                           1,
		"logins_failed_total{flow=phone,reason=denied}":                1,
		"logins_failed_total{flow=phone,reason=invalid_user}":          1,
		"phone_logins_pending{}":                                       0,
		"vipps_call_duration_seconds{endpoint=backchannel,status=2xx}": 2,
	})
}
