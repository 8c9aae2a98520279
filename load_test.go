package vippslogin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
)

// Nothing piles up: a Caddy in a process of its own is used hard, and has as many goroutines, as much memory and
// as many open files afterwards as before.

// watched is an instance that can be looked into.
type watched struct {
	*instance
	w     *world
	shop  string
	admin string
}

// startWatched starts one that logs nothing that anybody can cause: the look at the log at the end of a test
// would take longer than the test.
func (w *world) startWatched(sites string, changes ...string) *watched {
	w.t.Helper()
	admin := fmt.Sprintf("127.0.0.1:%d", freeport.New(w.t))
	changed := strings.NewReplacer(append(changes, "admin off", "admin "+admin, "level DEBUG", "level ERROR")...)
	return &watched{w.startChangedInstance(w.http, sites, changed), w, w.shop("shop-a.localhost"), admin}
}

// usage is what a process holds on to.
type usage struct{ goroutines, heap, files int }

var (
	goroutinesLine = regexp.MustCompile(`goroutine profile: total (\d+)`)
	heapLine       = regexp.MustCompile(`# HeapAlloc = (\d+)`)
)

// usage looks at the process after a garbage collection, with no connection left that somebody else holds open.
func (i *watched) usage() (u usage) {
	t := i.w.t
	t.Helper()
	i.w.vipps.CloseClientConnections()
	i.w.upstream.CloseClientConnections()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	read := func(path string, line *regexp.Regexp) int {
		resp, err := client.Get("http://" + i.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		found := line.FindSubmatch(body)
		if found == nil {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, body)
		}
		n, _ := strconv.Atoi(string(found[1]))
		return n
	}
	read("/debug/pprof/heap?gc=1&debug=1", heapLine) // sync.Pool gives things back at the second only
	u.heap = read("/debug/pprof/heap?gc=1&debug=1", heapLine)
	u.goroutines = read("/debug/pprof/goroutine?debug=1", goroutinesLine)
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", i.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	u.files = len(files)
	return u
}

// settled is usage once what has just ended is gone.
func (i *watched) settled() usage {
	u := i.usage()
	same := 0
	waitFor(i.w.t, func() bool {
		next := i.usage()
		if same++; next.goroutines != u.goroutines || next.files != u.files {
			same = 0
		}
		u = next
		return same >= 3
	})
	return u
}

// wantNoMore checks that nothing has piled up since before: some goroutines and files for what runs at
// the moment, and memory bytes.
func (i *watched) wantNoMore(what string, before usage, memory int) {
	t := i.w.t
	t.Helper()
	var after usage
	deadline := time.Now().Add(15 * time.Second)
	for ok := false; !ok && time.Now().Before(deadline); {
		after = i.usage()
		ok = after.goroutines <= before.goroutines+4 && after.files <= before.files+4
	}
	t.Logf("%s: %d to %d goroutines, %d to %d files, %d KiB to %d KiB of memory", what, before.goroutines, after.goroutines, before.files, after.files, before.heap>>10, after.heap>>10)
	if after.goroutines > before.goroutines+4 || after.files > before.files+4 || after.heap > before.heap+memory {
		t.Errorf("%s: it piles up", what)
	}
}

// visitors are many browsers with the connections of a few, and a Vipps MobilePay that approves at once and
// signs what is quickest to sign: it is not them that are tested.
type visitors struct {
	w         *world
	transport *http.Transport
}

func (w *world) newVisitors() *visitors {
	c := &visitors{w, newBrowser(w.t).client.Transport.(*http.Transport)}
	c.transport.MaxIdleConnsPerHost = 64
	w.vipps.answer(pathKeys, quickKeys)
	w.vipps.answer(pathToken, c.token)
	w.vipps.answer(pathUserinfo, status(http.StatusOK, `{"sub":"a-person","name":"Kari Nordmann"}`))
	return c
}

// RoundTrip approves without a network and without a page: the code is the nonce.
func (c *visitors) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(c.w.vipps.URL, "http://"+r.URL.Host) {
		return c.transport.RoundTrip(r)
	}
	asked := r.URL.Query()
	back := asked.Get("redirect_uri") + "?" + url.Values{"state": asked["state"], "code": asked["nonce"]}.Encode()
	return &http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {back}}, Body: http.NoBody, Request: r}, nil
}

var quickKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

func quickKeys(rw http.ResponseWriter, _ *http.Request) {
	point, _ := quickKey().PublicKey.Bytes()
	text := base64.RawURLEncoding.EncodeToString
	fmt.Fprintf(rw, `{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"quick","x":%q,"y":%q}]}`, text(point[1:33]), text(point[33:]))
}

