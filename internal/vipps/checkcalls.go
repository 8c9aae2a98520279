package vipps

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/MicahParks/jwkset"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
)

// The calls of `caddy vipps-login check` alone. None of them logs a user in.

var (
	// ErrPageRefused is an error page in place of the login page.
	ErrPageRefused = errors.New("the login page was refused by Vipps MobilePay")
	// ErrNoLoginClient is an error page about the client: it is not set up for logins.
	ErrNoLoginClient = fmt.Errorf("%w: no such client", ErrPageRefused)
	// ErrRequestRefused is an error at the redirect URI, which is registered then
	// (RFC 6749 section 4.1.2.1).
	ErrRequestRefused = errors.New("the redirect URI is registered, but the login is refused")
	ErrNoDate         = errors.New("the answer has no date")
)

// maxHops is how many redirects of the authorization endpoint are followed. From msn to client_id is one.
const maxHops = 4

// OpenAuthorization opens the login page, as if the user left it then, and follows redirects within the origin of the
// authorization endpoint only. The error is nil for a login page, or a redirect to another origin. The client_id is the one
// that Vipps MobilePay has put in place of the msn, or that address has; "" if it does not know the msn.
//
// It does not promise that a user can log in: no user, no consent and no code are involved.
func (c *Client) OpenAuthorization(ctx context.Context, address, redirectURI string) (clientID string, err error) {
	at, err := url.Parse(address)
	if err != nil {
		return "", ErrBadAnswer
	}
	endpoint := *at
	for range maxHops {
		if at.Path == endpoint.Path && at.Query().Has("client_id") {
			clientID = at.Query().Get("client_id")
		}
		next, err := c.openPage(ctx, at)
		if next == nil || err != nil {
			return clientID, callErrorAt("auth", err)
		}
		if next.Query().Has("error") || withoutParameters(next) == redirectURI {
			return clientID, callErrorAt("auth", redirectedError(next, redirectURI))
		}
		if next.Scheme != endpoint.Scheme || next.Host != endpoint.Host {
			return clientID, nil
		}
		at = next
	}
	return clientID, fmt.Errorf("auth: redirects without end: %w", ErrBadAnswer)
}

func callErrorAt(call string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", call, err)
}

// openPage opens one page and returns where it redirects to, or nil for a page.
func (c *Client) openPage(ctx context.Context, at *url.URL) (next *url.URL, err error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	req, err := c.newRequest(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/html,*/*;q=0.1")
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, connectionError(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody)) // a page; the rest is dropped with the connection
	switch status := resp.StatusCode; {
	case err != nil:
		return nil, ErrNoAnswer
	case status == http.StatusOK:
		return nil, nil
	case status >= 300 && status < 400:
		if next, err = at.Parse(resp.Header.Get("Location")); err != nil || resp.Header.Get("Location") == "" {
			return nil, ErrBadAnswer
		}
		return next, nil
	case status >= 400 && status < 500 && status != http.StatusTooManyRequests:
		return nil, fmt.Errorf("%w: %s", ErrPageRefused, newStatusError(resp, body))
	}
	return nil, newStatusError(resp, body)
}

// redirectedError sorts a redirect with an error. One to our redirect URI says that the URI is registered; others lead to an
// error page (seen: "invalid_request: The redirect_uri provided with
// your request does not match", https://github.com/vippsas/vipps-login-api/issues/68).
func redirectedError(to *url.URL, redirectURI string) error {
	code := to.Query().Get("error")
	if !IsErrorCode(code) {
		code = "unreadable code"
	}
	switch {
	case withoutParameters(to) == redirectURI && !to.Query().Has("error"):
		return ErrBadAnswer // a login without a user
	case withoutParameters(to) == redirectURI:
		return fmt.Errorf("%w: %s", ErrRequestRefused, code)
	case code == "invalid_client" || code == "unauthorized_client":
		return ErrNoLoginClient
	case code == "server_error":
		return ErrBadAnswer
	case code == "temporarily_unavailable":
		return ErrBusy
	}
	return fmt.Errorf("%w: %s", ErrPageRefused, code)
}

func withoutParameters(u *url.URL) string {
	bare := *u
	bare.RawQuery, bare.Fragment, bare.RawFragment = "", "", ""
	return bare.String()
}

// ClockSkew returns how far this machine's clock is ahead of Vipps MobilePay's, to a second or so: the Date header has no
// fractions, and the answer takes a while. An answer from a cache has its age (RFC 9111 section 5.1).
func (c *Client) ClockSkew(ctx context.Context) (time.Duration, error) {
	var document json.RawMessage
	asked := time.Now()
	header, err := c.get(calling(ctx, "discovery"), c.Issuer()+".well-known/openid-configuration", "", &document)
	if err != nil {
		return 0, fmt.Errorf("clock: %w", err)
	}
	theirs, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0, fmt.Errorf("clock: %w", ErrNoDate)
	}
	if age, err := strconv.Atoi(header.Get("Age")); err == nil && age > 0 {
		theirs = theirs.Add(time.Duration(age) * time.Second)
	}
	ours := asked.Add(time.Since(asked) / 2)
	return ours.Sub(theirs.Add(time.Second / 2)), nil
}

// UsableKeys counts the keys of a set that an ID token can be signed with.
func (s *keySet) UsableKeys(ctx context.Context) int {
	keys, err := s.keys.Storage().KeyReadAll(ctx)
	if err != nil {
		return 0
	}
	usable := 0
	for _, key := range keys {
		marshalled := key.Marshal()
		signs := marshalled.USE == jwkset.UseSig || marshalled.USE == ""
		algorithm := marshalled.ALG == "" || slices.Contains(idtoken.Algorithms, marshalled.ALG.String())
		if signs && algorithm && isSigningKey(key.Key()) {
			usable++
		}
	}
	return usable
}

// isSigningKey reports whether a key is of a kind that one of idtoken.Algorithms takes.
func isSigningKey(key any) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return true
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P256()
	}
	return false
}
