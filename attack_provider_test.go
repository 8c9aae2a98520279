package vippslogin_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/simulator"
)

const (
	pathBackchannel = "/vipps-login-ciba/api/backchannel/authentication"
	pathUserExists  = "/vipps-login-ciba/api/v1/user-exists"
)

// raw answers with bytes, whatever they are, and closes the connection; reset says how.
func raw(bytes string, reset bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // closing with some of it unread would be a reset
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, bytes)
		if tcp, ok := conn.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

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

// endless sends as fast as anybody reads.
func endless(w http.ResponseWriter, r *http.Request) {
	block := []byte(strings.Repeat(" ", 64<<10))
	for r.Context().Err() == nil {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// providerFaults are answers that no call should have, and the status of the contract for each.
var providerFaults = []struct {
	name   string
	answer http.HandlerFunc
	want   int
}{
	{"reset", raw("", true), 504},
	{"reset in the header", raw("HTTP/1.1 200 OK\r\nContent-Le", true), 504},
	{"reset in the body", raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"leak\":", true), 502},
	{"no HTTP", raw("leak\r\n\r\n", false), 504},
	{"status 0", raw("HTTP/1.1 0 leak\r\n\r\n", false), 504},
	{"status 999", raw("HTTP/1.1 999 leak\r\nConnection: close\r\nContent-Length: 4\r\n\r\nleak", false), 502},
	{"100 and nothing", raw("HTTP/1.1 100 Continue\r\n\r\n", false), 504},
	{"103 and 500", raw("HTTP/1.1 103 Early Hints\r\nLink: </leak>\r\n\r\nHTTP/1.1 500 x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nleak", false), 502},
	{"101", raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: leak\r\nConnection: Upgrade\r\n\r\n", false), 502},
	{"a thousand 102s", raw(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 1000), false), 504},
	{"huge header", raw("HTTP/1.1 200 OK\r\nX-Leak: "+strings.Repeat("leak", 1<<18)+"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", false), 502},
	{"201", status(201, `{"access_token":"leak","id_token":"leak"}`), 502},
	{"206", status(206, `{"access_token":"leak","id_token":"leak"}`), 502},
	{"300", status(300, "leak"), 502},
	{"304", status(304, ""), 502},
	{"308", http.RedirectHandler("http://127.0.0.1:1/leak", http.StatusPermanentRedirect).ServeHTTP, 502},
	{"402", status(402, "leak"), 502},
	{"418", status(418, "leak"), 502},
	{"451", status(451, `{"error":"LEAK 4712345678"}`), 502},
	{"501", status(501, "leak"), 502},
	{"599", status(599, "leak"), 502},
	{"gzip bomb", gzipBomb, 502},
	{"gzip that is none", raw("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nleak", false), 502},
	{"endless", endless, 502},
	{"deep array", status(200, strings.Repeat("[", 900_000)), 502},
	{"two objects", status(200, `{"access_token":"leak","id_token":"leak"}{"x":"leak"}`), 502},
	{"byte order mark", status(200, "\ufeff{}"), 502},
	{"UTF-16", status(200, "{\x00\"\x00}\x00"), 502},
	{"NUL", status(200, "\x00"), 502},
	{"number", status(200, "7"), 502},
	{"wrong case", status(200, `{"Access-Token":"leak","IDToken":"leak"}`), 502},
	{"numbers for texts", status(200, `{"access_token":7,"id_token":true,"sub":null,"issuer":[],"keys":{},"auth_req_id":1.5,"exists":"leak"}`), 502},
	{"error with 200", status(200, `{"error":"leak_leak"}`), 502},
	{"line break in a token", status(200, `{"access_token":"a\r\nX-Leak: b","id_token":"a\r\nb","sub":"leak\r\n","issuer":"\r\n","exists":7}`), 502},
}

// anew loads sites with nothing fetched from Vipps MobilePay yet.
func (w *world) anew(sites string, n int) {
	w.t.Helper()
	w.loadWhole(strings.Replace(w.globals(), "client_id", fmt.Sprintf("system fresh %d\n\t\tclient_id", n), 1) + sites)
}

// TestProviderFaultsAtEveryCall: each fault at each call has the status of the contract in time, leaks nothing,
// opens nothing, and is gone at the next login without a restart; memory stays flat.
func TestProviderFaultsAtEveryCall(t *testing.T) {
	w := newPhoneWorld(t)
	shop := w.shop("shop-a.localhost")
	n := 0
	check := func(name, path string, a answer, want int) {
		t.Helper()
		if a.StatusCode != want {
			t.Errorf("%s at %s: got %d, want %d", name, path, a.StatusCode, want)
		}
		for field, values := range a.Header {
			if strings.Contains(strings.ToLower(strings.Join(values, "")), "leak") {
				t.Errorf("%s at %s: %s: %q", name, path, field, values)
			}
		}
		if strings.Contains(strings.ToLower(a.body), "leak") {
			t.Errorf("%s at %s: %s", name, path, a.body)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, fault := range providerFaults {
		n++
		w.anew(phoneShops, n)
		// In the order in which a first login makes the calls: that the next one fails at the next call shows
		// that this one is well again.
		for _, call := range []struct{ says, path string }{
			{"discovery: ", pathDiscovery}, {"accesstoken: ", pathAccessToken}, {"token: ", pathToken}, {"", pathKeys}, {"userinfo", pathUserinfo},
		} {
			w.vipps.answer(call.path, fault.answer)
			b := newBrowser(t)
			began := time.Now()
			a := b.get(shop + "/account/")
			if call.path != pathDiscovery {
				a = b.get(b.consent(b.follow(a), approve(kari)).location())
			}
			check(fault.name, call.path, a, fault.want)
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("%s at %s: it took %s", fault.name, call.path, took)
			}
			if reference := shownReference.FindStringSubmatch(a.body); reference == nil {
				t.Errorf("%s at %s: no reference: %s", fault.name, call.path, a.body)
			} else if said := fmt.Sprint(w.logLine("login failed", reference[1])["error"]); !strings.Contains(said, call.says) {
				t.Errorf("%s at %s: the log says %s", fault.name, call.path, said)
			}
			if strings.Contains(b.cookies(shop), "vipps_session") {
				t.Errorf("%s at %s: a session", fault.name, call.path)
			}
			w.vipps.answer(call.path, nil)
			b.client.CloseIdleConnections()
		}
		next := newBrowser(t)
		if a := next.login(shop+"/account/", kari); a.StatusCode != http.StatusOK {
			t.Errorf("%s: the next login got %d: %s", fault.name, a.StatusCode, w.pluginLines()[len(w.pluginLines())-1])
		}
		next.client.CloseIdleConnections()
		// The calls of a till, to a Vipps that is known already.
		c := newTill(t, shop)
		number := manyNumbers(50)[n%50]
		w.vipps.answer(pathBackchannel, fault.answer)
		check(fault.name, pathBackchannel, c.call("POST", "/phone", `{"phone_number":"`+number+`"}`), fault.want)
		w.vipps.answer(pathBackchannel, nil)
		w.vipps.answer(pathUserExists, fault.answer)
		check(fault.name, pathUserExists, c.call("POST", "/phone/exists", `{"phone_number":"`+number+`"}`), fault.want)
		w.vipps.answer(pathUserExists, nil)
		c.call("POST", "/phone/exists", `{"phone_number":"`+number+`"}`).wantStatus(t, http.StatusOK)
		c.client.CloseIdleConnections()
	}
	for line := range strings.Lines(strings.ToLower(w.logged())) {
		if strings.Contains(line, `"http.handlers.vipps_login`) && strings.Contains(strings.ReplaceAll(line, "leak_leak", ""), "leak") {
			t.Errorf("in the log: %s", line)
		}
	}
	w.vipps.mu.Lock()
	w.vipps.seen = nil
	w.vipps.mu.Unlock()
	w.upstream.mu.Lock()
	w.upstream.requests = nil
	w.upstream.mu.Unlock()
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
	w := newWorld(t)
	shop := w.shop("shop-a.localhost")
	for n, vanished := range []http.HandlerFunc{
		status(200, `{"keys":[]}`), status(200, `{}`), status(404, ""),
		status(200, `{"keys":[{"kty":"oct","kid":"k","k":"AAAA"}]}`),
	} {
		w.anew(twoShops, n)
		w.vipps.answer(pathKeys, vanished)
		newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusBadGateway)
		w.vipps.answer(pathKeys, nil)
		newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusOK)
		w.vipps.answer(pathKeys, vanished)
		newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusOK) // the last good copy
		w.vipps.answer(pathKeys, nil)
	}
}

