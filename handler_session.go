package vippslogin

import (
	"errors"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/pages"
	"github.com/caddy-vipps/vippslogin/internal/revocation"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

var errCrossSiteLogout = errors.New("another site asked for the logout")

// serveLogout serves GET and POST /vipps/logout: it ends the session, for copies of its cookies as well. The user stays
// logged in at Vipps MobilePay, whose session is not ours to end.
func (h *Handler) serveLogout(w http.ResponseWriter, r *http.Request, v *visit) error {
	returnTo := incoming.ReturnTo(r)
	if h.Logout.ReturnTo != "" && !r.URL.Query().Has("return_to") {
		returnTo = h.Logout.ReturnTo
	}
	switch {
	case incoming.IsCrossSite(r, v.Origin):
		return h.fail(w, r, v, errCrossSiteLogout, returnTo)
	case r.Method == http.MethodGet && !incoming.IsPageInWindow(r), incoming.IsPrefetch(r):
		return refuseWith(w, r, v, pages.Page{Kind: "cross_site_logout", Link: v.URL(returnTo)}, pages.Problem{
			Status: http.StatusForbidden, Title: "Not logged out",
			Detail: "A GET logs out as a page in a window only. Scripts send a POST.",
		})
	}
	cookie.SetSession(w, r, v.names.Session, nil, v.Secure(), 0)
	clearLastUses(w, r, v)
	h.logOutOfSite(w, r, v)
	if v.session != nil {
		if err := h.endSession(r, v); err != nil {
			h.logger.Error("a logout is not known to the other instances yet", zap.String("msn", v.msn), zap.Error(err))
		}
		h.recordLogout(v)
	}
	if len(h.Logout.ClearSiteData) > 0 && v.Secure() { // browsers ignore it over plain HTTP
		w.Header().Set("Clear-Site-Data", `"`+strings.Join(h.Logout.ClearSiteData, `", "`)+`"`)
	}
	status := http.StatusFound
	if r.Method == http.MethodPost {
		status = http.StatusSeeOther // the next request is a GET (RFC 9110 section 15.4.4)
	}
	return redirect(w, status, v.URL(returnTo))
}

// endSession ends the session of a visit at all instances. If that cannot be stored now, this instance keeps trying.
func (h *Handler) endSession(r *http.Request, v *visit) error {
	s := v.session
	return h.app.endSessions(r.Context(), revocation.Entry{Session: s.IDText(), Before: s.Issued.Unix(), Until: s.Ends.Unix()})
}

// endReplaced ends the session that a login replaces in the browser, so that its cookies in a late answer are no session any
// more. The login succeeds even if this fails.
func (h *Handler) endReplaced(r *http.Request, v *visit) {
	if v.session == nil {
		return
	}
	if err := h.endSession(r, v); err != nil {
		h.logger.Error("the session that a login has replaced is not ended at the other instances yet", zap.String("msn", v.msn), zap.Error(err))
	}
}

// serveUserinfo serves GET /vipps/userinfo: the session's claims, for scripts of the site.
func (h *Handler) serveUserinfo(w http.ResponseWriter, r *http.Request, v *visit) error {
	if v.session == nil {
		v.clearInvalid(w, r)
		return pages.WriteProblem(w, h.loginRequired(r, v)) // JSON for every client, as the claims are
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(userinfo.JSON(v.session.Claims))
	return err
}
