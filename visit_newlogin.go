package vippslogin

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/placement"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
)

// Some claims come at the first login only, such as the consents of customFlow. The site is told which request is the
// first page view of a login, so that it can store them then. A cookie of its own says so until the site has answered
// one.

// newLoginPlaceholder is how a config asks for it; a header for the claim new_login is the other way.
const newLoginPlaceholder = "http.vipps_login.new_login"

// asksForNewLogins reports whether the config asks which page view is the first of a login: only then is there a cookie
// for it.
func (h *Handler) asksForNewLogins(ctx caddy.Context) bool {
	for _, claim := range h.Headers {
		if claim == "new_login" {
			return true
		}
	}
	return placement.Mentions(ctx, newLoginPlaceholder)
}

// newLoginName returns the name of the cookie that says that s is new.
func newLoginName(v *visit, s *session.Session) string { return v.names.New + s.IDText()[:8] }

// newLoginContext binds the cookie to the login.
func newLoginContext(v *visit, s *session.Session) []byte {
	return seal.Context(v.Host, v.msn, s.IDText(), "new login")
}

// setNewLogin has the next page view be the first of its login.
func setNewLogin(w http.ResponseWriter, v *visit, s *session.Session, left time.Duration) {
	sealed := v.keys.Seen.Seal(nil, newLoginContext(v, s))
	cookie.Set(w, newLoginName(v, s), base64.RawURLEncoding.EncodeToString(sealed), v.Secure(), left)
}

// isNewLogin reports whether r is the first page view of its login.
func isNewLogin(r *http.Request, v *visit) bool {
	if !mayBeNew(r.Header) || !incoming.IsNavigation(r) {
		return false
	}
	want := cookie.Name(newLoginName(v, v.session), v.Secure())
	for name, value := range cookie.All(r.Header) {
		if name != want {
			continue
		}
		sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
		if err != nil {
			continue
		}
		if _, ok := v.keys.Seen.Open(sealed, newLoginContext(v, v.session)); ok {
			return true
		}
	}
	return false
}

// mayBeNew is a quick look: nearly no request has such a cookie.
func mayBeNew(header http.Header) bool {
	for _, line := range header["Cookie"] {
		if strings.Contains(line, cookie.Plain.New[:len(cookie.Plain.New)-1]) {
			return true
		}
	}
	return false
}

// spendNewLogin clears the cookie with the site's answer. An error of the site's, such as a proxy's that cannot reach
// it, is no answer.
func spendNewLogin(w http.ResponseWriter, v *visit) http.ResponseWriter {
	return &answerWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		before:                func() { cookie.Set(w, newLoginName(v, v.session), "", v.Secure(), 0) },
	}
}

// answerWriter calls before once, before the header of the answer is written.
type answerWriter struct {
	*caddyhttp.ResponseWriterWrapper
	before func()
}

func (a *answerWriter) begin() {
	if a.before != nil {
		a.before()
		a.before = nil
	}
}

// WriteHeader implements http.ResponseWriter.
func (a *answerWriter) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		a.begin()
	}
	a.ResponseWriterWrapper.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answerWriter) Write(b []byte) (int, error) {
	a.begin()
	return a.ResponseWriterWrapper.Write(b)
}

// ReadFrom implements io.ReaderFrom.
func (a *answerWriter) ReadFrom(from io.Reader) (int64, error) {
	a.begin()
	return a.ResponseWriterWrapper.ReadFrom(from)
}
