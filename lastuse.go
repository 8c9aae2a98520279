package vippslogin

import (
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
)

// With idle_timeout, the time of a session's last use is in a cookie of its own, whose name says which session it
// is about. The session's cookies never change from login to logout: an answer that comes late, after somebody
// else has logged in, or the user has logged out, brings no session back and ends none.

// seenName returns the name of the cookie with the last use of s.
func seenName(v *visit, s *session.Session) string { return v.names.Seen + s.IDText()[:8] }

// lastUse returns when s was used last: what its cookie says, but never earlier than the login.
func lastUse(header http.Header, v *visit, s *session.Session) time.Time {
	want := cookie.Name(seenName(v, s), v.Secure())
	seen := s.Seen
	for name, value := range cookie.All(header) {
		if name != want {
			continue
		}
		sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
		if err != nil {
			continue
		}
		plain, ok := v.keys.Seen.Open(sealed, seal.Context(v.Host, v.msn, s.IDText()))
		if ok && len(plain) == 8 && session.TimeAt(plain).After(seen) {
			seen = session.TimeAt(plain)
		}
	}
	return seen
}

// renewSession writes down that the session is in use, when a tenth of its idle timeout has gone by. Where none is
// configured nothing needs renewing.
func (h *Handler) renewSession(w http.ResponseWriter, v *visit) {
	idle := h.idleTimeout
	if idle <= 0 || v.began.Sub(v.session.Seen) < idle/10 {
		return
	}
	plain := binary.BigEndian.AppendUint64(nil, uint64(v.began.UnixMilli()))
	sealed := v.keys.Seen.Seal(plain, seal.Context(v.Host, v.msn, v.session.IDText()))
	left := time.Until(v.session.Issued.Add(h.lifetime))
	cookie.Set(w, seenName(v, v.session), base64.RawURLEncoding.EncodeToString(sealed), v.Secure(), min(idle, left))
}

// clearLastUses clears the last uses that came with the request: of sessions that are over.
func clearLastUses(w http.ResponseWriter, r *http.Request, v *visit) {
	prefix := cookie.Name(v.names.Seen, v.Secure())
	for name := range cookie.All(r.Header) {
		if strings.HasPrefix(name, prefix) && cookie.IsOwn(name) {
			cookie.Set(w, strings.TrimPrefix(name, cookie.HostPrefix), "", v.Secure(), 0)
		}
	}
}

// atOnce is how soon an answer of ours comes that may still clear a session's cookies.
const atOnce = time.Second

// clearInvalid clears session cookies that are no good. Only for answers of ours that come at once: a later one,
// and the site's on its way through, may meet a session in the browser that began in between.
func (v *visit) clearInvalid(w http.ResponseWriter, r *http.Request) {
	if v.invalid && time.Since(v.began) < atOnce {
		cookie.SetSession(w, r, v.names.Session, nil, v.Secure(), 0)
		clearLastUses(w, r, v)
	}
}
