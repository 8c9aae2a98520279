package vippslogin

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/outgoing"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/sitesession"
)

// A site that keeps sessions of its own goes by its cookie, whoever is logged in here. With site_session such a cookie is
// worth something to the user alone whom it was set for (internal/sitesession).

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

// owner returns for whom the site's session cookies are: the user with this session, or nobody.
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

// takeCookies leaves in a request what is the site's business: none of our cookies, and of the site's session cookies those
// that fit. The site's error routes see the same request again: what was looked at is not looked at twice.
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
	// Of other answers one may come after a login since. In error routes it may be unknown whether there is a session.
	expires := incoming.IsNavigation(r) && r.Context().Value(caddyhttp.ErrorCtxKey) == nil
	site := outgoing.NewWriter(w, outgoing.Hooks{
		Answer: func(header http.Header) {
			refused := h.siteCookies.Bind(header, v.owner(v.session), path)
			if len(refused) > 0 && h.app.told.allow(v.client) {
				h.logger.Warn("session cookies of the site left out: bound to the user they are larger than browsers take, or hold a control character",
					zap.String("msn", v.msn), zap.String("host", v.Host), zap.Strings("cookies", refused))
			}
			if expires {
				found.Expire(header, path, v.Secure())
			}
		},
		Interim: h.siteCookies.Remove, // browsers may take them, or not
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

// logInAtSite is for the answer that ends a login with session s. Of a session that was ended nothing is known: it may be the
// one that this login has replaced, where its outcome is told again.
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
