package vippslogin

import (
	"errors"
	"net/http"

	"go.uber.org/zap"
)

var errCrossSiteLogout = errors.New("another site asked for the logout")

// serveLogout is GET or POST /vipps/logout: it ends the site's own session, copies of its cookies
// included. The person stays logged in at Vipps MobilePay, whose session is not ours to end.
func (h *Handler) serveLogout(w http.ResponseWriter, r *http.Request, v *visit) error {
	returnTo := returnParameter(r)
	if isPrefetch(r) || isCrossSite(r, v) {
		return h.fail(w, r, v, errCrossSiteLogout, returnTo)
	}
	setSessionCookies(w, r, nil, v.secure(), 0)
	if v.session != nil {
		h.endSession(r, v)
		h.recordLogout(v)
	}
	status := http.StatusFound
	if r.Method == http.MethodPost {
		status = http.StatusSeeOther // the next request is a GET (RFC 9110 section 15.4.4)
	}
	return redirect(w, status, v.url(returnTo))
}

// endSession ends the session of a visit everywhere. Where that cannot be written down now, this instance
// knows it and goes on trying: the person's own browser has no session any more in any case.
func (h *Handler) endSession(r *http.Request, v *visit) {
	s := v.session
	err := h.app.endSessions(r.Context(), revocation{Session: s.idText(), Before: s.issued.Unix(), Until: s.ends.Unix()})
	if err != nil {
		h.logger.Error("a logout is not known to the other instances yet", zap.String("msn", v.msn), zap.Error(err))
	}
}

// serveUserinfo is GET /vipps/userinfo: the session's claims, for scripts of the site.
func (h *Handler) serveUserinfo(w http.ResponseWriter, r *http.Request, v *visit) error {
	if v.session == nil {
		return h.refuseScript(w, r, v)
	}
	h.renewSession(w, r, v)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(claimsJSON(v.session.claims))
	return err
}
