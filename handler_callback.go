package vippslogin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"
)

// What a callback can be refused for, beyond what Vipps MobilePay's answers are refused for.
var (
	errBadCallback = errors.New("the callback is not well formed")
	errNoLogin     = errors.New("the callback belongs to no login in progress here")
	errCancelled   = errors.New("the person cancelled")
	errRefused     = errors.New("the login was refused by Vipps MobilePay")
	errServerError = errors.New("an error at Vipps MobilePay itself")
)

// serveCallback is GET /vipps/callback: it completes a login.
func (h *Handler) serveCallback(w http.ResponseWriter, r *http.Request, v *visit) error {
	answer, err := parseCallback(r.URL.RawQuery)
	if err != nil {
		return h.fail(w, r, v, err, "/")
	}
	now := time.Now()
	l, ok := h.findLogin(r, v, answer.state, now)
	if ok {
		// Spent by its first use, a failed one too.
		setCookie(w, loginCookie+l.id, "", v.secure(), 0)
		ok = spent.spend(l.id)
	}
	switch {
	case !ok && v.session != nil:
		return redirect(w, http.StatusFound, v.url("/")) // replayed: the back button, a bookmark
	case !ok:
		return h.fail(w, r, v, errNoLogin, "/")
	}
	// The login is spent: it goes on when the person reloads the page meanwhile, and finds the session.
	s, err := h.completeLogin(context.WithoutCancel(r.Context()), v, l, answer)
	if err != nil {
		return h.fail(w, r, v, err, l.returnTo)
	}
	h.setSession(w, r, v, s)
	h.logger.Info("login completed", zap.String("msn", v.msn), zap.String("sub", s.sub()),
		zap.Duration("since_start", now.Sub(l.started)), zap.Duration("duration", time.Since(now)))
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
// found.
func (h *Handler) findLogin(r *http.Request, v *visit, state string, now time.Time) (*login, bool) {
	if !h.ReturnInAnyBrowser || isLoginID(state) {
		return findLogin(v.keys.login, r, state, v.host, v.msn, v.secure(), now)
	}
	carried, ok := openLogin(v.keys.state, state, v.host, v.msn, now)
	if !ok {
		return nil, false
	}
	// The browser that started the login knows the whole return path; the state may not have had room.
	if kept, ok := findLogin(v.keys.login, r, carried.id, v.host, v.msn, v.secure(), now); ok {
		return kept, true
	}
	return carried, true
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
	return &session{issued: now, seen: now, claims: claims}, nil
}
