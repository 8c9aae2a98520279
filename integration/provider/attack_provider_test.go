package provider_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// gzipBomb is 64 MiB of JSON in 64 KiB.
func gzipBomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Set("Content-Type", "application/json")
	zip := gzip.NewWriter(w)
	_, _ = io.WriteString(zip, `{"access_token":"`)
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = 'x'
	}
	for range 64 {
		if _, err := zip.Write(block); err != nil {
			return
		}
	}
	_ = zip.Close()
}

// providerFaults are answers that no call should have, and the status of the contract for each.
var providerFaults = []struct {
	name   string
	answer http.HandlerFunc
	want   int
}{
	{"reset", harness.RawAnswer("", true), 504},
	{"reset in the header", harness.RawAnswer("HTTP/1.1 200 OK\r\nContent-Le", true), 504},
	{"reset in the body", harness.RawAnswer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"leak\":", true), 502},
	{"no HTTP", harness.RawAnswer("leak\r\n\r\n", false), 504},
	{"status 0", harness.RawAnswer("HTTP/1.1 0 leak\r\n\r\n", false), 504},
	{"status 999", harness.RawAnswer("HTTP/1.1 999 leak\r\nConnection: close\r\nContent-Length: 4\r\n\r\nleak", false), 502},
	{"100 and nothing", harness.RawAnswer("HTTP/1.1 100 Continue\r\n\r\n", false), 504},
	{"103 and 500", harness.RawAnswer("HTTP/1.1 103 Early Hints\r\nLink: </leak>\r\n\r\nHTTP/1.1 500 x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nleak", false), 502},
	{"101", harness.RawAnswer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: leak\r\nConnection: Upgrade\r\n\r\n", false), 502},
	{"a thousand 102s", harness.RawAnswer(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 1000), false), 504},
	{"huge header", harness.RawAnswer("HTTP/1.1 200 OK\r\nX-Leak: "+strings.Repeat("leak", 1<<18)+"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", false), 502},
	{"201", harness.WithStatus(201, `{"access_token":"leak","id_token":"leak"}`), 502},
	{"206", harness.WithStatus(206, `{"access_token":"leak","id_token":"leak"}`), 502},
	{"300", harness.WithStatus(300, "leak"), 502},
	{"304", harness.WithStatus(304, ""), 502},
	{"308", http.RedirectHandler("http://127.0.0.1:1/leak", http.StatusPermanentRedirect).ServeHTTP, 502},
	{"402", harness.WithStatus(402, "leak"), 502},
	{"418", harness.WithStatus(418, "leak"), 502},
	{"451", harness.WithStatus(451, `{"error":"LEAK 4712345678"}`), 502},
	{"501", harness.WithStatus(501, "leak"), 502},
	{"599", harness.WithStatus(599, "leak"), 502},
	{"gzip bomb", gzipBomb, 502},
	{"gzip that is none", harness.RawAnswer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nleak", false), 502},
	{"endless", harness.Endless, 502},
	{"deep array", harness.WithStatus(200, strings.Repeat("[", 900_000)), 502},
	{"two objects", harness.WithStatus(200, `{"access_token":"leak","id_token":"leak"}{"x":"leak"}`), 502},
	{"byte order mark", harness.WithStatus(200, "\ufeff{}"), 502},
	{"UTF-16", harness.WithStatus(200, "{\x00\"\x00}\x00"), 502},
	{"NUL", harness.WithStatus(200, "\x00"), 502},
	{"number", harness.WithStatus(200, "7"), 502},
	{"wrong case", harness.WithStatus(200, `{"Access-Token":"leak","IDToken":"leak"}`), 502},
	{"numbers for texts", harness.WithStatus(200, `{"access_token":7,"id_token":true,"sub":null,"issuer":[],"keys":{},"auth_req_id":1.5,"exists":"leak"}`), 502},
	{"error with 200", harness.WithStatus(200, `{"error":"leak_leak"}`), 502},
	{"line break in a token", harness.WithStatus(200, `{"access_token":"a\r\nX-Leak: b","id_token":"a\r\nb","sub":"leak\r\n","issuer":"\r\n","exists":7}`), 502},
}

