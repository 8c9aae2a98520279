package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// oauthError is an error answer of an endpoint that programs call (RFC 6749,
// section 5.2; RFC 6750, section 3).
type oauthError struct {
	status      int
	code        string
	description string
	// challenge is the WWW-Authenticate header, required with a 401.
	challenge string
	// retryAfter is the Retry-After header of a 429.
	retryAfter time.Duration
	// errorCode is the error_code of the phone flow's own refusals, beside a
	// general error.
	errorCode string
}

// badRequest is 400 with a code of RFC 6749.
func badRequest(code, format string, args ...any) *oauthError {
	return &oauthError{status: http.StatusBadRequest, code: code, description: fmt.Sprintf(format, args...)}
}

// unauthorized is 401. scheme is the one the client used or should have used.
func unauthorized(scheme, code, description string) *oauthError {
	challenge := scheme + ` realm="Vipps MobilePay simulator"`
	if scheme == "Bearer" {
		challenge += fmt.Sprintf(`, error=%q`, code)
	}
	return &oauthError{status: http.StatusUnauthorized, code: code, description: description, challenge: challenge}
}

// notConnected is 403: the MSN is missing, is not one that the partner may act
// for, or Login is not active for it. What is in the body is not known.
func notConnected() *oauthError {
	return &oauthError{status: http.StatusForbidden, code: "forbidden", description: "The sales unit is not connected to this partner, or Login is not active for it."}
}

func notFound(description string) *oauthError {
	return &oauthError{status: http.StatusNotFound, code: "not_found", description: description}
}

// tooMany is 429. A part of a second is rounded up: a client that comes back
// when it was told to must not be too early.
func tooMany(code, description string, retryAfter time.Duration) *oauthError {
	retryAfter = (retryAfter + time.Second - 1).Truncate(time.Second)
	return &oauthError{status: http.StatusTooManyRequests, code: code, description: description, retryAfter: retryAfter}
}

func (e *oauthError) write(w http.ResponseWriter) {
	if e.challenge != "" {
		w.Header().Set("WWW-Authenticate", e.challenge)
	}
	if e.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(e.retryAfter/time.Second)))
	}
	answer := map[string]string{"error": e.code, "error_description": e.description}
	if e.errorCode != "" {
		answer["error_code"] = e.errorCode
	}
	writeJSON(w, e.status, answer)
}

// writeJSON answers with v, which holds nothing that fails to encode.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	// An error here is a client that went away.
	_ = encoder.Encode(v)
}
