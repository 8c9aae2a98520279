package harness

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// Legacy is a site that cannot be changed, with sessions of its own: it looks once at who the user is, and from then on goes by
// its session.
type Legacy struct {
	Cookie string // the name of its session cookie
	Renews bool   // it changes the session's id when somebody logs in

	mutex    sync.Mutex
	sessions map[string]*legacySession
}

type legacySession struct {
	user   string
	basket []string
}

// NewLegacy makes the site behind w a Legacy.
func NewLegacy(w *World) *Legacy {
	l := &Legacy{Cookie: "sid", sessions: make(map[string]*legacySession)}
	w.Upstream.Mutex.Lock()
	defer w.Upstream.Mutex.Unlock()
	w.Upstream.Handler = l.ServeHTTP
	return l
}

// ServeHTTP shows whom the session is of, and what is in its basket. With ?put= something is put in there.
func (l *Legacy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	id := ""
	for _, c := range r.CookiesNamed(l.Cookie) {
		if l.sessions[c.Value] != nil && id == "" {
			id = c.Value
		}
	}
	s := l.sessions[id]
	name := r.Header.Get("X-Vipps-Name")
	logsIn := name != "" && (s == nil || s.user == "")
	if s == nil {
		s = new(legacySession)
	}
	if logsIn {
		s.user = name
	}
	if id == "" || logsIn && l.Renews {
		delete(l.sessions, id)
		id = RandomText(24)
		w.Header().Add("Set-Cookie", l.Cookie+"="+id+"; Path=/; HttpOnly; SameSite=Lax")
	}
	l.sessions[id] = s
	if put := r.URL.Query().Get("put"); put != "" {
		s.basket = append(s.basket, put)
	}
	fmt.Fprintf(w, "user=%s basket=%s", s.user, strings.Join(s.basket, ","))
}

// Ask is a page view, and what the site shows.
func (b *Browser) Ask(address string, header ...string) string {
	b.T.Helper()
	return b.Get(address, header...).WantStatus(b.T, http.StatusOK).Text
}
