package vippslogin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// What a callback can be refused for, beyond what Vipps MobilePay's answers are refused for.
var (
	errBadCallback    = errors.New("the callback is not well formed")
	errNoLogin        = errors.New("the callback belongs to no login in progress here")
	errOtherBrowser   = errors.New("the login began in another browser, or is over")
	errTooLate        = errors.New("the login took too long")
	errSpent          = errors.New("the login has been used before")
	errCancelled      = errors.New("the person cancelled")
	errOutdatedApp    = errors.New("the person's app is too old")
	errWrongChallenge = errors.New("the person chose the wrong number in the app")
	errRefused        = errors.New("the login was refused by Vipps MobilePay")
	errServerError    = errors.New("an error at Vipps MobilePay itself")
)

// serveCallback is GET /vipps/callback: it completes a login.
func (h *Handler) serveCallback(w http.ResponseWriter, r *http.Request, v *visit) error {
	answer, err := parseCallback(r.URL.RawQuery)
	if isPartOfPage(r) { // an image on a sibling's page would change who is logged in
		err = errBadCallback
	}
	if err != nil {
		return h.fail(w, r, v, err, "/")
	}
	now := time.Now()
	l, err := h.findLogin(r, v, answer.state, now)
	if err == nil {
		// Spent by its first use, a failed one too.
		setCookie(w, v.names.login+l.id, "", v.secure(), 0)
		if !spent.spend(l.id) {
			err = errSpent
		}
	}
	switch {
	case err != nil && v.session != nil:
		return redirect(w, http.StatusFound, v.url(l.returnTo)) // replayed: the back button, a bookmark
	case err != nil:
		return h.fail(w, r, v, err, l.returnTo)
	}
	// The login is spent: it goes on when the person reloads the page meanwhile, and finds the session.
	s, err := h.completeLogin(context.WithoutCancel(r.Context()), v, l, answer)
	if err != nil {
		return h.fail(w, r, v, err, l.returnTo)
	}
	h.endReplaced(r, v)
	h.setSession(w, r, v, s)
	h.recordLogin(v, flowBrowser, s, l.started, time.Since(now))
	return redirect(w, http.StatusFound, v.url(l.returnTo))
}

// callback is what comes back from Vipps MobilePay (RFC 6749 section 4.1.2).
type callback struct {
	state, code, errorCode string
}

// parseCallback reads the query. Two values for one parameter could be read one way here and another
// way elsewhere, and are refused (RFC 6749 section 3.1).
func parseCallback(query string) (callback, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return callback{}, errBadCallback
	}
	for _, name := range []string{"state", "code", "error"} {
		if len(values[name]) > 1 {
			return callback{}, errBadCallback
		}
	}
	answer := callback{values.Get("state"), values.Get("code"), values.Get("error")}
	if answer.state == "" || (answer.code == "") == (answer.errorCode == "") {
		return callback{}, errBadCallback
	}
	return answer, nil
}

// findLogin returns the login that state belongs to. Nothing is sent to Vipps MobilePay before it is
// found. Where it cannot be completed here, the error says why, and the login still says where the
// person was going.
func (h *Handler) findLogin(r *http.Request, v *visit, state string, now time.Time) (*login, error) {
	told, ok := openLogin(v.keys.state, state, v.host, v.msn)
	if !ok || now.Sub(told.started) > returnsFor {
		return &login{returnTo: "/"}, errNoLogin
	}
	if !told.alive(now) {
		return told, errTooLate
	}
	// The cookie knows the whole return path; the state may not have had room.
	if l, ok := loginInCookie(v.keys.login, r, v.names.login, told.id, v.host, v.msn, v.secure(), now); ok {
		return l, nil
	}
	switch {
	case spent.has(told.id):
		return told, errSpent
	case !h.ReturnInAnyBrowser || !told.carried():
		return told, errOtherBrowser
	}
	return told, nil
}

// completeLogin turns Vipps MobilePay's answer into a session, or into an error that says why not.
func (h *Handler) completeLogin(ctx context.Context, v *visit, l *login, answer callback) (*session, error) {
	if answer.errorCode != "" {
		return nil, authorizationError(answer.errorCode)
	}
	if h.ReturnInAnyBrowser {
		if err := checkRedeemed(ctx, h.app.storage, l.id); err != nil {
			return nil, err
		}
	}
	client := h.app.shared.client
	tokens, err := client.exchangeCode(ctx, v.unit, v.msn, answer.code, h.redirectURI(v), l.verifier)
	if err != nil {
		return nil, err
	}
	claims, err := h.checkedClaims(ctx, v, tokens, expectation{nonce: l.nonce, appAuth: h.RequireAppConfirmation})
	if err != nil {
		return nil, err
	}
	if h.ReturnInAnyBrowser {
		if err := redeem(ctx, h.app.storage, l.id); err != nil {
			return nil, err
		}
	}
	now := time.Now()
	s := newSession(claims, now, time.Duration(h.Session.Lifetime))
	s.inApp = h.RequireAppConfirmation // checkACR
	return s, nil
}
