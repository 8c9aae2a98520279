package vippslogin

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// servePhoneCallback is GET /vipps/phone/callback: the person's phone opens it, in a browser that knows
// nothing of us. What makes it theirs is the ID token, which names the login. No image or frame opens it: another
// site's page would change who is logged in behind the person's back.
func (h *Handler) servePhoneCallback(w http.ResponseWriter, r *http.Request, v *visit) error {
	query, ok := incoming.Parameters(r.URL.RawQuery, "code", "error")
	code, errorCode := query["code"], query["error"]
	switch {
	case !ok || incoming.IsPartOfPage(r) || (code == "") == (errorCode == ""):
		return h.fail(w, r, v, errBadCallback, "/")
	case errorCode != "":
		return h.fail(w, r, v, authorizationError(errorCode), "/")
	}
	if h.app.shared.refusedCodes.wait(v.client, v.began) > 0 {
		return h.refuseCode(w, r, v, "/")
	}
	attempt, first := phoneCodes.begin(v, code)
	if first {
		return h.attemptInBrowser(w, r, v, code, attempt)
	}
	return h.repeatInBrowser(w, r, v, attempt)
}

// attemptInBrowser completes a login in the phone's browser, and writes down what came of it.
func (h *Handler) attemptInBrowser(w http.ResponseWriter, r *http.Request, v *visit, code string, attempt *codeAttempt) error {
	attempt.err = errInternal
	defer phoneCodes.finish(attempt) // also where something panics
	l, claims, err := h.desk(v).Complete(context.WithoutCancel(r.Context()), code)
	switch {
	case errors.Is(err, phone.ErrUnknown):
		err = errNoLogin
	case errors.Is(err, idtoken.ErrInvalid), errors.Is(err, idtoken.ErrSubMismatch):
		err = errors.Join(errForeignCode, err)
	}
	attempt.err = err
	if errors.Is(err, vipps.ErrCodeRefused) {
		h.app.shared.refusedCodes.add(v.client, time.Now())
	}
	switch {
	case (errors.Is(err, errNoLogin) || errors.Is(err, vipps.ErrCodeRefused)) && v.session != nil:
		return redirect(w, http.StatusFound, v.URL("/")) // replayed: the back button
	case err != nil:
		attempt.reference = h.recordFailure(v, phone.FlowBrowser, failureOf(err), err)
		return h.showFailure(w, r, v, failureOf(err), attempt.reference, "/")
	}
	attempt.returnTo = l.ReturnTo
	asked := login.Asked{Scopes: session.ScopesOf(strings.Fields(l.Scope)...), Confirmed: true} // as every login from a phone number
	s := h.newSession(v, claims, asked, time.Now())
	h.recordLogin(v, l.Flow(), s, l.Started, time.Since(v.began))
	h.endReplaced(r, v)
	h.setSession(w, r, v, s)
	return redirect(w, http.StatusFound, v.URL(l.ReturnTo))
}

// repeatInBrowser answers a callback that is sent twice as the first time, but with no session: nothing tells that the
// browser is the same. If it is, it has the session already.
func (h *Handler) repeatInBrowser(w http.ResponseWriter, r *http.Request, v *visit, attempt *codeAttempt) error {
	select {
	case <-attempt.done:
	case <-r.Context().Done():
		return h.fail(w, r, v, vipps.ErrNoAnswer, "/")
	}
	switch {
	case attempt.err == nil:
		return redirect(w, http.StatusFound, v.URL(attempt.returnTo))
	case v.session != nil:
		return redirect(w, http.StatusFound, v.URL("/"))
	}
	return h.showFailure(w, r, v, failureOf(attempt.err), attempt.reference, "/")
}

// errForeignCode is a code whose ID token is not for a login of ours.
var errForeignCode = errors.New("the code belongs to no login that was started here")

// openCodes knows the authorization codes of phone logins that are being exchanged. Phones and browsers send a callback
// twice at once; the code is good for one exchange.
type openCodes struct {
	mu       sync.Mutex
	attempts map[[sha256.Size]byte]*codeAttempt
}

// phoneCodes is for the whole process: a reload changes nothing about a code.
var phoneCodes = &openCodes{attempts: make(map[[sha256.Size]byte]*codeAttempt)}

// codeAttempt is the one exchange of a code, and what came of it: where the user went, or an error and the reference
// to its line in the log. It holds nothing about the user.
type codeAttempt struct {
	key  [sha256.Size]byte
	done chan struct{} // closed when the rest is known

	returnTo  string
	err       error
	reference string
}

// begin returns the attempt that is under way for a code at a merchant's host, or a new one and true.
func (c *openCodes) begin(v *visit, code string) (attempt *codeAttempt, first bool) {
	key := sha256.Sum256(seal.Context(v.Host, v.msn, code))
	c.mu.Lock()
	defer c.mu.Unlock()
	if attempt = c.attempts[key]; attempt != nil {
		return attempt, false
	}
	attempt = &codeAttempt{key: key, done: make(chan struct{})}
	c.attempts[key] = attempt
	return attempt, true
}

// finish tells those who wait what came of the attempt. Who comes later gets what a code that was used before gets: it
// could be anybody.
func (c *openCodes) finish(attempt *codeAttempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.attempts, attempt.key)
	close(attempt.done)
}
