package vippslogin

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// serveUnauthenticated answers an unauthenticated request that needs a login: a page view goes to Vipps MobilePay,
// anything else gets 401, so that no script follows the redirect and no form is lost in it. The 401 is a page
// for a browser and JSON for a script.
func (h *Handler) serveUnauthenticated(w http.ResponseWriter, r *http.Request, v *visit) error {
	navigation := incoming.IsNavigation(r)
	switch {
	case navigation && h.OnUnauthenticated == unauthenticatedDeny:
		return h.fail(w, r, v, errLoginRequired, incoming.WantedPage(r))
	case navigation:
		return h.startLogin(w, r, v, incoming.WantedPage(r))
	}
	return h.refuse(w, r, v)
}

// serveLogin serves GET /vipps/login: it starts a login. Images and frames are refused: a page of a sibling domain with many
// of them would push the logins in progress out of the browser's cookies.
func (h *Handler) serveLogin(w http.ResponseWriter, r *http.Request, v *visit) error {
	if incoming.IsPrefetch(r) || incoming.IsPartOfPage(r) {
		return h.refuse(w, r, v)
	}
	returnTo := incoming.ReturnTo(r)
	h.wantMore(r, v, returnTo)
	return h.startLogin(w, r, v, returnTo)
}

// errLoop says that a browser begins one login after the other. No user does: the site sends it to them.
var errLoop = errors.New("the browser is sent from one login to the next")

// loopError says what the likely cause is.
func loopError(stepUp bool) error {
	if stepUp {
		return fmt.Errorf("%w: no login is new enough for a max_age: do the clocks of the instances differ?", errLoop)
	}
	return fmt.Errorf("%w: does the site see the identity headers, and take them for a login?", errLoop)
}

// startLogin sends the browser to Vipps MobilePay. The login waits in a cookie, so that it can be
// completed in this browser only, and in the state where return_in_any_browser is on.
func (h *Handler) startLogin(w http.ResponseWriter, r *http.Request, v *visit, returnTo string) error {
	now := v.began
	if wait := v.wait(now); wait > 0 {
		setRetryAfter(w, wait)
		return h.fail(w, r, v, loopError(v.isStepUp()), returnTo)
	}
	doc, err := h.app.shared.client.Discovery.Get(r.Context())
	if err != nil {
		return h.fail(w, r, v, err, returnTo)
	}
	l := login.New(returnTo, now)
	var scope string
	scope, l.Asked.Scopes = v.scopesAsked()
	l.Asked.StepUp = v.isStepUp()
	l.Asked.Confirmed = h.RequireAppConfirmation || v.needs().Confirmed || l.Asked.StepUp && v.session.InApp
	told := l.WithoutSecrets()
	if h.ReturnInAnyBrowser {
		told = l
	}
	keepUnstored(w.Header()) // before the cookie, which would say it in its own way
	state := login.Seal(v.keys.State, told, v.Host, v.msn, login.MaxState)
	login.SetCookie(w, r, v.names.Login, v.keys.Login, l, v.Host, v.msn, v.Secure(), now)
	if !v.history().IsRecent(now) { // sessions that are invalid as soon as they begin may be a loop as well
		v.clearInvalid(w, r)
	}
	h.recordStart(v, flowBrowser)
	return redirect(w, http.StatusFound, vipps.AuthorizationRequest{
		Unit: v.unit, MSN: v.msn, RedirectURI: h.redirectURI(v), State: state, Nonce: l.Nonce, Verifier: l.Verifier,
		Scope: scope, AppAuth: l.Asked.Confirmed, AnyBrowser: h.ReturnInAnyBrowser,
	}.URL(doc.AuthorizationEndpoint))
}

// redirectURI must equal, byte for byte, one that is registered for the sales unit.
func (h *Handler) redirectURI(v *visit) string { return v.URL(h.paths.callback) }
