package vipps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// doAny is do for an endpoint with any success status, such as 201 with JSON or 204 without a body.
func (c *Client) doAny(req *http.Request, answer any) error {
	_, err := c.send(req, answer, maxBody, func(status int) bool { return status/100 == 2 })
	return err
}

// do sends a request and reads the JSON answer.
func (c *Client) do(req *http.Request, answer any) (http.Header, error) {
	return c.doLarge(req, answer, maxBody)
}

// doLarge is do for an answer of up to limit bytes.
func (c *Client) doLarge(req *http.Request, answer any, limit int64) (http.Header, error) {
	return c.send(req, answer, limit, func(status int) bool { return status == http.StatusOK })
}

// send is the one place that reads answers.
func (c *Client) send(req *http.Request, answer any, limit int64, isSuccess func(status int) bool) (http.Header, error) {
	ctx, cancel := context.WithTimeout(req.Context(), CallTimeout)
	defer cancel()
	began, status := time.Now(), 0
	defer func() { c.observe(callIn(ctx), status, time.Since(began)) }()
	resp, err := c.HTTP.Do(req.WithContext(ctx))
	if err != nil {
		return nil, connectionError(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil {
		status = resp.StatusCode
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ErrNoAnswer
	case err != nil || int64(len(body)) > limit:
		return nil, ErrBadAnswer
	case !isSuccess(resp.StatusCode):
		return nil, newStatusError(resp, body)
	case resp.StatusCode == http.StatusNoContent:
	case decode(body, answer) != nil:
		return nil, ErrBadAnswer
	}
	return resp.Header, nil
}

// unread is the body of an answer for a caller that reads the JSON itself, once.
type unread []byte

func decode(body []byte, answer any) error {
	if to, ok := answer.(*unread); ok {
		*to = body
		return nil
	}
	return json.Unmarshal(body, answer)
}

// ErrUnusable is a success of the token endpoint without a token. The code is spent then. (A body that is not JSON may come
// from something in between.)
var ErrUnusable = fmt.Errorf("%w, after a success", ErrBadAnswer)

// pauseError is an error code that came with a Retry-After.
type pauseError struct {
	error
	retryAfter time.Duration
}

func (e pauseError) Unwrap() error { return e.error }

// PauseAfter returns how long Vipps MobilePay has asked to wait, or 0.
func PauseAfter(err error) time.Duration {
	var refused StatusError
	var paused pauseError
	switch {
	case errors.As(err, &paused):
		return paused.retryAfter
	case errors.As(err, &refused):
		return refused.RetryAfter
	}
	return 0
}

// errBrokenConnection is an ErrNoAnswer other than a timeout.
var errBrokenConnection = fmt.Errorf("%w: the connection broke", ErrNoAnswer)

func connectionError(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.Canceled) {
		return ErrNoAnswer
	}
	return errBrokenConnection
}

// StatusError is an answer that is not 200.
type StatusError struct {
	Status     int
	Code       string        // the OAuth error code (RFC 6749 section 5.2), or ""
	RetryAfter time.Duration // from Retry-After, or 0

	aboutNumber bool // the text is about the form of phone numbers, as seen for a country that is not served
}

func newStatusError(resp *http.Response, body []byte) StatusError {
	var oauth struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		ErrorCode   string `json:"error_code"` // seen at the backchannel endpoint
	}
	_ = json.Unmarshal(body, &oauth) // an answer may have no code
	failed := StatusError{Status: resp.StatusCode, aboutNumber: strings.Contains(oauth.Description, "urn:msisdn:")}
	for _, code := range []string{oauth.ErrorCode, oauth.Error} {
		if IsErrorCode(code) {
			failed.Code = code
		}
	}
	if isKnownCode(oauth.ErrorCode) { // it says more than a general error beside it
		failed.Code = oauth.ErrorCode
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		failed.RetryAfter = time.Duration(min(seconds, 3600)) * time.Second
	}
	if at, err := http.ParseTime(resp.Header.Get("Retry-After")); err == nil {
		failed.RetryAfter = min(max(time.Until(at), 0), time.Hour)
	}
	return failed
}

func isKnownCode(code string) bool { return backchannelErrors[code] != nil || phoneErrors[code] != nil }

// Error returns status and code, which may be logged.
func (e StatusError) Error() string {
	text := "status " + strconv.Itoa(e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	return text
}

// Unwrap returns what the status means for a login.
func (e StatusError) Unwrap() error {
	if e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable {
		return ErrBusy
	}
	return ErrBadAnswer
}

// isBearerToken reports whether s is valid in an Authorization header (RFC 6750 section 2.1). An invalid one would be cached,
// and fail each call.
func isBearerToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// IsErrorCode reports whether s looks like an OAuth error code, and so may be logged.
func IsErrorCode(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") == ""
}

// documentLife returns how long the discovery document and the key set are cached: by their Cache-Control, but not less than
// some minutes. ORY Hydra sends no-store since 25.4, with which each login would fetch both.
func documentLife(header http.Header) time.Duration { return max(MaxAge(header), leastLife) }

const leastLife = 5 * time.Minute

// MaxAge returns how long an answer may be cached (RFC 9111 section 5.2.2.1): an hour if it does not say, a second if it must
// not be.
func MaxAge(header http.Header) time.Duration {
	for directive := range strings.SplitSeq(header.Get("Cache-Control"), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return time.Second
		case "max-age":
			if seconds, err := strconv.Atoi(strings.Trim(value, `"`)); err == nil {
				return time.Duration(min(max(seconds, 1), 86400)) * time.Second
			}
		}
	}
	return time.Hour
}

// jsonNumber reads a whole number, also one in quotes; anything else is zero.
type jsonNumber int64

func (n *jsonNumber) UnmarshalJSON(text []byte) error {
	number, err := strconv.ParseInt(strings.Trim(string(text), `"`), 10, 64)
	if err == nil {
		*n = jsonNumber(number)
	}
	return nil
}