// TestRelyingParty: the relying-party cases of the OpenID Foundation's conformance suite for the code flow, by
// their names there (https://openid.net/certification/connect_rp_testing/), each through a whole login.
func TestRelyingParty(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	idToken := func(change func(header, claims map[string]any)) simulator.Faults {
		return simulator.Faults{IDToken: change}
	}
	signature := func(change func(token string) string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			recorded := newRecorder()
			w.vipps.sim.ServeHTTP(recorded, r)
			body := recorded.body.String()
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
			w.vipps.sim.SetFaults(test.faults)
			w.vipps.answer(pathToken, test.token)
			w.upstream.mu.Lock()
			w.upstream.requests = nil
			w.upstream.mu.Unlock()
			newBrowser(t).login(shop+"/", kari).wantStatus(t, test.want)
			if (w.upstream.count() > 0) != (test.want == 200) {
				t.Errorf("the site got %d requests", w.upstream.count())
			}
		})
	}
	w.vipps.sim.SetFaults(simulator.Faults{})
	w.vipps.answer(pathToken, nil)
	// rp-userinfo-bearer-header: the access token travels in a header, never in a URL or a body.
	for _, r := range w.vipps.requests(pathUserinfo) {
		if r.Method != http.MethodGet || r.URL.RawQuery != "" || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			t.Errorf("%s %s", r.Method, r.URL)
		}
	}
	// rp-key-rotation-op-sign-key: a key that was not there at the last login.
	w.vipps.sim.RotateKey()
	newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusOK)
}
