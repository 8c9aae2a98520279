package vipps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/merchant"
)

// Errors of logins from a phone number: of the token endpoint (OpenID CIBA Core section 11), and of the backchannel endpoints.
var (
	ErrPending     = errors.New("the person has not answered yet")
	ErrSlowDown    = errors.New("asked too soon")
	ErrExpired     = errors.New("the person did not answer in time")
	ErrDenied      = errors.New("the person said no")
	ErrInvalidUser = errors.New("no account that can log in")
	ErrOldApp      = errors.New("the person's app is too old")

	ErrInvalidCountry = errors.New("a number of a country that Vipps MobilePay does not serve")
	ErrInvalidScope   = errors.New("a scope that is not known")
	ErrInvalidMessage = errors.New("a binding message that is not taken")
	ErrExpiredToken   = errors.New("the customer token has expired")
)

// ErrNotConnected is a 403: the sales unit is not connected to this partner, or Login is not active for it.
var ErrNotConnected = errors.New("the sales unit is not connected to this partner, or Login is not active for it")

// backchannelErrors are the refusals of the backchannel endpoints that the caller or the user can mend: some were seen at the
// real API, the others are in OpenID CIBA Core section 13.
var backchannelErrors = map[string]error{
	"invalid_user":             ErrInvalidUser,
	"unknown_user_id":          ErrInvalidUser,
	"old_app":                  ErrOldApp,
	"invalid_scope":            ErrInvalidScope,
	"invalid_binding_message":  ErrInvalidMessage,
	"expired_login_hint_token": ErrExpiredToken,
}

var phoneErrors = map[string]error{
	"authorization_pending": ErrPending,
	"slow_down":             ErrSlowDown,
	"expired_token":         ErrExpired,
	"access_denied":         ErrDenied,
}

// PhoneRequest is what a login from a phone number asks for.
type PhoneRequest struct {
	Scope          string
	LoginHint      string // urn:msisdn:… or urn:customer-token:…
	BindingMessage string // "" for none
	Expiry         int    // seconds, 0 for Vipps MobilePay's choice
	Nonce          string
	RedirectURI    string // for a login that ends in the phone's browser, else ""
}

// PhoneStarted is Vipps MobilePay's answer to it.
type PhoneStarted struct {
	AuthReqID string
	ExpiresIn time.Duration
	Interval  time.Duration
}

// StartPhone asks the user to confirm in the app (OpenID CIBA Core section 7.1).
func (c *Client) StartPhone(ctx context.Context, unit *merchant.Unit, msn string, request PhoneRequest) (PhoneStarted, error) {
	doc, err := c.Discovery.Get(ctx)
	if err != nil {
		return PhoneStarted{}, err
	}
	form := url.Values{"scope": {request.Scope}, "login_hint": {request.LoginHint}, "nonce": {request.Nonce}}
	if request.BindingMessage != "" {
		form.Set("binding_message", request.BindingMessage)
	}
	if request.Expiry != 0 {
		form.Set("requested_expiry", strconv.Itoa(request.Expiry))
	}
	if request.RedirectURI != "" {
		form.Set("requested_flow", "login_to_webpage")
		form.Set("redirect_uri", request.RedirectURI)
	}
	var answer struct {
		AuthReqID string     `json:"auth_req_id"`
		ExpiresIn jsonNumber `json:"expires_in"`
		Interval  jsonNumber `json:"interval"`
	}
	err = backchannelError(c.postAs(ctx, "backchannel", unit, msn, doc.BackchannelEndpoint, form, &answer))
	if err == nil && answer.AuthReqID == "" {
		err = ErrBadAnswer
	}
	if err != nil {
		return PhoneStarted{}, fmt.Errorf("backchannel: %w", err)
	}
	return PhoneStarted{
		AuthReqID: answer.AuthReqID,
		ExpiresIn: seconds(answer.ExpiresIn, 600, 900),
		Interval:  seconds(answer.Interval, 5, 900), // OpenID CIBA Core section 7.3: 5 by default
	}, nil
}

// backchannelError sorts the refusals of the backchannel endpoints. A 429 keeps its Retry-After.
func backchannelError(err error) error {
	var refused StatusError
	switch {
	case !errors.As(err, &refused):
		return err
	case backchannelErrors[refused.Code] != nil:
		return backchannelErrors[refused.Code]
	case refused.aboutNumber:
		return ErrInvalidCountry
	case refused.Status == http.StatusUnauthorized:
		return ErrKeysRefused
	case refused.Status == http.StatusForbidden:
		return ErrNotConnected
	}
	return err
}

// seconds returns a number of seconds of an answer, or missing if there is none, and at most most.
func seconds(n jsonNumber, missing, most int) time.Duration {
	if n <= 0 {
		n = jsonNumber(missing)
	}
	return time.Duration(min(int(n), most)) * time.Second
}

// PollPhone asks for the tokens of a login from a phone number. It succeeds once.
func (c *Client) PollPhone(ctx context.Context, unit *merchant.Unit, msn, authReqID string) (Tokens, error) {
	return c.redeem(ctx, unit, msn, url.Values{"grant_type": {"urn:openid:params:grant-type:ciba"}, "auth_req_id": {authReqID}})
}

// RedeemPhoneCode exchanges the code that the phone's browser brought.
func (c *Client) RedeemPhoneCode(ctx context.Context, unit *merchant.Unit, msn, code string) (Tokens, error) {
	return c.redeem(ctx, unit, msn, url.Values{"grant_type": {"urn:vipps:params:grant-type:ciba-redirect"}, "code": {code}})
}

// PhoneExists asks whether a phone number has an account that can log in.
func (c *Client) PhoneExists(ctx context.Context, unit *merchant.Unit, msn, msisdn string) (bool, error) {
	var answer struct {
		Exists *bool `json:"exists"`
	}
	form := url.Values{"login_hint": {"urn:msisdn:" + msisdn}}
	err := backchannelError(c.postAs(ctx, "user_exists", unit, msn, c.Base+"/vipps-login-ciba/api/v1/user-exists", form, &answer))
	if err == nil && answer.Exists == nil {
		err = ErrBadAnswer
	}
	if err != nil {
		return false, fmt.Errorf("user-exists: %w", err)
	}
	return *answer.Exists, nil
}
