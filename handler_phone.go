package vippslogin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// newPhoneEndpoints returns the endpoints of the subdirective phone.
func (h *Handler) newPhoneEndpoints(endpoints map[string]endpoint) {
	endpoints[h.paths.phone] = h.phoneAPI(h.servePhoneStart, http.MethodPost)
	endpoints[h.paths.phoneExists] = h.phoneAPI(h.servePhoneExists, http.MethodPost)
	endpoints[h.paths.phoneCallback] = only(h.servePhoneCallback, http.MethodGet)
}

// phoneAPI guards an endpoint for tills. The API key is checked first.
func (h *Handler) phoneAPI(serve endpoint, methods ...string) endpoint {
	return func(w http.ResponseWriter, r *http.Request, v *visit) error {
		if !h.validAPIKey(r) {
			return refuseAPIKey(w)
		}
		if incoming.IsCrossOrigin(r, v.Origin) {
			return writeAPI(w, http.StatusForbidden, apiError{"forbidden", "Vipps MobilePay does not allow this login on web pages: call it from the merchant's own system"})
		}
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			return writeAPI(w, http.StatusMethodNotAllowed, apiError{"method_not_allowed", "use " + strings.Join(methods, " or ")})
		}
		return serve(w, r, v)
	}
}

func refuseAPIKey(w http.ResponseWriter) error {
	w.Header().Set("WWW-Authenticate", `Bearer realm="phone login"`)
	return writeAPI(w, http.StatusUnauthorized, apiError{"unauthorized", "send Authorization: Bearer and an API key"})
}

// isPhoneAPI reports whether a path is a till's: its errors are JSON.
func (h *Handler) isPhoneAPI(path string) bool {
	ours := path == h.paths.webhook || strings.HasPrefix(path, h.paths.phone)
	return ours && path != h.paths.phoneCallback && h.endpoint(path) != nil
}

// validAPIKey reports whether the request has one of the API keys.
func (h *Handler) validAPIKey(r *http.Request) bool {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	return matchesAny(strings.TrimSpace(key), h.phoneConfig.apiKeys)
}

// matchesAny reports whether a key has one of these hashes. It compares in constant time, and with all of them, so that
// timing reveals nothing.
func matchesAny(key string, hashes [][sha256.Size]byte) bool {
	given := sha256.Sum256([]byte(key))
	valid := 0
	for _, known := range hashes {
		valid |= subtle.ConstantTimeCompare(given[:], known[:])
	}
	return valid == 1
}

// desk returns the desk for the phone logins of this merchant.
func (h *Handler) desk(v *visit) *phone.Desk {
	return &phone.Desk{
		Store:  phone.Store{Shared: h.app.storage, Memory: h.app.shared.phones, Keys: v.keys},
		Client: h.app.shared.client, Unit: v.unit, MSN: v.msn,
		Check: func(ctx context.Context, got vipps.Tokens, want idtoken.Expectation) ([]userinfo.Claim, error) {
			return h.checkedClaims(ctx, v, got, want)
		},
		Outcomes: phoneOutcome{h, v}, AcceptMissingMSN: h.Phone != nil && h.Phone.AcceptMissingMSN || v.unit.Audience != "", Logger: h.logger, Stopping: h.stopping,
	}
}

// servePhoneStart serves POST /vipps/phone: it asks a user to confirm in the app.
func (h *Handler) servePhoneStart(w http.ResponseWriter, r *http.Request, v *visit) error {
	input, err := readPhoneInput(r)
	if err != nil {
		return h.failPhone(w, v, err)
	}
	request, msisdn, err := input.check(h.phoneScope(v))
	if err != nil {
		return h.failPhone(w, v, err)
	}
	if msisdn != "" && !phone.IsServed(msisdn, h.Phone.Countries) {
		h.countPhoneFailure(v, vipps.ErrInvalidCountry)
		return h.failPhone(w, v, vipps.ErrInvalidCountry)
	}
	if input.Finish == phone.FinishBrowser {
		request.RedirectURI = v.URL(h.paths.phoneCallback)
	}
	l, err := h.desk(v).Start(r.Context(), request, msisdn, input.Finish, input.ReturnTo)
	if err != nil {
		h.countPhoneFailure(v, err)
		return h.failPhone(w, v, err)
	}
	w.Header().Set("Location", h.paths.phone+"/"+l.ID)
	return writeAPI(w, http.StatusAccepted, phoneAnswer{
		ID: l.ID, Status: l.Status, ExpiresIn: int(l.Expires.Sub(l.Started) / time.Second), Interval: int(l.Interval / time.Second),
	})
}

// phoneScope returns the scopes of a phone login where the till names none.
func (h *Handler) phoneScope(v *visit) string {
	if len(h.Phone.Scopes) > 0 {
		return scopeParameter(h.Phone.Scopes)
	}
	return v.unit.Scope
}

// servePhoneLogin serves GET and DELETE /vipps/phone/{id}.
func (h *Handler) servePhoneLogin(w http.ResponseWriter, r *http.Request, v *visit) error {
	id := strings.TrimPrefix(r.URL.EscapedPath(), h.paths.phone+"/")
	if !login.IsID(id) {
		return h.failPhone(w, v, phone.ErrUnknown)
	}
	if r.Method == http.MethodDelete {
		if err := h.desk(v).Remove(r.Context(), id, v.msn); err != nil {
			return h.failPhone(w, v, err)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	wait, err := waitParameter(r.URL.RawQuery)
	if err != nil {
		return h.failPhone(w, v, err)
	}
	l, err := h.desk(v).Wait(r.Context(), id, wait)
	if err != nil {
		return h.failPhone(w, v, err)
	}
	return writeAPI(w, http.StatusOK, phoneAnswer{ID: l.ID, Status: l.Status, MSN: v.msn, Userinfo: json.RawMessage(l.Userinfo), Error: l.Error})
}

// maxWait bounds how long an answer is held, in seconds.
const maxWait = 60

func waitParameter(query string) (time.Duration, error) {
	values, ok := incoming.Parameters(query, "wait")
	if !ok {
		return 0, badInput("wait cannot be read, or stands twice")
	}
	wait, ok := values["wait"]
	if !ok {
		return 0, nil
	}
	seconds, err := strconv.Atoi(wait)
	if err != nil || seconds < 0 || seconds > maxWait {
		return 0, badInput("wait must be 0 to %d seconds", maxWait)
	}
	return time.Duration(seconds) * time.Second, nil
}

// servePhoneExists serves POST /vipps/phone/exists.
func (h *Handler) servePhoneExists(w http.ResponseWriter, r *http.Request, v *visit) error {
	input, err := readPhoneInput(r)
	if err == nil && input != (phoneInput{PhoneNumber: input.PhoneNumber}) {
		err = badInput("send phone_number alone")
	}
	var msisdn string
	if err == nil {
		_, msisdn, err = input.loginHint()
	}
	if err != nil {
		return h.failPhone(w, v, err)
	}
	if !phone.IsServed(msisdn, h.Phone.Countries) {
		return h.failPhone(w, v, vipps.ErrInvalidCountry)
	}
	exists, err := h.app.shared.client.PhoneExists(r.Context(), v.unit, v.msn, msisdn)
	if err != nil && !errors.Is(err, vipps.ErrInvalidUser) { // a user who cannot log in does not exist
		return h.failPhone(w, v, err)
	}
	return writeAPI(w, http.StatusOK, struct {
		Exists bool `json:"exists"`
	}{exists})
}
