package vippslogin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// phoneAnswer is the state of a login, as a till gets it.
type phoneAnswer struct {
	ID        string          `json:"id"`
	Status    phone.Status    `json:"status"`
	ExpiresIn int             `json:"expires_in,omitempty"` // seconds, when started
	Interval  int             `json:"interval,omitempty"`   // seconds, when started
	MSN       string          `json:"msn,omitempty"`
	Userinfo  json.RawMessage `json:"userinfo,omitempty"`
	Error     string          `json:"error,omitempty"`
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

// failPhone answers a request that failed, and logs what an operator must see.
func (h *Handler) failPhone(w http.ResponseWriter, v *visit, err error) error {
	var input inputError
	var often phone.AskedTooOften
	var refused vipps.StatusError
	if theirs, ok := refusalOf(err); ok {
		return h.refusePhone(w, v, theirs)
	}
	switch {
	case errors.As(err, &input):
		return writeAPI(w, input.status, apiError{"invalid_request", input.text})
	case errors.Is(err, phone.ErrUnknown):
		return writeAPI(w, http.StatusNotFound, apiError{"not_found", "there is no such login, or it is over"})
	case errors.As(err, &often):
		return tooManyRequests(w, often.Wait, "this person was asked 5 times in 10 minutes")
	case errors.As(err, &refused) && refused.Status == http.StatusTooManyRequests:
		return tooManyRequests(w, refused.RetryAfter, "Vipps MobilePay asks to come back later")
	}
	f := failureOf(err)
	counted.failed.WithLabelValues(phone.Flow, f.reason, h.app.merchantLabel(v)).Inc()
	if c := h.logger.Check(f.level, "phone request failed"); c != nil && h.app.clientLogs.allow(v.client) {
		c.Write(zap.String("reason", f.reason), zap.Int("status", f.status), zap.String("msn", v.msn), zap.String("host", v.Host), zap.Error(err))
	}
	f.setRetryAfter(w)
	setRetryAfter(w, refused.RetryAfter)
	return writeAPI(w, f.status, apiError{f.reason, f.is.Error()})
}

// phoneRefusals are refusals of Vipps MobilePay that the caller or the user can mend, with one fixed word each.
var phoneRefusals = []struct {
	is    error
	error apiError
}{
	{vipps.ErrInvalidUser, apiError{"invalid_user", "there is no account that can log in with this number"}},
	{vipps.ErrOldApp, apiError{"old_app", "the person's app must be updated first"}},
	{vipps.ErrInvalidCountry, apiError{"invalid_country", "Vipps MobilePay does not serve numbers of this country"}},
	{vipps.ErrInvalidScope, apiError{"invalid_scope", "Vipps MobilePay does not know one of the scopes"}},
	{vipps.ErrInvalidMessage, apiError{"invalid_binding_message", "Vipps MobilePay does not take this binding_message"}},
	{vipps.ErrExpiredToken, apiError{"expired_customer_token", "the customer_token has expired: have it scanned again"}},
}

func refusalOf(err error) (apiError, bool) {
	for _, refusal := range phoneRefusals {
		if errors.Is(err, refusal.is) {
			return refusal.error, true
		}
	}
	return apiError{}, false
}

// refusePhone answers a refusal that the caller or the user can mend. It is no reason for an alert.
func (h *Handler) refusePhone(w http.ResponseWriter, v *visit, refusal apiError) error {
	if c := h.logger.Check(zap.InfoLevel, "phone request refused"); c != nil && h.app.clientLogs.allow(v.client) {
		c.Write(zap.String("reason", refusal.Error), zap.Int("status", http.StatusUnprocessableEntity), zap.String("msn", v.msn), zap.String("host", v.Host))
	}
	return writeAPI(w, http.StatusUnprocessableEntity, refusal)
}

func tooManyRequests(w http.ResponseWriter, wait time.Duration, detail string) error {
	setRetryAfter(w, wait)
	return writeAPI(w, http.StatusTooManyRequests, apiError{"too_many_requests", detail})
}

// setRetryAfter sets Retry-After, in seconds, where the wait is known.
func setRetryAfter(w http.ResponseWriter, wait time.Duration) {
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
}
