package vippslogin

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/outgoing"
	"github.com/caddy-vipps/vippslogin/internal/placement"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/sitesession"
)

// A site with sessions of its own trusts its own cookie, whoever is logged in here. With site_session that cookie is valid
// only for the user it was set for (internal/sitesession).

func (h *Handler) provisionSiteSession() error {
	if h.SiteSession == nil {
		return nil
	}
	if err := resolveWords("site_session", &h.SiteSession.Cookies); err != nil {
		return err
	}
	names := h.SiteSession.Cookies
	if len(names) == 0 {
		return errors.New("site_session: it names no cookie: write the site's own, such as PHPSESSID")
	}
	for i, name := range names {
		switch {
		case !httpguts.ValidHeaderFieldName(name): // a token, as the name of a cookie is (RFC 6265 section 4.1.1)
			return fmt.Errorf("site_session: %q is not the name of a cookie: write one such as PHPSESSID", name)
		case cookie.IsOwn(name):
			return fmt.Errorf("site_session: %q is a cookie of vipps_login itself: leave it out", name)
		case slices.Contains(names[:i], name):
			return fmt.Errorf("site_session: %q is there twice: keep one of them", name)
		}
	}
	h.siteCookies = sitesession.New(names, h.SiteSession.KeepAtLogin)
	return nil
}

// owner returns whose the site's session cookies are: the user's with this session, or nobody's.
func (v *visit) owner(s *session.Session) sitesession.Owner {
	o := sitesession.Owner{Host: v.Host, MSN: v.msn}
	if v.keys != nil {
		o.Keys = v.keys.SiteSession
	}
	if s != nil {
		o.Person = sitesession.PersonOf(s.Sub())
	}
	return o
}

// takeCookies removes from a request what is not the site's business: our cookies, and those of the site's session cookies
// that do not fit. The site's error routes see the same request again: lines that were filtered are not filtered twice.
func (h *Handler) takeCookies(r *http.Request, v *visit) (found sitesession.Found) {
	cookie.RemoveOwn(r.Header)
	if h.siteCookies == nil {
		return found
	}
	sitesession.DropTrailer(r)
	if lines := r.Header["Cookie"]; len(lines) == 0 || &lines[0] == v.fitting {
		return found
	}
	found = h.siteCookies.Filter(r.Header, v.owner(v.session))
	if lines := r.Header["Cookie"]; len(lines) > 0 {
		v.fitting = &lines[0]
	}
	return found
}

// serveSite hands a request to the site, and binds what the site sets.
func (h *Handler) serveSite(w http.ResponseWriter, r *http.Request, v *visit, found sitesession.Found, next caddyhttp.Handler) error {
	if h.siteCookies == nil {
		return next.ServeHTTP(w, r)
	}
	path := incoming.OriginalPath(r)
	// Other answers may arrive after a later login. In error routes it may be unknown whether there is a session.
	expires := incoming.IsNavigation(r) && r.Context().Value(caddyhttp.ErrorCtxKey) == nil
	// A form of another site, or an image in it, comes without our cookie, which is Lax, but with the site's own where that
	// has SameSite=None: what is set for nobody then would replace the user's.
	othersForm := v.session == nil && !incoming.IsNavigation(r) && found.OfSomebody() && incoming.IsCrossSite(incoming.AsSent(r), v.Origin)
	site := outgoing.NewWriter(w, outgoing.Hooks{
		Answer: func(header http.Header) {
			if othersForm {
				h.siteCookies.Remove(header)
			}
			refused := h.siteCookies.Bind(header, v.owner(v.session), path)
			if len(refused) > 0 && h.app.clientLogs.allow(v.client) {
				h.logger.Warn("session cookies of the site left out: bound to the user they are larger than browsers take, or hold a control character",
					zap.String("msn", v.msn), zap.String("host", v.Host), zap.Strings("cookies", refused))
			}
			if expires {
				found.Expire(header, path, v.Secure())
			}
		},
		Interim: h.siteCookies.Remove, // some browsers store cookies of interim answers
	})
	err := next.ServeHTTP(site, r)
	switch {
	case err == nil:
		site.Begin()
	case !site.Begun():
		h.siteCookies.Remove(w.Header()) // of an answer that failed
	}
	h.siteCookies.RemoveTrailers(w.Header())
	return err
}

// logInAtSite adds the site's session cookies to the answer that completes a login with session s. A revoked session may be
// the one that this login has replaced, if the callback is a repeated one: it counts as replaced.
func (h *Handler) logInAtSite(w http.ResponseWriter, r *http.Request, v *visit, s *session.Session) {
	if h.siteCookies != nil {
		replaces := v.session != nil || v.invalid && v.lapsed == nil
		h.siteCookies.LogIn(r.Header, w.Header(), v.owner(s), replaces, v.Secure())
	}
}

// logOutOfSite ends the site's sessions in this browser.
func (h *Handler) logOutOfSite(w http.ResponseWriter, r *http.Request, v *visit) {
	if h.siteCookies != nil {
		h.siteCookies.LogOut(r.Header, w.Header(), v.owner(v.session), v.Secure())
	}
}

// Some claims come with the first login only, such as the consents of customFlow. The site is told which request is the
// first page view of a login, so that it can store them. A cookie marks the login as new until the site has answered a page
// view.

// newLoginPlaceholder is the placeholder for it. A header for the claim new_login does the same.
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

// setNewLogin marks the login as new: the next page view is its first.
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

// mayBeNew is a cheap test first: hardly any request has such a cookie.
func mayBeNew(header http.Header) bool {
	for _, line := range header["Cookie"] {
		if strings.Contains(line, cookie.Plain.New[:len(cookie.Plain.New)-1]) {
			return true
		}
	}
	return false
}

// spendNewLogin clears the cookie with the site's answer. An error, such as a proxy's that cannot reach the site, is no
// answer.
func spendNewLogin(w http.ResponseWriter, v *visit) http.ResponseWriter {
	return outgoing.NewWriter(w, outgoing.Hooks{
		Answer: func(http.Header) { cookie.Set(w, newLoginName(v, v.session), "", v.Secure(), 0) },
	})
}
