package vippslogin

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/identity"
	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// Reasons to refuse a callback, besides those of internal/vipps and internal/idtoken.
var (
	errBadCallback    = errors.New("the callback is not well formed")
	errNoLogin        = errors.New("the callback belongs to no login in progress here")
	errOtherBrowser   = errors.New("the login began in another browser, or is over")
	errTooLate        = errors.New("the login took too long")
	errCancelled      = errors.New("the person cancelled")
	errOutdatedApp    = errors.New("the person's app is too old")
	errWrongChallenge = errors.New("the person chose the wrong number in the app")
	errOtherTab       = errors.New("another tab of the browser logs in")
	errRefused        = errors.New("the login was refused by Vipps MobilePay")
	errServerError    = errors.New("an error at Vipps MobilePay itself")
)

// serveCallback serves GET /vipps/callback: it completes a login.
func (h *Handler) serveCallback(w http.ResponseWriter, r *http.Request, v *visit) error {
	answer, err := parseCallback(r.URL.RawQuery)
	if incoming.IsPartOfPage(r) { // an image on a page of a sibling domain would change who is logged in
		err = errBadCallback
	}
	if err != nil {
		return h.fail(w, r, v, err, "/")
	}
	l, err := h.findLogin(r, v, answer.state, v.began)
	var attempt *login.Attempt
	first, refused := false, false
	if err == nil && answer.code != "" {
		wait, leave := h.app.shared.refusedCodes.Enter(r.Context(), v.client, l.InCookie)
		if wait > 0 {
			return h.refuseCode(w, r, v, wait, l.ReturnTo) // the state is not spent: a reload later completes the login
		}
		defer func() { leave(refused) }()
	}
	if err == nil {
		// The first use spends the login, even if it fails.
		cookie.Set(w, v.names.Login+l.ID, "", v.Secure(), 0)
		attempt, first, err = login.Used.Begin(l, answer.fingerprint(v))
	}
	switch {
	case err != nil && v.session != nil:
		return redirect(w, http.StatusFound, v.URL(l.ReturnTo)) // replayed: the back button, a bookmark
	case err != nil:
		return h.fail(w, r, v, err, l.ReturnTo)
	case first && v.session != nil && errors.Is(authorizationError(answer.errorCode), errOtherTab):
		login.Used.Finish(attempt, nil, errOtherTab, "") // that tab has logged in: nothing has failed
	case first:
		refused = h.attemptLogin(r, v, l, answer, attempt)
	}
	return h.answerAttempt(w, r, v, l, attempt, first)
}

var errTooManyCodes = errors.New("too many codes of this client were refused")

// refuseCode answers a client with too many refused codes, without a call to Vipps MobilePay.
func (h *Handler) refuseCode(w http.ResponseWriter, r *http.Request, v *visit, wait time.Duration, returnTo string) error {
	setRetryAfter(w, wait)
	return h.fail(w, r, v, errTooManyCodes, returnTo)
}

// attemptLogin completes a login and records the outcome. refused says that Vipps MobilePay has refused the code. The login is
// spent by now, so this goes on when the user reloads the page: the reload finds the outcome.
func (h *Handler) attemptLogin(r *http.Request, v *visit, l *login.Login, answer callback, attempt *login.Attempt) (refused bool) {
	var s *session.Session
	var reference string
	err := errInternal
	defer func() { login.Used.Finish(attempt, s, err, reference) }() // also after a panic
	s, err = h.completeLogin(context.WithoutCancel(r.Context()), v, l, answer)
	if err != nil {
		reference = h.recordFailure(v, flowBrowser, failureOf(err), err)
		return errors.Is(err, vipps.ErrCodeRefused)
	}
	h.endReplaced(r, v)
	h.recordLogin(v, flowBrowser, s, l.Started, time.Since(v.began))
	return false
}

// answerAttempt waits for the outcome of a login and tells the browser. A repeated callback does not replace a session that
// the login itself has not replaced: it is from a later login.
func (h *Handler) answerAttempt(w http.ResponseWriter, r *http.Request, v *visit, l *login.Login, attempt *login.Attempt, first bool) error {
	s, reference, err := attempt.Wait(r.Context())
	switch {
	case r.Context().Err() != nil && errors.Is(err, r.Context().Err()):
		return h.showFailure(w, r, v, failureOf(vipps.ErrNoAnswer), "", l.ReturnTo) // the client is gone
	case v.session != nil && errors.Is(err, errOtherTab),
		err == nil && !first && v.session != nil && !h.app.shared.revocations.Now.Has(v.session, v.msn):
		return redirect(w, http.StatusFound, v.URL(l.ReturnTo))
	case err != nil:
		return h.showFailure(w, r, v, failureOf(err), reference, l.ReturnTo)
	}
	return h.welcome(w, r, v, s, l.ReturnTo)
}

