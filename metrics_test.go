package vippslogin_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrape returns what Caddy's registry says now: "name{label=value,…}" to value; of a histogram its
// count.
func (w *world) scrape() map[string]float64 {
	w.t.Helper()
	a := newBrowser(w.t).get(w.shop("metrics.localhost") + "/")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(a.wantStatus(w.t, http.StatusOK).body))
	if err != nil {
		w.t.Fatal(err)
	}
	values := make(map[string]float64)
	for name, family := range families {
		if !strings.HasPrefix(name, "caddy_vipps_login_") {
			continue
		}
		for _, m := range family.Metric {
			var labels []string
			for _, label := range m.Label {
				if label.GetValue() != "" { // as if it were not there
					labels = append(labels, label.GetName()+"="+label.GetValue())
				}
			}
			key := fmt.Sprintf("%s{%s}", strings.TrimPrefix(name, "caddy_vipps_login_"), strings.Join(labels, ","))
			values[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

const metricsSite = `
http://metrics.localhost:$HTTP {
	metrics
}
`

// wantMore checks by how much counters have grown since before.
func wantMore(t *testing.T, before, after map[string]float64, want map[string]float64) {
	t.Helper()
	for key, n := range want {
		if got := after[key] - before[key]; got != n {
			t.Errorf("%s grew by %v, want %v", key, got, n)
		}
	}
}

// TestMetrics counts logins, failures, sessions and calls, through a reload.
func TestMetrics(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops + metricsSite)
	before := w.scrape()
	if _, ok := before["partner_token_age_seconds{}"]; ok {
		t.Error("the age of no token")
	}
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
	w.reload(w.globals() + twoShops + metricsSite + "# changed\n")
	b.get(shop+"/").wantStatus(t, http.StatusOK)
	newBrowser(t).refused(shop+"/", "access_denied")
	alterCookies(b, shop)
	b.get(shop+"/").wantStatus(t, http.StatusFound)
	w.vipps.answer(pathToken, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusBadGateway)
	after := w.scrape()
	wantMore(t, before, after, map[string]float64{
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
	w := newWorld(t)
	w.loadWhole(strings.Replace(w.globals(), "\t\tcookie_secret ", "\t\tmetrics per_merchant\n\t\tcookie_secret ", 1) + twoShops + metricsSite + `
http://*.made.localhost:$HTTP {
	vipps_login {labels.2}
	reverse_proxy $UPSTREAM
}
`)
	before := w.scrape()
	newBrowser(t).login(w.shop("shop-a.localhost")+"/", kari).wantStatus(t, http.StatusOK)
	newBrowser(t).refused(w.shop("shop-b.localhost")+"/account/", "access_denied")
	for _, made := range []string{"77001", "77002", "77003"} { // an MSN that somebody makes up is no label
		newBrowser(t).get(w.shop(made+".made.localhost")+"/").wantStatus(t, http.StatusFound)
	}
	after := w.scrape()
	for key := range after {
		if strings.Contains(key, "msn=7700") {
			t.Errorf("series %s", key)
		}
	}
	wantMore(t, before, after, map[string]float64{
		"logins_started_total{flow=browser}":                            3,
		"logins_completed_total{flow=browser,msn=123456}":               1,
		"sessions_total{msn=123456,result=opened}":                      1,
		"logins_failed_total{flow=browser,msn=234567,reason=cancelled}": 1,
		"logins_started_total{flow=browser,msn=234567}":                 1,
	})
}

// TestMetricsOfPhoneLogins: each is counted once, and pending until it has ended.
func TestMetricsOfPhoneLogins(t *testing.T) {
	w := newPhoneWorld(t)
	w.reload(w.globals() + phoneShops + metricsSite)
	c := newTill(t, w.shop("shop-a.localhost"))
	before := w.scrape()
	yes, yesRequest := c.start(w, `{"phone_number": "`+kari+`"}`)
	no, noRequest := c.start(w, `{"phone_number": "`+bjorn+`"}`)
	if n := w.scrape()["phone_logins_pending{}"]; n != 2 {
		t.Errorf("%v pending, want 2", n)
	}
	mustAnswer(t, w, yesRequest, true)
	mustAnswer(t, w, noRequest, false)
	for id, want := range map[string]string{yes: "complete", no: "denied"} {
		if state := c.call("GET", "/phone/"+id+"?wait=20", "").state(t); state.Status != want {
			t.Errorf("%+v, want %s", state, want)
		}
	}
	c.call("POST", "/phone", "phone_number=4799999999").wantStatus(t, http.StatusUnprocessableEntity)
	wantMore(t, before, w.scrape(), map[string]float64{
		"logins_started_total{flow=phone}":                             2,
		"logins_completed_total{flow=phone}":                           1,
		"logins_failed_total{flow=phone,reason=denied}":                1,
		"logins_failed_total{flow=phone,reason=invalid_user}":          1,
		"phone_logins_pending{}":                                       0,
		"vipps_call_duration_seconds{endpoint=backchannel,status=2xx}": 2,
	})
}
