package attack_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/integration/scrape"
	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestNothingPilesUp in 10,000 logins. A login is remembered as spent for ten minutes, in less than 200 bytes; a
// leak would be a session, an answer or a connection, kilobytes each.
func TestNothingPilesUp(t *testing.T) {
	w := harness.NewWorld(t)
	i := w.StartWatched(harness.TwoShops)
	c := w.NewVisitors()
	c.LogIn(500)
	before := i.Settled()
	const n = 10_000
	c.LogIn(n)
	i.WantNoMore(fmt.Sprintf("%d logins", n), before, n*200+(1<<20))
}

// TestNothingPilesUpInFaults: hundreds of logins that fail by each kind of fault leave nothing behind, and the next
// login after each works.
func TestNothingPilesUpInFaults(t *testing.T) {
	w := harness.NewWorld(t)
	i := w.StartWatched(harness.TwoShops)
	c := w.NewVisitors()
	answers := map[string]http.HandlerFunc{harness.PathToken: c.Token, harness.PathUserinfo: harness.WithStatus(http.StatusOK, `{"sub":"a-person","name":"Kari Nordmann"}`)}
	c.LogIn(500)
	before := i.Settled()
	shop, failed := w.Shop("shop-a.localhost"), 0
	fail := func(name string, n int) {
		t.Helper()
		c.Times(n, func(int) {
			b := c.Someone()
			if page := b.Follow(b.Get(shop + "/page")); page.StatusCode < 502 || page.StatusCode > 504 {
				t.Errorf("%s: %d at %s", name, page.StatusCode, page.Request.URL)
			}
		})
	}
	well := func(name string) {
		t.Helper()
		c.LogIn(1)
		i.WantNoMore(name, before, failed*200+(2<<20))
	}
	for name, fault := range map[string]http.HandlerFunc{
		"503": harness.WithStatus(503, "busy"), "huge": harness.WithStatus(200, `{"access_token":"`+strings.Repeat("x", 2<<20)+`"}`), "endless": harness.Endless, "gzip that is none": harness.RawAnswer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", false),
		"truncated": harness.RawAnswer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a", false), "reset": harness.RawAnswer("", true), "deep": harness.WithStatus(200, strings.Repeat("[", 900_000)),
		"1xx without end": harness.RawAnswer(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 1000), false), "elsewhere": http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound).ServeHTTP,
	} {
		for path, answer := range answers {
			w.Vipps.Answer(path, fault)
			fail(name, 60)
			failed += 60
			w.Vipps.Answer(path, answer)
		}
		well(name)
	}
	address := w.Vipps.Listener.Addr().String()
	w.Vipps.Listener.Close()
	w.Vipps.CloseClientConnections()
	fail("refused", 250)
	failed += 250
	w.Vipps.ListenAgain(t, address)
	well("refused")

	// Half of them hear nothing, half a byte now and then, all at the same time, until the deadline.
	var arrived atomic.Int64
	hang := func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // from here on the server sees that the client has gone
		drips := time.NewTicker(100 * time.Millisecond)
		defer drips.Stop()
		for slow := arrived.Add(1)%2 == 0; r.Context().Err() == nil; {
			select {
			case <-drips.C:
			case <-r.Context().Done():
			}
			if slow {
				_, _ = io.WriteString(rw, " ")
				_ = http.NewResponseController(rw).Flush()
			}
		}
	}
	for path := range answers {
		w.Vipps.Answer(path, hang)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { fail("no end", 16) })
	}
	all.Wait()
	for path, answer := range answers {
		w.Vipps.Answer(path, answer)
	}
	failed += 320
	well("no end")
}

