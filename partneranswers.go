package vippslogin

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

// do sends a request and reads the JSON answer. It is the one place that looks at what comes back.
func (c *partnerClient) do(req *http.Request, answer any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(req.Context(), callTimeout)
	defer cancel()
	began, status := time.Now(), 0
	defer func() { c.observe(callIn(ctx), status, time.Since(began)) }()
	resp, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		return nil, connectionError(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err == nil {
		status = resp.StatusCode
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, errNoAnswer
	case err != nil || len(body) > maxBody:
		return nil, errBadAnswer
	case resp.StatusCode != http.StatusOK:
		return nil, newStatusError(resp, body)
	case json.Unmarshal(body, answer) != nil:
		return nil, errBadAnswer
	}
	return resp.Header, nil
}

// errUnusable is a success of the token endpoint that lacks a token. What can be done once is done. (A body that is
// no JSON at all may come from something in between.)
var errUnusable = fmt.Errorf("%w, after a success", errBadAnswer)

// pauseError is an error code that came with a Retry-After.
type pauseError struct {
	error
	retryAfter time.Duration
}

func (e pauseError) Unwrap() error { return e.error }

// pauseAfter is how long Vipps MobilePay has asked to wait, or 0.
func pauseAfter(err error) time.Duration {
	var refused statusError
	var paused pauseError
	switch {
	case errors.As(err, &paused):
		return paused.retryAfter
	case errors.As(err, &refused):
		return refused.retryAfter
	}
	return 0
}

// errBrokenConnection is an errNoAnswer that was no timeout.
var errBrokenConnection = fmt.Errorf("%w: the connection broke", errNoAnswer)

func connectionError(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.Canceled) {
		return errNoAnswer
	}
	return errBrokenConnection
}

// statusError is an answer that is not 200.
type statusError struct {
	status     int
	code       string        // the OAuth error code (RFC 6749 section 5.2), or ""
	retryAfter time.Duration // what Retry-After says, or 0
}

func newStatusError(resp *http.Response, body []byte) statusError {
	var oauth struct {
		Error     string `json:"error"`
		ErrorCode string `json:"error_code"` // the backchannel endpoint is seen with this one
	}
	_ = json.Unmarshal(body, &oauth) // no code is an answer too
	failed := statusError{status: resp.StatusCode}
	for _, code := range []string{oauth.ErrorCode, oauth.Error} {
		if isErrorCode(code) {
			failed.code = code
		}
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		failed.retryAfter = time.Duration(min(seconds, 3600)) * time.Second
	}
	if at, err := http.ParseTime(resp.Header.Get("Retry-After")); err == nil {
		failed.retryAfter = min(max(time.Until(at), 0), time.Hour)
	}
	return failed
}

// Error tells the status and the code, which are fit for a log.
func (e statusError) Error() string {
	text := "status " + strconv.Itoa(e.status)
	if e.code != "" {
		text += " " + e.code
	}
	return text
}

// Unwrap sorts the status into what it means for a login.
func (e statusError) Unwrap() error {
	if e.status == http.StatusTooManyRequests || e.status == http.StatusServiceUnavailable {
		return errBusy
	}
	return errBadAnswer
}

// isBearerToken reports whether s can stand in an Authorization header (RFC 6750 section 2.1). One that
// cannot would be kept for its life, and fail each call.
func isBearerToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// isErrorCode reports whether s may be shown in a log: what every OAuth error code looks like.
func isErrorCode(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") == ""
}

// documentLife is how long the discovery document and the key set are kept: what their Cache-Control says, but not
// less than minutes. ORY Hydra says no-store since 25.4, and each login would ask for both.
func documentLife(header http.Header) time.Duration { return max(maxAge(header), leastLife) }

const leastLife = 5 * time.Minute

// maxAge is how long an answer may be kept (RFC 9111 section 5.2.2.1): an hour where it does not say,
// a second where it says not at all.
func maxAge(header http.Header) time.Duration {
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