// TestProviderFaultsAtEveryCall: each fault at each call has the status of the contract in time, leaks nothing,
// opens nothing, and is gone at the next login without a restart; memory stays flat.
func TestProviderFaultsAtEveryCall(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	shop := w.Shop("shop-a.localhost")
	n := 0
	check := func(name, path string, a harness.Answer, want int) {
		t.Helper()
		if a.StatusCode != want {
			t.Errorf("%s at %s: got %d, want %d", name, path, a.StatusCode, want)
		}
		for field, values := range a.Header {
			if strings.Contains(strings.ToLower(strings.Join(values, "")), "leak") {
				t.Errorf("%s at %s: %s: %q", name, path, field, values)
			}
		}
		if strings.Contains(strings.ToLower(a.Text), "leak") {
			t.Errorf("%s at %s: %s", name, path, a.Text)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, fault := range providerFaults {
		n++
		w.Anew(harness.PhoneShops, n)
		// In the order in which a first login makes the calls: that the next one fails at the next call shows
		// that this one is well again.
		for _, call := range []struct{ says, path string }{
			{"discovery: ", harness.PathDiscovery}, {"accesstoken: ", harness.PathAccessToken}, {"token: ", harness.PathToken}, {"", harness.PathKeys}, {"userinfo", harness.PathUserinfo},
		} {
			w.Vipps.Answer(call.path, fault.answer)
			b := harness.NewBrowser(t)
			began := time.Now()
			a := b.Get(shop + "/account/")
			if call.path != harness.PathDiscovery {
				a = b.Get(b.Consent(b.Follow(a), harness.Approve(harness.Kari)).RedirectTo())
			}
			check(fault.name, call.path, a, fault.want)
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("%s at %s: it took %s", fault.name, call.path, took)
			}
			if reference := harness.ShownReference.FindStringSubmatch(a.Text); reference == nil {
				t.Errorf("%s at %s: no reference: %s", fault.name, call.path, a.Text)
			} else if said := fmt.Sprint(w.LogLine("login failed", reference[1])["error"]); !strings.Contains(said, call.says) {
				t.Errorf("%s at %s: the log says %s", fault.name, call.path, said)
			}
			if strings.Contains(b.Cookies(shop), "vipps_session") {
				t.Errorf("%s at %s: a session", fault.name, call.path)
			}
			w.Vipps.Answer(call.path, nil)
			b.Client.CloseIdleConnections()
		}
		next := harness.NewBrowser(t)
		if a := next.Login(shop+"/account/", harness.Kari); a.StatusCode != http.StatusOK {
			t.Errorf("%s: the next login got %d: %s", fault.name, a.StatusCode, w.PluginLines()[len(w.PluginLines())-1])
		}
		next.Client.CloseIdleConnections()
		// The calls of a till, to a Vipps that is known already.
		c := harness.NewTill(t, shop)
		number := harness.ManyNumbers(50)[n%50]
		w.Vipps.Answer(harness.PathBackchannel, fault.answer)
		check(fault.name, harness.PathBackchannel, c.Call("POST", "/phone", `{"phone_number":"`+number+`"}`), fault.want)
		w.Vipps.Answer(harness.PathBackchannel, nil)
		w.Vipps.Answer(harness.PathUserExists, fault.answer)
		check(fault.name, harness.PathUserExists, c.Call("POST", "/phone/exists", `{"phone_number":"`+number+`"}`), fault.want)
		w.Vipps.Answer(harness.PathUserExists, nil)
		c.Call("POST", "/phone/exists", `{"phone_number":"`+number+`"}`).WantStatus(t, http.StatusOK)
		c.Client.CloseIdleConnections()
	}
	for line := range strings.Lines(strings.ToLower(w.Logged())) {
		if strings.Contains(line, `"http.handlers.vipps_login`) && strings.Contains(strings.ReplaceAll(line, "leak_leak", ""), "leak") {
			t.Errorf("in the log: %s", line)
		}
	}
	w.Vipps.Mutex.Lock()
	w.Vipps.Seen = nil
	w.Vipps.Mutex.Unlock()
	w.Upstream.Mutex.Lock()
	w.Upstream.Requests = nil
	w.Upstream.Mutex.Unlock()
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d kinds of faults, the heap went from %d to %d", n, before.HeapAlloc, after.HeapAlloc)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 24<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
}

// TestKeysVanishAndReturn: a key set without the key in use, or none at all, refuses logins as 502, and the
// next login after the keys are back works.
func TestKeysVanishAndReturn(t *testing.T) {
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	for n, vanished := range []http.HandlerFunc{
		harness.WithStatus(200, `{"keys":[]}`), harness.WithStatus(200, `{}`), harness.WithStatus(404, ""),
		harness.WithStatus(200, `{"keys":[{"kty":"oct","kid":"k","k":"AAAA"}]}`),
	} {
		w.Anew(harness.TwoShops, n)
		w.Vipps.Answer(harness.PathKeys, vanished)
		harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusBadGateway)
		w.Vipps.Answer(harness.PathKeys, nil)
		harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
		w.Vipps.Answer(harness.PathKeys, vanished)
		harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK) // the last good copy
		w.Vipps.Answer(harness.PathKeys, nil)
	}
}