// TestNothingPilesUpInAbuse: 50,000 requests of strangers, each from an address of its own, fill neither memory
// nor storage nor metrics.
func TestNothingPilesUpInAbuse(t *testing.T) {
	t.Setenv("TILL_API_KEY", harness.APIKey)
	w := harness.NewWorld(t)
	i := w.StartWatched(`
http://shop-a.localhost:$HTTP, http://*.shops.localhost:$HTTP {
	vipps_login /account/* {
		merchant 123456 shop-a.localhost
		merchant 234567 *.shops.localhost
		return_in_any_browser
		consent_webhook_secret `+harness.ConsentSecret+`
		phone {
			api_key {env.TILL_API_KEY}
			webhook_secret `+harness.WebhookSecret+`
		}
	}
	reverse_proxy $UPSTREAM
}
`+scrape.Site, "protocols h1 h2", "protocols h1 h2\n\t\ttrusted_proxies static 127.0.0.0/8", "subscription_key "+harness.PartnerKey, "subscription_key "+harness.PartnerKey+"\n\t\tmetrics per_merchant")
	c := w.NewVisitors()
	w.Vipps.Answer(harness.PathToken, harness.WithStatus(400, `{"error":"invalid_grant"}`))
	shop := w.Shop("shop-a.localhost")
	b := c.Someone()
	b.Client.Jar = nil
	key := "Authorization: Bearer " + harness.RandomText(40)
	kinds := []func() (*http.Request, int){
		func() (*http.Request, int) {
			return harness.NewRequest(t, "GET", shop+"/account/"+harness.RandomText(20), nil), 302
		},
		func() (*http.Request, int) {
			return harness.NewRequest(t, "GET", shop+"/vipps/login?return_to=/"+harness.RandomText(200), nil), 302
		},
		func() (*http.Request, int) {
			return harness.NewRequest(t, "GET", shop+"/vipps/callback?code=x&state="+harness.RandomText(300), nil), 400
		},
		func() (*http.Request, int) {
			return harness.NewRequest(t, "GET", shop+"/vipps/phone/callback?code=x&state="+harness.RandomText(22), nil), 400
		},
		func() (*http.Request, int) {
			return harness.NewRequest(t, "GET", shop+"/account/", nil, "Cookie: vipps_session=1"+harness.RandomText(400)+"; vipps_login_"+harness.RandomText(22)+"="+harness.RandomText(100)), 302
		},
		func() (*http.Request, int) {
			return harness.NewRequest(t, "POST", shop+"/vipps/phone", strings.NewReader(`{"phone_number":"+4741000001"}`), key, "Content-Type: application/json"), 401
		},
		func() (*http.Request, int) {
			return harness.NewRequest(t, "GET", shop+"/vipps/phone/"+harness.RandomText(22)+"?wait=60", nil, key), 401
		},
		func() (*http.Request, int) {
			return harness.NewRequest(t, "POST", shop+"/vipps/webhook", strings.NewReader(`{"auth_req_id":"`+harness.RandomText(22)+`"}`), "Authorization: HMAC-SHA256 "+harness.RandomText(44)), 401
		},
		func() (*http.Request, int) {
			return harness.NewRequest(t, "POST", shop+"/vipps/webhook?secret="+harness.RandomText(40), strings.NewReader(`{"eventType":"`+harness.RandomText(100)+`"}`)), 401
		},
		func() (*http.Request, int) {
			return harness.NewRequest(t, "GET", shop+"/account/", nil, "Host: "+strings.ToLower(strings.Trim(harness.RandomText(12), "-_"))+".shops.localhost"), 302
		},
		func() (*http.Request, int) {
			return harness.NewRequest(t, "X"+strings.Trim(harness.RandomText(8), "-_"), shop+"/account/", nil), 401
		},
		func() (*http.Request, int) { // a login that is started, and ended with a code that is none
			state := harness.MustQuery(t, b.Get(shop+"/vipps/login").RedirectTo()).Get("state")
			return harness.NewRequest(t, "GET", shop+"/vipps/callback?code=x&state="+url.QueryEscape(state), nil), 400
		},
	}
	abuse := func(n int) {
		c.Times(n, func(at int) {
			req, want := kinds[at%len(kinds)]()
			req.Header.Set("X-Forwarded-For", fmt.Sprintf("2001:db8:%x:%x::%x", at>>16, at&0xffff, len(req.URL.Path)))
			if a := b.Do(req); a.StatusCode != want {
				t.Errorf("%s %s: %d, want %d", req.Method, req.URL, a.StatusCode, want)
			}
		})
	}
	series := func() int { return len(scrape.Metrics(w)) }
	abuse(2000)
	before, stored, counted := i.Settled(), w.Stored(t), series()
	const n = 50_000
	abuse(n)
	// What is remembered is that the logins that were ended are spent.
	i.WantNoMore(fmt.Sprintf("%d requests", n), before, n/len(kinds)*200+(1<<20))
	if after := w.Stored(t); !slices.Equal(after, stored) {
		t.Errorf("storage had %v, and has %v", stored, after)
	}
	if after := series(); after != counted {
		t.Errorf("%d metrics became %d", counted, after)
	}
}
