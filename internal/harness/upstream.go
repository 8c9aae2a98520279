package harness

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// upstream is the site behind the Caddy: it keeps the requests it got.
type upstream struct {
	*httptest.Server
	Mutex    sync.Mutex
	Requests []*http.Request
	Handler  http.HandlerFunc
}

func newUpstream(t testing.TB) *upstream {
	u := new(upstream)
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		u.Mutex.Lock()
		u.Requests = append(u.Requests, r)
		handler := u.Handler
		u.Mutex.Unlock()
		if handler != nil {
			handler(w, r)
			return
		}
		fmt.Fprintf(w, "hello from %s", r.URL.RequestURI())
	}))
	t.Cleanup(u.Close)
	return u
}

// Last returns the last request the site got, and forgets them all.
func (u *upstream) Last(t testing.TB) *http.Request {
	t.Helper()
	u.Mutex.Lock()
	defer u.Mutex.Unlock()
	if len(u.Requests) == 0 {
		t.Fatal("the upstream got no request")
	}
	r := u.Requests[len(u.Requests)-1]
	u.Requests = nil
	return r
}

// Count returns how many requests the site got since they were last forgotten.
func (u *upstream) Count() int {
	u.Mutex.Lock()
	defer u.Mutex.Unlock()
	return len(u.Requests)
}

// Requests of people with and without a session go through these sites.
const SpoofSites = `
http://shop-a.localhost:$HTTP {
	vipps_login /account/* 123456 {
		header Remote-User sub
		header X-Shop msn
	}
	reverse_proxy $UPSTREAM
}
`

// AllowAliases makes Caddy let the header spellings through that it drops by itself since 2.11.
const AllowAliases = "protocols h1 h2\n\t\texpected_underscore_headers X_Vipps_* Remote_User X-Vipps_*\n\t\texpected_dot_headers X.Vipps.* Remote.User"

// SpoofedSpellings are names that CGI, FastCGI, WSGI, Rack, Servlet or PHP sites may read as one of spoofSites'.
var SpoofedSpellings = []string{
	"X-Vipps-Sub", "x-vipps-sub", "X-VIPPS-MSN", "X-Vipps-Anything", "X_Vipps_Sub", "X_VIPPS_NAME", "X.Vipps.Sub", "X-Vipps_Sub",
	"Remote-User", "remote-user", "Remote_User", "Remote.User", "X-Shop", "X-Vipps-",
	"X~Vipps~Sub", "X!Vipps!Sub", "X'Vipps'Sub", "X+Vipps|Sub",
}

// TakeCount returns how many requests the site got, and forgets them.
func (u *upstream) TakeCount() int {
	u.Mutex.Lock()
	defer u.Mutex.Unlock()
	n := len(u.Requests)
	u.Requests = nil
	return n
}