// TestRelyingParty: the relying-party cases of the OpenID Foundation's conformance suite for the code flow, by
// their names there (https://openid.net/certification/connect_rp_testing/), each through a whole login.
func TestRelyingParty(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	idToken := func(change func(header, claims map[string]any)) simulator.Faults {
		return simulator.Faults{IDToken: change}
	}
	signature := func(change func(token string) string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			recorded := harness.NewRecorder()
			w.Vipps.Sim.ServeHTTP(recorded, r)
			body := recorded.Body.String()
			_, rest, _ := strings.Cut(body, `"id_token":"`)
			token, _, _ := strings.Cut(rest, `"`)
			rw.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(rw, strings.Replace(body, token, change(token), 1))
		}
	}
	for name, test := range map[string]struct {
		faults simulator.Faults
		token  http.HandlerFunc
		want   int
	}{
		"oidcc-client-test":                      {want: 200},
		"oidcc-client-test-nonce-invalid":        {faults: idToken(func(_, c map[string]any) { c["nonce"] = "invalid" }), want: 502},
		"rp-nonce-unless-code-flow":              {faults: idToken(func(_, c map[string]any) { delete(c, "nonce") }), want: 502},
		"oidcc-client-test-invalid-iss":          {faults: idToken(func(_, c map[string]any) { c["iss"] = c["iss"].(string) + "1" }), want: 502},
		"oidcc-client-test-missing-iat":          {faults: idToken(func(_, c map[string]any) { delete(c, "iat") }), want: 502},
		"oidcc-client-test-missing-sub":          {faults: idToken(func(_, c map[string]any) { delete(c, "sub") }), want: 502},
		"oidcc-client-test-missing-aud, partner": {faults: idToken(func(_, c map[string]any) { delete(c, "aud"); delete(c, "msn") }), want: 502},
		"oidcc-client-test-invalid-sig-rs256":    {token: signature(func(s string) string { return s[:len(s)-8] + "AAAAAAAA" }), want: 502},
		"oidcc-client-test-idtoken-sig-none": {token: signature(func(s string) string {
			return "eyJhbGciOiJub25lIn0" + s[strings.IndexByte(s, '.'):strings.LastIndexByte(s, '.')+1]
		}), want: 502},
		"oidcc-client-test-kid-absent-multiple-jwks": {faults: idToken(func(h, _ map[string]any) { delete(h, "kid") }), want: 502},
		"rp-id_token-bad-at_hash":                    {faults: idToken(func(_, c map[string]any) { c["at_hash"] = "AAAAAAAAAAAAAAAAAAAAAA" }), want: 502},
		"oidcc-client-test-expired":                  {faults: idToken(func(_, c map[string]any) { c["exp"] = time.Now().Add(-10 * time.Minute).Unix() }), want: 502},
		"clock of the provider is behind":            {faults: idToken(func(_, c map[string]any) { c["iat"] = time.Now().Add(-5 * time.Minute).Unix() }), want: 200},
		"clock of the provider is ahead":             {faults: idToken(func(_, c map[string]any) { c["iat"] = time.Now().Add(5 * time.Minute).Unix() }), want: 502},
		"oidcc-client-test-userinfo-invalid-sub":     {faults: simulator.Faults{Userinfo: func(c map[string]any) { c["sub"] = "another" }}, want: 502},
		"GHSA-wcvh-g65p-v576, another audience":      {faults: idToken(func(_, c map[string]any) { c["msn"] = "234567" }), want: 502},
	} {
		t.Run(name, func(t *testing.T) {
			w.Vipps.Sim.SetFaults(test.faults)
			w.Vipps.Answer(harness.PathToken, test.token)
			w.Upstream.Mutex.Lock()
			w.Upstream.Requests = nil
			w.Upstream.Mutex.Unlock()
			harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, test.want)
			if (w.Upstream.Count() > 0) != (test.want == 200) {
				t.Errorf("the site got %d requests", w.Upstream.Count())
			}
		})
	}
	w.Vipps.Sim.SetFaults(simulator.Faults{})
	w.Vipps.Answer(harness.PathToken, nil)
	// rp-userinfo-bearer-header: the access token travels in a header, never in a URL or a body.
	for _, r := range w.Vipps.Requests(harness.PathUserinfo) {
		if r.Method != http.MethodGet || r.URL.RawQuery != "" || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			t.Errorf("%s %s", r.Method, r.URL)
		}
	}
	// rp-key-rotation-op-sign-key: a key that was not there at the last login.
	w.Vipps.Sim.RotateKey()
	harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
}