func (c *visitors) token(rw http.ResponseWriter, r *http.Request) {
	now := time.Now().Unix()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": c.w.vipps.URL + "/access-management-1.0/access/", "aud": "a", "sub": "a-person", "msn": "123456", "nonce": r.FormValue("code"), "iat": now, "exp": now + 300,
	})
	token.Header["kid"] = "quick"
	signed, err := token.SignedString(quickKey())
	if err != nil {
		c.w.t.Error(err)
	}
	fmt.Fprintf(rw, `{"access_token":"an-access-token","token_type":"Bearer","id_token":%q}`, signed)
}

// someone is a browser among the visitors whom nobody has used.
func (c *visitors) someone() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return &browser{
		t: c.w.t, header: http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Accept": {"text/html"}},
		client: &http.Client{
			Jar: jar, Transport: c, Timeout: 30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// times does something n times, sixteen at a time, and forgets what the harness keeps of it.
func (c *visitors) times(n int, do func(i int)) {
	var all sync.WaitGroup
	var next atomic.Int64
	for range 16 {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				do(int(i))
			}
		})
	}
	all.Wait()
	c.transport.CloseIdleConnections()
	c.w.upstream.mu.Lock()
	c.w.upstream.requests = nil
	c.w.upstream.mu.Unlock()
	c.w.vipps.mu.Lock()
	c.w.vipps.seen = nil
	c.w.vipps.mu.Unlock()
}

// logIn has n people log in, each in a browser of their own.
func (c *visitors) logIn(n int) {
	shop := c.w.shop("shop-a.localhost")
	c.times(n, func(int) {
		b := c.someone()
		if page := b.follow(b.get(shop + "/page")); page.StatusCode != http.StatusOK || !strings.HasPrefix(page.body, "hello") {
			c.w.t.Errorf("%d at %s: %s", page.StatusCode, page.Request.URL, page.body)
		}
	})
}

// TestNothingPilesUp in 10,000 logins. A login is remembered as spent for ten minutes, in less than 200 bytes; a
// leak would be a session, an answer or a connection, kilobytes each.
func TestNothingPilesUp(t *testing.T) {
	w := newWorld(t)
	i := w.startWatched(twoShops)
	c := w.newVisitors()
	c.logIn(500)
	before := i.settled()
	const n = 10_000
	c.logIn(n)
	i.wantNoMore(fmt.Sprintf("%d logins", n), before, n*200+(1<<20))
}

// TestNothingPilesUpInFaults: hundreds of logins that fail by each kind of fault leave nothing behind, and the next
// login after each works.
func TestNothingPilesUpInFaults(t *testing.T) {
	w := newWorld(t)
	i := w.startWatched(twoShops)
	c := w.newVisitors()
	answers := map[string]http.HandlerFunc{pathToken: c.token, pathUserinfo: status(http.StatusOK, `{"sub":"a-person","name":"Kari Nordmann"}`)}
	c.logIn(500)
	before := i.settled()
	shop, failed := w.shop("shop-a.localhost"), 0
	fail := func(name string, n int) {
		t.Helper()
		c.times(n, func(int) {
			b := c.someone()
			if page := b.follow(b.get(shop + "/page")); page.StatusCode < 502 || page.StatusCode > 504 {
				t.Errorf("%s: %d at %s", name, page.StatusCode, page.Request.URL)
			}
		})
	}
	well := func(name string) {
		t.Helper()
		c.logIn(1)
		i.wantNoMore(name, before, failed*200+(2<<20))
	}
	for name, fault := range map[string]http.HandlerFunc{
		"503": status(503, "busy"), "huge": status(200, `{"access_token":"`+strings.Repeat("x", 2<<20)+`"}`), "endless": endless, "gzip that is none": raw("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", false),
		"truncated": raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a", false), "reset": raw("", true), "deep": status(200, strings.Repeat("[", 900_000)),
		"1xx without end": raw(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 1000), false), "elsewhere": http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound).ServeHTTP,
	} {
		for path, answer := range answers {
			w.vipps.answer(path, fault)
			fail(name, 60)
			failed += 60
			w.vipps.answer(path, answer)
		}
		well(name)
	}
	address := w.vipps.Listener.Addr().String()
	w.vipps.Listener.Close()
	w.vipps.CloseClientConnections()
	fail("refused", 250)
	failed += 250
	w.vipps.listenAgain(t, address)
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
		w.vipps.answer(path, hang)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { fail("no end", 16) })
	}
	all.Wait()
	for path, answer := range answers {
		w.vipps.answer(path, answer)
	}
	failed += 320
	well("no end")
}

// listenAgain undoes that the listener was closed.
func (v *vipps) listenAgain(t *testing.T, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	again := httptest.NewUnstartedServer(v)
	again.Listener.Close()
	again.Listener = listener
	again.Start()
	t.Cleanup(again.Close)
	v.Server = again
}

