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

	"github.com/caddy-vipps/vippslogin/internal/apart"
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

// phoneAPI guards an endpoint for tills. What comes before a wait runs apart, so that the goroutine of the request that waits
// has a stack of 8 KiB rather than 16 (bench/phone).
func (h *Handler) phoneAPI(serve endpoint, methods ...string) endpoint {
	return func(w http.ResponseWriter, r *http.Request, v *visit) (err error) {
		var refused bool
		apart.Run(func() { refused, err = h.refusePhoneAPI(w, r, v, methods) })
		if refused {
			return err
		}
		return serve(w, r, v)
	}
}

// refusePhoneAPI answers a request that is not a till's. The API key is checked first.
func (h *Handler) refusePhoneAPI(w http.ResponseWriter, r *http.Request, v *visit, methods []string) (refused bool, err error) {
	if !h.validAPIKey(r) {
		return true, refuseAPIKey(w)
	}
	if incoming.IsCrossOrigin(r, v.Origin) {
		return true, writeAPI(w, http.StatusForbidden, apiError{"forbidden", "Vipps MobilePay does not allow this login on web pages: call it from the merchant's own system"})
	}
	if !slices.Contains(methods, r.Method) {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		return true, writeAPI(w, http.StatusMethodNotAllowed, apiError{"method_not_allowed", "use " + strings.Join(methods, " or ")})
	}
	return false, nil
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
	if r.Method == http.MethodDelete {
		return h.removePhoneLogin(w, r, v)
	}
	l, err := h.waitForPhoneLogin(r, v)
	return h.writePhoneLogin(w, v, l, err)
}

// waitForPhoneLogin returns the login of a request when it has ended, or when the wait that the request asks for is over.
func (h *Handler) waitForPhoneLogin(r *http.Request, v *visit) (*phone.Login, error) {
	id, err := h.phoneLoginID(r)
	if err != nil {
		return nil, err
	}
	wait, err := waitParameter(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	return h.desk(v).Wait(r.Context(), id, wait)
}

func (h *Handler) removePhoneLogin(w http.ResponseWriter, r *http.Request, v *visit) error {
	id, err := h.phoneLoginID(r)
	if err == nil {
		err = h.desk(v).Remove(r.Context(), id, v.msn)
	}
	if err != nil {
		return h.failPhone(w, v, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// phoneLoginID returns the id in the path of a request.
func (h *Handler) phoneLoginID(r *http.Request) (string, error) {
	id := strings.TrimPrefix(r.URL.EscapedPath(), h.paths.phone+"/")
	if !login.IsID(id) {
		return "", phone.ErrUnknown
	}
	return id, nil
}

func (h *Handler) writePhoneLogin(w http.ResponseWriter, v *visit, l *phone.Login, err error) error {
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
