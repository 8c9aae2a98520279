package simulator

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whoever reaches the simulator can log in as anyone at sites that use it, so
// it must not be reachable from another machine: not directly, not through a
// proxy or tunnel, and not through the browser of the person at this machine
// (DNS rebinding: a page of the internet whose name suddenly means 127.0.0.1).
// Each row changes one thing of a request that is answered.
func TestOnlyThisMachine(t *testing.T) {
	sim, err := New(testConfig())
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"unchanged":                   {func(*http.Request) {}, 200},
		"remote IPv6 loopback":        {func(r *http.Request) { r.RemoteAddr = "[::1]:5000" }, 200},
		"remote mapped loopback":      {func(r *http.Request) { r.RemoteAddr = "[::ffff:127.0.0.1]:5000" }, 200},
		"remote 127.1.2.3":            {func(r *http.Request) { r.RemoteAddr = "127.1.2.3:5000" }, 200},
		"remote elsewhere":            {func(r *http.Request) { r.RemoteAddr = "192.0.2.1:5000" }, 403},
		"remote private network":      {func(r *http.Request) { r.RemoteAddr = "192.168.1.7:5000" }, 403},
		"remote IPv6 elsewhere":       {func(r *http.Request) { r.RemoteAddr = "[2001:db8::1]:5000" }, 403},
		"remote mapped elsewhere":     {func(r *http.Request) { r.RemoteAddr = "[::ffff:192.0.2.1]:5000" }, 403},
		"remote Unix socket":          {func(r *http.Request) { r.RemoteAddr = "@" }, 403},
		"remote unknown":              {func(r *http.Request) { r.RemoteAddr = "" }, 403},
		"remote begins like loopback": {func(r *http.Request) { r.RemoteAddr = "127.0.0.1.example.com:80" }, 403},
		"host localhost":              {func(r *http.Request) { r.Host = "localhost:8090" }, 200},
		"host without port":           {func(r *http.Request) { r.Host = "localhost" }, 200},
		"host in capitals, with dot":  {func(r *http.Request) { r.Host = "LOCALHOST.:8090" }, 200},
		"host below localhost":        {func(r *http.Request) { r.Host = "vipps.localhost:8090" }, 200},
		"host IPv6":                   {func(r *http.Request) { r.Host = "[::1]:8090" }, 200},
		"host IPv6 without port":      {func(r *http.Request) { r.Host = "[::1]" }, 200},
		"host rebound":                {func(r *http.Request) { r.Host = "rebound.example.com:8090" }, 403},
		"host ends like localhost":    {func(r *http.Request) { r.Host = "notlocalhost" }, 403},
		"host starts like localhost":  {func(r *http.Request) { r.Host = "localhost.example.com" }, 403},
		"host starts like loopback":   {func(r *http.Request) { r.Host = "127.0.0.1.example.com" }, 403},
		"host with a path":            {func(r *http.Request) { r.Host = "example.com/.localhost" }, 403},
		"host elsewhere":              {func(r *http.Request) { r.Host = "192.0.2.1:8090" }, 403},
		"host any address":            {func(r *http.Request) { r.Host = "0.0.0.0:8090" }, 403},
		"host empty":                  {func(r *http.Request) { r.Host = "" }, 403},
		"X-Forwarded-For":             {func(r *http.Request) { r.Header.Set("X-Forwarded-For", "127.0.0.1") }, 403},
		"X-Forwarded-For empty":       {func(r *http.Request) { r.Header.Set("X-Forwarded-For", "") }, 403},
		"X-Forwarded-Host":            {func(r *http.Request) { r.Header.Set("X-Forwarded-Host", "localhost") }, 403},
		"X-Forwarded-Proto":           {func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "https") }, 403},
		"X-Real-IP":                   {func(r *http.Request) { r.Header.Set("X-Real-IP", "127.0.0.1") }, 403},
		"Forwarded":                   {func(r *http.Request) { r.Header.Set("Forwarded", "for=127.0.0.1") }, 403},
		"Via":                         {func(r *http.Request) { r.Header.Set("Via", "1.1 Caddy") }, 403},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{discoveryPath, indexPath, phonePath, callsPath, stylePath} {
				r := loopbackRequest("GET", path, "")
				test.change(r)
				wantGuarded(t, sim, r, test.want)
			}
		})
	}
}

// A connection from this machine to its own public address arrives on an
// interface that others reach too.
func TestLocalAddressMustBeLoopback(t *testing.T) {
	sim, err := New(testConfig())
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]int{"127.0.0.1": 200, "::1": 200, "192.0.2.1": 403, "2001:db8::1": 403} {
		local := &net.TCPAddr{IP: net.ParseIP(address), Port: 8090}
		r := loopbackRequest("GET", discoveryPath, "")
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local)))
		wantGuarded(t, sim, r, want)
	}
	socket := &net.UnixAddr{Name: "/run/simulator.sock", Net: "unix"}
	r := loopbackRequest("GET", discoveryPath, "")
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(socket)))
	wantGuarded(t, sim, r, 403)
}

// The guard stands before everything else, and says nothing about what is
// behind it. Over a real connection here.
func TestGuardLeaksNothing(t *testing.T) {
	w := newWorld(t)
	for _, target := range []string{indexPath, discoveryPath, "/nowhere"} {
		for name, value := range map[string]string{"Host": "rebound.example.com", "X-Forwarded-For": "192.0.2.1"} {
			a := w.do("GET", target, "", map[string]string{name: value})
			if a.status != 403 || a.body != "Forbidden\n" {
				t.Errorf("%s with %s: %d %q", target, name, a.status, a.body)
			}
		}
	}
	if got := w.sim.Calls()["discovery"]; got != 0 {
		t.Errorf("refused calls were counted: %d", got)
	}
}

func loopbackRequest(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:5000"
	r.Host = "127.0.0.1:8090"
	return r
}

func wantGuarded(t *testing.T, h http.Handler, r *http.Request, want int) {
	t.Helper()
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	if recorder.Code != want {
		t.Errorf("%s: status %d, want %d", r.URL.Path, recorder.Code, want)
	}
	if want == 403 && recorder.Body.String() != "Forbidden\n" {
		t.Errorf("%s: a refusal says %q", r.URL.Path, recorder.Body)
	}
}