// welcome sets the session's cookies and redirects to the page that the login began at.
func (h *Handler) welcome(w http.ResponseWriter, r *http.Request, v *visit, s *session.Session, returnTo string) error {
	h.setSession(w, r, v, s)
	return redirect(w, http.StatusFound, v.URL(returnTo))
}

// callback is the authorization response of Vipps MobilePay (RFC 6749 section 4.1.2).
type callback struct {
	state, code, errorCode string
}

// fingerprint is the same for two callbacks with the same outcome.
func (c callback) fingerprint(v *visit) [sha256.Size]byte {
	return sha256.Sum256(seal.Context(v.Host, v.msn, c.state, c.code, c.errorCode))
}

// parseCallback reads the query. A repeated parameter is refused, since another parser might take the other value (RFC 6749
// section 3.1). Unknown parameters are ignored.
func parseCallback(query string) (callback, error) {
	values, ok := incoming.Parameters(query, "state", "code", "error")
	answer := callback{values["state"], values["code"], values["error"]}
	if !ok || answer.state == "" || (answer.code == "") == (answer.errorCode == "") {
		return callback{}, errBadCallback
	}
	return answer, nil
}

// findLogin returns the login that state belongs to. Nothing is sent to Vipps MobilePay before it is found. Where it cannot
// be completed here, the error says why, and the login still has the page that the user wanted.
func (h *Handler) findLogin(r *http.Request, v *visit, state string, now time.Time) (*login.Login, error) {
	told, ok := login.Open(v.keys.State, state, v.Host, v.msn)
	if !ok || now.Sub(told.Started) > login.ReturnsFor {
		return &login.Login{ReturnTo: "/"}, errNoLogin
	}
	if !told.Alive(now) {
		return told, errTooLate
	}
	// The cookie has the whole return path; the state may have been too short for it.
	if l, ok := login.InCookie(v.keys.Login, r, v.names.Login, told.ID, v.Host, v.msn, v.Secure(), now); ok {
		l.InCookie = true
		return l, nil
	}
	switch {
	case login.Used.Has(told.ID):
		return told, login.ErrSpent
	case !h.ReturnInAnyBrowser || !told.Carried():
		return told, errOtherBrowser
	}
	return told, nil
}

// completeLogin turns Vipps MobilePay's answer into a session, or into an error that says why not.
func (h *Handler) completeLogin(ctx context.Context, v *visit, l *login.Login, answer callback) (*session.Session, error) {
	if answer.errorCode != "" {
		return nil, authorizationError(answer.errorCode)
	}
	if h.ReturnInAnyBrowser {
		if err := login.CheckRedeemed(ctx, h.app.storage, l.ID); err != nil {
			return nil, err
		}
	}
	client := h.app.shared.client
	tokens, err := client.ExchangeCode(ctx, v.unit, v.msn, answer.code, h.redirectURI(v), l.Verifier)
	if err != nil {
		return nil, err
	}
	asked := l.Asked
	asked.Confirmed = asked.Confirmed || h.RequireAppConfirmation // checkACR
	claims, err := h.checkedClaims(ctx, v, tokens, idtoken.Expectation{Nonce: l.Nonce, AppAuth: asked.Confirmed})
	if err != nil {
		return nil, err
	}
	if h.ReturnInAnyBrowser {
		if err := login.Redeem(ctx, h.app.storage, l.ID, l.Started); err != nil {
			return nil, err
		}
	}
	return h.newSession(v, claims, asked, l.Started), nil
}

// headerBytes returns the size of all identity headers on the wire, the assertion's included. New headers for the site must
// be added here.
func (h *Handler) headerBytes(v *visit, claims []userinfo.Claim) int {
	bytes := h.identity.Size(claims, v.msn)
	if h.signer != nil {
		bytes += len(h.Assertion.Header) + len(": \r\n") + h.signer.Size(assertionSubject(v, "", claims))
	}
	return bytes
}