// TestNothingPilesUpInAbuse: 50,000 requests of strangers, each from an address of its own, fill neither memory
// nor storage nor metrics.
func TestNothingPilesUpInAbuse(t *testing.T) {
	t.Setenv("TILL_API_KEY", apiKey)
	w := newWorld(t)
	i := w.startWatched(`
http://shop-a.localhost:$HTTP, http://*.shops.localhost:$HTTP {
	vipps_login /account/* {
		merchant 123456 shop-a.localhost
		merchant 234567 *.shops.localhost
		return_in_any_browser
		consent_webhook_secret `+consentSecret+`
		phone {
			api_key {env.TILL_API_KEY}
			webhook_secret `+webhookSecret+`
		}
	}
	reverse_proxy $UPSTREAM
}
`+metricsSite, "protocols h1 h2", "protocols h1 h2\n\t\ttrusted_proxies static 127.0.0.0/8", "subscription_key "+partnerKey, "subscription_key "+partnerKey+"\n\t\tmetrics per_merchant")
	c := w.newVisitors()
	w.vipps.answer(pathToken, status(400, `{"error":"invalid_grant"}`))
	shop := w.shop("shop-a.localhost")
	b := c.someone()
	b.client.Jar = nil
	key := "Authorization: Bearer " + randomText(40)
	kinds := []func() (*http.Request, int){
		func() (*http.Request, int) { return newRequest(t, "GET", shop+"/account/"+randomText(20), nil), 302 },
		func() (*http.Request, int) {
			return newRequest(t, "GET", shop+"/vipps/login?return_to=/"+randomText(200), nil), 302
		},
		func() (*http.Request, int) {
			return newRequest(t, "GET", shop+"/vipps/callback?code=x&state="+randomText(300), nil), 400
		},
		func() (*http.Request, int) {
			return newRequest(t, "GET", shop+"/vipps/phone/callback?code=x&state="+randomText(22), nil), 400
		},
		func() (*http.Request, int) {
			return newRequest(t, "GET", shop+"/account/", nil, "Cookie: vipps_session=1"+randomText(400)+"; vipps_login_"+randomText(22)+"="+randomText(100)), 302
		},
		func() (*http.Request, int) {
			return newRequest(t, "POST", shop+"/vipps/phone", strings.NewReader(`{"phone_number":"+4741000001"}`), key, "Content-Type: application/json"), 401
		},
		func() (*http.Request, int) {
			return newRequest(t, "GET", shop+"/vipps/phone/"+randomText(22)+"?wait=60", nil, key), 401
		},
		func() (*http.Request, int) {
			return newRequest(t, "POST", shop+"/vipps/webhook", strings.NewReader(`{"auth_req_id":"`+randomText(22)+`"}`), "Authorization: HMAC-SHA256 "+randomText(44)), 401
		},
		func() (*http.Request, int) {
			return newRequest(t, "POST", shop+"/vipps/webhook?secret="+randomText(40), strings.NewReader(`{"eventType":"`+randomText(100)+`"}`)), 401
		},
		func() (*http.Request, int) {
			return newRequest(t, "GET", shop+"/account/", nil, "Host: "+strings.ToLower(strings.Trim(randomText(12), "-_"))+".shops.localhost"), 302
		},
		func() (*http.Request, int) {
			return newRequest(t, "X"+strings.Trim(randomText(8), "-_"), shop+"/account/", nil), 401
		},
		func() (*http.Request, int) { // a login that is started, and ended with a code that is none
			state := mustQuery(t, b.get(shop+"/vipps/login").location()).Get("state")
			return newRequest(t, "GET", shop+"/vipps/callback?code=x&state="+url.QueryEscape(state), nil), 400
		},
	}
	abuse := func(n int) {
		c.times(n, func(at int) {
			req, want := kinds[at%len(kinds)]()
			req.Header.Set("X-Forwarded-For", fmt.Sprintf("2001:db8:%x:%x::%x", at>>16, at&0xffff, len(req.URL.Path)))
			if a := b.do(req); a.StatusCode != want {
				t.Errorf("%s %s: %d, want %d", req.Method, req.URL, a.StatusCode, want)
			}
		})
	}
	series := func() int { return len(w.scrape()) }
	abuse(2000)
	before, stored, counted := i.settled(), w.stored(t), series()
	const n = 50_000
	abuse(n)
	// What is remembered is that the logins that were ended are spent.
	i.wantNoMore(fmt.Sprintf("%d requests", n), before, n/len(kinds)*200+(1<<20))
	if after := w.stored(t); !slices.Equal(after, stored) {
		t.Errorf("storage had %v, and has %v", stored, after)
	}
	if after := series(); after != counted {
		t.Errorf("%d metrics became %d", counted, after)
	}
}
