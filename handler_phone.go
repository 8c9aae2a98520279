package vippslogin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// newPhoneEndpoints are the endpoints that `phone` switches on.
func (h *Handler) newPhoneEndpoints(endpoints map[string]endpoint) {
	endpoints[h.paths.phone] = h.phoneAPI(h.servePhoneStart, http.MethodPost)
	endpoints[h.paths.phoneExists] = h.phoneAPI(h.servePhoneExists, http.MethodPost)
	endpoints[h.paths.phoneCallback] = only(h.servePhoneCallback, http.MethodGet)
	if len(h.phoneConfig.webhookSecrets) > 0 {
		endpoints[h.paths.webhook] = only(h.serveWebhook, http.MethodPost)
	}
}

// phoneAPI guards an endpoint for tills. The key comes before anything else is looked at.
func (h *Handler) phoneAPI(serve endpoint, methods ...string) endpoint {
	return func(w http.ResponseWriter, r *http.Request, v *visit) error {
		if !h.validAPIKey(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="phone login"`)
			return writeAPI(w, http.StatusUnauthorized, apiError{"unauthorized", "send Authorization: Bearer and an API key"})
		}
		if isCrossOrigin(r, v) {
			return writeAPI(w, http.StatusForbidden, apiError{"forbidden", "Vipps MobilePay does not allow this login on web pages: call it from the merchant's own system"})
		}
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			return writeAPI(w, http.StatusMethodNotAllowed, apiError{"method_not_allowed", "use " + strings.Join(methods, " or ")})
		}
		return serve(w, r, v)
	}
}

// isPhoneAPI reports whether a path is a till's: its errors are JSON.
func (h *Handler) isPhoneAPI(path string) bool {
	return h.Phone != nil && path != h.paths.phoneCallback && (path == h.paths.phone || path == h.paths.webhook || strings.HasPrefix(path, h.paths.phone+"/"))
}

// validAPIKey compares in constant time, and with every key, so that time tells nothing about any.
func (h *Handler) validAPIKey(r *http.Request) bool {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	given := sha256.Sum256([]byte(strings.TrimSpace(key)))
	valid := 0
	for _, known := range h.phoneConfig.apiKeys {
		valid |= subtle.ConstantTimeCompare(given[:], known[:])
	}
	return valid == 1
}

// isCrossOrigin reports whether a page of another origin made the browser send this.
func isCrossOrigin(r *http.Request, v *visit) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return true
	}
	from := r.Header.Get("Origin")
	return from != "" && from != v.url("")
}

// phones is where this merchant's logins are.
func (h *Handler) phones(v *visit) phoneStore {
	return phoneStore{storage: h.app.storage, shared: h.app.shared, keys: v.keys}
}

// phoneAnswer is what a till reads about a login.
type phoneAnswer struct {
	ID        string          `json:"id"`
	Status    phoneStatus     `json:"status"`
	ExpiresIn int             `json:"expires_in,omitempty"` // seconds, when started
	Interval  int             `json:"interval,omitempty"`   // seconds, when started
	MSN       string          `json:"msn,omitempty"`
	Userinfo  json.RawMessage `json:"userinfo,omitempty"`
	Error     string          `json:"error,omitempty"`
}

// servePhoneStart is POST /vipps/phone: it asks a person to confirm in the app.
func (h *Handler) servePhoneStart(w http.ResponseWriter, r *http.Request, v *visit) error {
	input, err := readPhoneInput(r)
	if err != nil {
		return h.failPhone(w, v, err)
	}
	request, msisdn, err := input.check(h.phoneScope(v))
	if err != nil {
		return h.failPhone(w, v, err)
	}
	if input.Finish == finishBrowser {
		request.redirectURI = v.url(h.paths.phoneCallback)
	}
	l, err := h.startPhone(r.Context(), v, input, request, msisdn)
	if err != nil {
		return h.failPhone(w, v, err)
	}
	w.Header().Set("Location", h.paths.phone+"/"+l.ID)
	return writeAPI(w, http.StatusAccepted, phoneAnswer{
		ID: l.ID, Status: l.Status, ExpiresIn: int(l.Expires.Sub(l.Started) / time.Second), Interval: int(l.Interval / time.Second),
	})
}

// phoneScope is what a phone login asks for where the till does not say.
func (h *Handler) phoneScope(v *visit) string {
	if len(h.Phone.Scopes) > 0 {
		return scopeParameter(h.Phone.Scopes)
	}
	return v.unit.scope
}

func (h *Handler) startPhone(ctx context.Context, v *visit, input phoneInput, request phoneRequest, msisdn string) (*phoneLogin, error) {
	now := time.Now()
	if err := h.phones(v).ask(ctx, request.loginHint, now); err != nil {
		return nil, err
	}
	request.nonce = base64.RawURLEncoding.EncodeToString(randomBytes(nonceBytes))
	// From here on a phone may ring: the login is kept even when the till has hung up.
	ctx = context.WithoutCancel(ctx)
	started, err := h.app.shared.client.startPhone(ctx, v.unit, v.msn, request)
	if err != nil {
		return nil, err
	}
	now = time.Now()
	l := &phoneLogin{
		ID:     base64.RawURLEncoding.EncodeToString(randomBytes(idBytes)),
		Status: phonePending, AuthReqID: started.authReqID, Nonce: request.nonce, MSISDN: msisdn,
		Started: now, Expires: now.Add(started.expiresIn), Forgotten: now.Add(started.expiresIn + lingers),
		Interval: started.interval, NextPoll: now.Add(started.interval),
		Finish: input.Finish, ReturnTo: input.ReturnTo,
	}
	if err := h.phones(v).create(ctx, l, v.msn); err != nil {
		return nil, err
	}
	h.logger.Debug("phone login started", zap.String("msn", v.msn), zap.String("finish", l.Finish))
	return l, nil
}

// servePhoneLogin is GET and DELETE /vipps/phone/{id}.
func (h *Handler) servePhoneLogin(w http.ResponseWriter, r *http.Request, v *visit) error {
	id := strings.TrimPrefix(r.URL.EscapedPath(), h.paths.phone+"/")
	if !isLoginID(id) {
		return h.failPhone(w, v, errUnknownPhoneLogin)
	}
	if r.Method == http.MethodDelete {
		if err := h.phones(v).remove(r.Context(), id, v.msn); err != nil {
			return h.failPhone(w, v, err)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	wait, err := waitParameter(r.URL.RawQuery)
	if err != nil {
		return h.failPhone(w, v, err)
	}
	l, err := h.waitFor(r.Context(), v, id, wait)
	if err != nil {
		return h.failPhone(w, v, err)
	}
	return writeAPI(w, http.StatusOK, phoneAnswer{ID: l.ID, Status: l.Status, MSN: v.msn, Userinfo: l.Userinfo, Error: l.Error})
}

// maxWait bounds how long an answer is held, in seconds.
const maxWait = 60

func waitParameter(query string) (time.Duration, error) {
	values, err := url.ParseQuery(query)
	if err != nil || len(values["wait"]) > 1 {
		return 0, badInput("the query is not well formed")
	}
	if !values.Has("wait") {
		return 0, nil
	}
	seconds, err := strconv.Atoi(values.Get("wait"))
	if err != nil || seconds < 0 || seconds > maxWait {
		return 0, badInput("wait must be 0 to %d seconds", maxWait)
	}
	return time.Duration(seconds) * time.Second, nil
}

// servePhoneExists is POST /vipps/phone/exists.
func (h *Handler) servePhoneExists(w http.ResponseWriter, r *http.Request, v *visit) error {
	input, err := readPhoneInput(r)
	if err == nil && input != (phoneInput{PhoneNumber: input.PhoneNumber}) {
		err = badInput("send phone_number alone")
	}
	var msisdn string
	if err == nil {
		msisdn, err = parseMSISDN(input.PhoneNumber)
	}
	if err != nil {
		return h.failPhone(w, v, err)
	}
	exists, err := h.app.shared.client.phoneExists(r.Context(), v.unit, v.msn, msisdn)
	if err != nil {
		return h.failPhone(w, v, err)
	}
	return writeAPI(w, http.StatusOK, struct {
		Exists bool `json:"exists"`
	}{exists})
}

// servePhoneCallback is GET /vipps/phone/callback: the person's phone opens it, in a browser that knows
// nothing of us. What makes it theirs is the ID token, which names the login.
func (h *Handler) servePhoneCallback(w http.ResponseWriter, r *http.Request, v *visit) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query["code"]) > 1 || len(query["error"]) > 1 || query.Has("code") == query.Has("error") {
		return h.fail(w, r, v, errBadCallback, "/")
	}
	if query.Has("error") {
		return h.fail(w, r, v, authorizationError(query.Get("error")), "/")
	}
	if query.Get("code") == "" {
		return h.fail(w, r, v, errBadCallback, "/")
	}
	l, s, err := h.completeInBrowser(context.WithoutCancel(r.Context()), v, query.Get("code"))
	switch {
	case (errors.Is(err, errNoLogin) || errors.Is(err, errCodeRefused)) && v.session != nil:
		return redirect(w, http.StatusFound, v.url("/")) // replayed: the back button
	case errors.Is(err, errIDToken), errors.Is(err, errSubMismatch):
		return h.fail(w, r, v, errors.Join(errForeignCode, err), "/")
	case err != nil:
		return h.fail(w, r, v, err, "/")
	}
	h.setSession(w, r, v, s)
	return redirect(w, http.StatusFound, v.url(l.ReturnTo))
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
		h.keepTokens(ctx, v, l, got, err)
		return nil, nil, err
	}
	done, err := h.phones(v).update(ctx, l.ID, v.msn, lockTimeout, func(_ context.Context, l *phoneLogin) (bool, error) {
		if l.at(time.Now()).Status != phonePending {
			return false, errNoLogin // another request was faster
		}
		h.completePhone(v, l, claims)
		return true, nil
	})
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	return done, &session{issued: now, seen: now, claims: claims}, nil
}

// keepTokens lets the till's next poll read the claims when that failed here for a while: the code is
// spent.
func (h *Handler) keepTokens(ctx context.Context, v *visit, l *phoneLogin, got tokens, err error) {
	if l == nil || !errors.Is(err, errNoAnswer) && !errors.Is(err, errBusy) && !errors.Is(err, errBadAnswer) {
		return
	}
	_, err = h.phones(v).update(ctx, l.ID, v.msn, lockTimeout, func(_ context.Context, l *phoneLogin) (bool, error) {
		l.Tokens = &got
		return l.Status == phonePending, nil
	})
	if err != nil {
		h.logger.Error("phone login: tokens lost", zap.String("msn", v.msn), zap.Error(err))
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

// serveWebhook is POST /vipps/webhook: the signed ping that a person has acted. It only lets the next
// poll come at once; what has happened, the poll finds out.
func (h *Handler) serveWebhook(w http.ResponseWriter, r *http.Request, v *visit) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxWebhook+1))
	if err != nil || len(body) > maxWebhook {
		return writeAPI(w, http.StatusRequestEntityTooLarge, apiError{"too_large", "the body is too large, or broke off"})
	}
	if !signedWebhook(r, sentHost(r), body, h.phoneConfig.webhookSecrets) {
		return writeAPI(w, http.StatusUnauthorized, apiError{"unauthorized", "the signature is missing or wrong"})
	}
	var ping struct {
		AuthReqID string `json:"auth_req_id"`
	}
	if err := json.Unmarshal(body, &ping); err != nil {
		return writeAPI(w, http.StatusBadRequest, apiError{"invalid_request", "the body is not a JSON object"})
	}
	err = h.ping(r.Context(), v, ping.AuthReqID)
	if err != nil && !errors.Is(err, errUnknownPhoneLogin) {
		return h.failPhone(w, v, err)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// ping makes a login due, of whichever merchant: a partner may have one webhook for several. A second
// ping for the same login changes nothing: Vipps MobilePay may send one for days.
func (h *Handler) ping(ctx context.Context, v *visit, authReqID string) error {
	msn, id, err := h.phones(v).find(ctx, authReqID)
	if err != nil {
		return err
	}
	_, err = h.phones(v).update(ctx, id, msn, lockTimeout, func(_ context.Context, l *phoneLogin) (bool, error) {
		if l.Status != phonePending || l.Pinged {
			return false, nil
		}
		l.Pinged, l.NextPoll = true, time.Now()
		return true, nil
	})
	return err
}

// apiError is an error of the phone API.
type apiError struct {
	Error  string `json:"error"`
	Detail string `json:"detail,omitempty"`
}

func writeAPI(w http.ResponseWriter, status int, body any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err = w.Write(append(encoded, '\n'))
	return err
}

// failPhone answers a till whose request did not succeed, and logs what an operator must see.
func (h *Handler) failPhone(w http.ResponseWriter, v *visit, err error) error {
	var input inputError
	var often askedTooOften
	var refused statusError
	switch {
	case errors.As(err, &input):
		return writeAPI(w, input.status, apiError{"invalid_request", input.text})
	case errors.Is(err, errUnknownPhoneLogin):
		return writeAPI(w, http.StatusNotFound, apiError{"not_found", "there is no such login, or it is over"})
	case errors.Is(err, errInvalidUser):
		return writeAPI(w, http.StatusUnprocessableEntity, apiError{"invalid_user", "there is no account that can log in with this number"})
	case errors.Is(err, errOldApp):
		return writeAPI(w, http.StatusUnprocessableEntity, apiError{"old_app", "the person's app must be updated first"})
	case errors.As(err, &often):
		return tooManyRequests(w, often.wait, "this person was asked 5 times in 10 minutes")
	case errors.As(err, &refused) && refused.status == http.StatusTooManyRequests:
		return tooManyRequests(w, refused.retryAfter, "Vipps MobilePay asks to come back later")
	}
	f := failureOf(err)
	if c := h.logger.Check(f.level, "phone login failed"); c != nil {
		c.Write(zap.String("reason", f.reason), zap.Int("status", f.status), zap.String("msn", v.msn), zap.Error(err))
	}
	return writeAPI(w, f.status, apiError{f.reason, f.is.Error()})
}

func tooManyRequests(w http.ResponseWriter, wait time.Duration, detail string) error {
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
	return writeAPI(w, http.StatusTooManyRequests, apiError{"too_many_requests", detail})
}