// fitHeaders returns the claims whose headers fit in header_limit: the largest are left out, and named in the log. sub, and
// the MSN, always stay. Servers take a limited size of headers in all, Tomcat 8 KiB, and answer 400 to what is over it: a
// user with a long address would be locked out for as long as they are logged in.
func (h *Handler) fitHeaders(v *visit, claims []userinfo.Claim) []userinfo.Claim {
	fitting, left := identity.Fit(claims, h.headerLimit, func(claims []userinfo.Claim) int { return h.headerBytes(v, claims) })
	if len(left) > 0 {
		h.logger.Warn("claims left out: their headers do not fit in header_limit", zap.String("msn", v.msn), zap.Strings("claims", left))
	}
	return fitting
}

// servePhoneCallback serves GET /vipps/phone/callback: the user's phone opens it, in a browser without any of our cookies. The
// ID token names the login, so the code is enough. Images and frames are refused: a page of another site could change who is
// logged in without the user noticing.
func (h *Handler) servePhoneCallback(w http.ResponseWriter, r *http.Request, v *visit) error {
	query, ok := incoming.Parameters(r.URL.RawQuery, "code", "error")
	code, errorCode := query["code"], query["error"]
	switch {
	case !ok || incoming.IsPartOfPage(r) || (code == "") == (errorCode == ""):
		return h.fail(w, r, v, errBadCallback, "/")
	case errorCode != "":
		return h.fail(w, r, v, authorizationError(errorCode), "/")
	}
	refused := false
	wait, leave := h.app.shared.refusedCodes.Enter(r.Context(), v.client, false)
	if wait > 0 {
		return h.refuseCode(w, r, v, wait, "/")
	}
	defer func() { leave(refused) }()
	attempt, first := phoneCodes.Begin(v.Host, v.msn, code)
	if first {
		err := h.attemptInBrowser(w, r, v, code, attempt)
		refused = errors.Is(attempt.Err, vipps.ErrCodeRefused)
		return err
	}
	return h.repeatInBrowser(w, r, v, attempt)
}

// attemptInBrowser completes a login in the phone's browser, and records the outcome.
func (h *Handler) attemptInBrowser(w http.ResponseWriter, r *http.Request, v *visit, code string, attempt *phone.CodeAttempt) error {
	attempt.Err = errInternal
	defer phoneCodes.Finish(attempt) // also after a panic
	l, claims, err := h.desk(v).Complete(context.WithoutCancel(r.Context()), code)
	switch {
	case errors.Is(err, phone.ErrUnknown):
		err = errNoLogin
	case errors.Is(err, idtoken.ErrInvalid), errors.Is(err, idtoken.ErrSubMismatch):
		err = errors.Join(errForeignCode, err)
	}
	attempt.Err = err
	switch {
	case (errors.Is(err, errNoLogin) || errors.Is(err, vipps.ErrCodeRefused)) && v.session != nil:
		return redirect(w, http.StatusFound, v.URL("/")) // replayed: the back button
	case err != nil:
		attempt.Reference = h.recordFailure(v, phone.FlowBrowser, failureOf(err), err)
		return h.showFailure(w, r, v, failureOf(err), attempt.Reference, "/")
	}
	attempt.ReturnTo = l.ReturnTo
	asked := login.Asked{Scopes: session.ScopesIn(l.Scope), Confirmed: true} // like every login from a phone number
	s := h.newSession(v, claims, asked, time.Now())
	h.recordLogin(v, l.Flow(), s, l.Started, time.Since(v.began))
	h.endReplaced(r, v)
	return h.welcome(w, r, v, s, l.ReturnTo)
}

// repeatInBrowser answers a repeated callback like the first, but without a session: it may come from another browser. The
// same browser has the session already.
func (h *Handler) repeatInBrowser(w http.ResponseWriter, r *http.Request, v *visit, attempt *phone.CodeAttempt) error {
	select {
	case <-attempt.Done:
	case <-r.Context().Done():
		return h.fail(w, r, v, vipps.ErrNoAnswer, "/")
	}
	switch {
	case attempt.Err == nil:
		return redirect(w, http.StatusFound, v.URL(attempt.ReturnTo))
	case v.session != nil:
		return redirect(w, http.StatusFound, v.URL("/"))
	}
	return h.showFailure(w, r, v, failureOf(attempt.Err), attempt.Reference, "/")
}

// errForeignCode says that the ID token of a code names no login that was started here.
var errForeignCode = errors.New("the code belongs to no login that was started here")

// phoneCodes outlives a reload, which changes nothing about a code.
var phoneCodes = phone.NewCodes()
