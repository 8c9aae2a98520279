package vippslogin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
)

// servePhoneCallback is GET /vipps/phone/callback: the person's phone opens it, in a browser that knows
// nothing of us. What makes it theirs is the ID token, which names the login. No image or frame opens it: another
// site's page would change who is logged in behind the person's back.
func (h *Handler) servePhoneCallback(w http.ResponseWriter, r *http.Request, v *visit) error {
	query, ok := parameters(r.URL.RawQuery, "code", "error")
	code, errorCode := query["code"], query["error"]
	switch {
	case !ok || isPartOfPage(r) || (code == "") == (errorCode == ""):
		return h.fail(w, r, v, errBadCallback, "/")
	case errorCode != "":
		return h.fail(w, r, v, authorizationError(errorCode), "/")
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
	l, s, err := h.completeInBrowser(context.WithoutCancel(r.Context()), v, code)
	if errors.Is(err, errIDToken) || errors.Is(err, errSubMismatch) {
		err = errors.Join(errForeignCode, err)
	}
	attempt.err = err
	switch {
	case (errors.Is(err, errNoLogin) || errors.Is(err, errCodeRefused)) && v.session != nil:
		return redirect(w, http.StatusFound, v.url("/")) // replayed: the back button
	case err != nil:
		attempt.reference = h.recordFailure(v, flowPhoneBrowser, failureOf(err), err)
		return h.showFailure(w, r, v, failureOf(err), attempt.reference, "/")
	}
	attempt.returnTo = l.ReturnTo
	h.recordLogin(v, l.flow(), s, l.Started, time.Since(v.began))
	h.endReplaced(r, v)
	h.setSession(w, r, v, s)
	return redirect(w, http.StatusFound, v.url(l.ReturnTo))
}

// repeatInBrowser answers a callback that is sent twice as the first time, but with no session: nothing tells that the
// browser is the same. If it is, it has the session already.
func (h *Handler) repeatInBrowser(w http.ResponseWriter, r *http.Request, v *visit, attempt *codeAttempt) error {
	select {
	case <-attempt.done:
	case <-r.Context().Done():
		return h.fail(w, r, v, errNoAnswer, "/")
	}
	switch {
	case attempt.err == nil:
		return redirect(w, http.StatusFound, v.url(attempt.returnTo))
	case v.session != nil:
		return redirect(w, http.StatusFound, v.url("/"))
	}
	return h.showFailure(w, r, v, failureOf(attempt.err), attempt.reference, "/")
}

// errForeignCode is a code whose ID token is not for a login of ours.
var errForeignCode = errors.New("the code belongs to no login that was started here")

// completeInBrowser exchanges a code and completes the one login that its ID token names. A code of
// anything else leaves every login as it was.
func (h *Handler) completeInBrowser(ctx context.Context, v *visit, code string) (*phoneLogin, *session, error) {
	got, err := h.app.shared.client.redeemPhoneCode(ctx, v.unit, v.msn, code)
	if err != nil {
		return nil, nil, err
	}
	var l *phoneLogin
	claims, err := h.checkedClaims(ctx, v, got, expectation{phone: func(authReqID string) (string, error) {
		var err error
		if l, err = h.pendingInBrowser(ctx, v, authReqID); err != nil {
			return "", err
		}
		return l.Nonce, nil
	}})
	if err == nil {
		err = l.checkNumber(claims)
	}
	if err != nil {
		h.settle(ctx, v, l, got, err)
		return nil, nil, err
	}
	done, err := h.phones(v).update(ctx, l.ID, v.msn, lockTimeout, func(l *phoneLogin) (bool, error) {
		if l.at(time.Now()).Status != phonePending {
			return false, errNoLogin // another request was faster
		}
		l.complete(claims)
		return true, nil
	})
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	s := newSession(claims, now, h.lifetime)
	s.inApp = true // as every login from a phone number
	return done, s, nil
}

// settle writes down what a code that did not complete its login has changed about it. The code is spent: where
// the claims could not be read for a while, the till's next poll reads them with the tokens; where they are about
// somebody else, the login has failed.
func (h *Handler) settle(ctx context.Context, v *visit, l *phoneLogin, got tokens, failure error) {
	if l == nil {
		return
	}
	var change func(*phoneLogin)
	switch {
	case errors.Is(failure, errNoAnswer), errors.Is(failure, errBusy), errors.Is(failure, errBadAnswer):
		change = func(l *phoneLogin) { l.Tokens = &got }
	case errors.Is(failure, errOtherNumber), errors.Is(failure, errSubMismatch):
		change = func(l *phoneLogin) { l.end(phoneFailed, phoneFailureReason(failure), time.Now()) }
	default:
		return
	}
	_, err := h.phones(v).update(ctx, l.ID, v.msn, lockTimeout, func(l *phoneLogin) (bool, error) {
		pending := l.Status == phonePending
		if pending {
			change(l)
		}
		return pending, nil
	})
	if err != nil {
		h.logger.Error("phone login: what has become of it is lost", zap.String("msn", v.msn), zap.Error(err))
	}
}

// pendingInBrowser returns the login that authReqID names, if it was started here to end in the
// phone's browser and has not ended yet.
func (h *Handler) pendingInBrowser(ctx context.Context, v *visit, authReqID string) (*phoneLogin, error) {
	if authReqID == "" {
		return nil, errNoLogin
	}
	msn, id, err := h.phones(v).find(ctx, authReqID)
	if err != nil {
		return nil, noLogin(err)
	}
	if msn != v.msn {
		return nil, errNoLogin
	}
	l, err := h.phones(v).load(ctx, id, v.msn)
	if err != nil {
		return nil, noLogin(err)
	}
	if l = l.at(time.Now()); l.AuthReqID != authReqID || l.Finish != finishBrowser || l.Status != phonePending {
		return nil, errNoLogin
	}
	return l, nil
}

func noLogin(err error) error {
	if errors.Is(err, errUnknownPhoneLogin) {
		return errNoLogin
	}
	return err
}

// servePing takes the signed ping that a person has acted. It only lets the next poll come at once; what
// has happened, the poll finds out.
func (h *Handler) servePing(w http.ResponseWriter, r *http.Request, v *visit, body []byte) error {
	if !signedWebhook(r, h.signedHost(r, v), body, h.phoneConfig.webhookSecrets) {
		w.Header().Set("WWW-Authenticate", "HMAC-SHA256")
		return writeAPI(w, http.StatusUnauthorized, apiError{"unauthorized", "the signature is missing or wrong"})
	}
	var ping struct {
		AuthReqID string `json:"auth_req_id"`
	}
	if err := json.Unmarshal(body, &ping); err != nil {
		return writeAPI(w, http.StatusBadRequest, apiError{"invalid_request", "the body is not a JSON object"})
	}
	err := h.ping(r.Context(), v, ping.AuthReqID)
	if err != nil && !errors.Is(err, errUnknownPhoneLogin) {
		return h.failPhone(w, v, err)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// signedHost is the host that Vipps MobilePay has signed a ping for: that of the URL it was given.
func (h *Handler) signedHost(r *http.Request, v *visit) string {
	if h.origins.public != nil {
		return strings.TrimPrefix(v.url(""), v.scheme+"://")
	}
	return sentHost(r)
}

// ping makes a login due, of whichever merchant: a partner may have one webhook for several. A second
// ping for the same login changes nothing: Vipps MobilePay may send one for days.
func (h *Handler) ping(ctx context.Context, v *visit, authReqID string) error {
	msn, id, err := h.phones(v).find(ctx, authReqID)
	if err != nil {
		return err
	}
	_, err = h.phones(v).update(ctx, id, msn, lockTimeout, func(l *phoneLogin) (bool, error) {
		if l.Status != phonePending || l.Pinged {
			return false, nil
		}
		l.Pinged, l.NextPoll = true, time.Now()
		return true, nil
	})
	return err
}
