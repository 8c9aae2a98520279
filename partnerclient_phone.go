package vippslogin

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/merchant"
)

// What the token endpoint says about a login from a phone number that is not completed (OpenID CIBA
// Core section 11), and what the backchannel endpoint says about one that cannot be.
var (
	errPending     = errors.New("the person has not answered yet")
	errSlowDown    = errors.New("asked too soon")
	errExpired     = errors.New("the person did not answer in time")
	errDenied      = errors.New("the person said no")
	errInvalidUser = errors.New("no account that can log in")
	errOldApp      = errors.New("the person's app is too old")
)

var phoneErrors = map[string]error{
	"authorization_pending": errPending,
	"slow_down":             errSlowDown,
	"expired_token":         errExpired,
	"access_denied":         errDenied,
}

// phoneRequest is what a login from a phone number asks for.
type phoneRequest struct {
	scope          string
	loginHint      string // urn:msisdn:… or urn:customer-token:…
	bindingMessage string // "" for none
	expiry         int    // seconds, 0 for Vipps MobilePay's choice
	nonce          string
	redirectURI    string // for a login that ends in the phone's browser, else ""
}

// phoneStarted is Vipps MobilePay's answer to it.
type phoneStarted struct {
	authReqID string
	expiresIn time.Duration
	interval  time.Duration
}

// startPhone asks the person to confirm in the app (OpenID CIBA Core section 7.1).
func (c *partnerClient) startPhone(ctx context.Context, unit *merchant.Unit, msn string, request phoneRequest) (phoneStarted, error) {
	doc, err := c.discovery.get(ctx)
	if err != nil {
		return phoneStarted{}, err
	}
	form := url.Values{"scope": {request.scope}, "login_hint": {request.loginHint}, "nonce": {request.nonce}}
	if request.bindingMessage != "" {
		form.Set("binding_message", request.bindingMessage)
	}
	if request.expiry != 0 {
		form.Set("requested_expiry", strconv.Itoa(request.expiry))
	}
	if request.redirectURI != "" {
		form.Set("requested_flow", "login_to_webpage")
		form.Set("redirect_uri", request.redirectURI)
	}
	var answer struct {
		AuthReqID string     `json:"auth_req_id"`
		ExpiresIn jsonNumber `json:"expires_in"`
		Interval  jsonNumber `json:"interval"`
	}
	err = backchannelError(c.postAs(ctx, "backchannel", unit, msn, doc.BackchannelEndpoint, form, &answer))
	if err == nil && answer.AuthReqID == "" {
		err = errBadAnswer
	}
	if err != nil {
		return phoneStarted{}, fmt.Errorf("backchannel: %w", err)
	}
	return phoneStarted{
		authReqID: answer.AuthReqID,
		expiresIn: seconds(answer.ExpiresIn, 600, 900),
		interval:  seconds(answer.Interval, 5, 900), // OpenID CIBA Core section 7.3: 5 where it does not say
	}, nil
}

// backchannelError sorts the refusals of the backchannel endpoints. A 429 keeps its Retry-After.
func backchannelError(err error) error {
	var refused statusError
	switch {
	case !errors.As(err, &refused):
		return err
	case refused.code == "invalid_user" || refused.code == "unknown_user_id":
		return errInvalidUser
	case refused.code == "old_app":
		return errOldApp
	case refused.status == 401:
		return errKeysRefused
	}
	return err
}

// seconds is a number of seconds from Vipps MobilePay, or a default where there is none, and at most max.
func seconds(n jsonNumber, missing, most int) time.Duration {
	if n <= 0 {
		n = jsonNumber(missing)
	}
	return time.Duration(min(int(n), most)) * time.Second
}

// pollPhone asks for the tokens of a login from a phone number. It succeeds once.
func (c *partnerClient) pollPhone(ctx context.Context, unit *merchant.Unit, msn, authReqID string) (tokens, error) {
	return c.redeem(ctx, unit, msn, url.Values{"grant_type": {"urn:openid:params:grant-type:ciba"}, "auth_req_id": {authReqID}})
}

// redeemPhoneCode exchanges the code that the phone's browser brought.
func (c *partnerClient) redeemPhoneCode(ctx context.Context, unit *merchant.Unit, msn, code string) (tokens, error) {
	return c.redeem(ctx, unit, msn, url.Values{"grant_type": {"urn:vipps:params:grant-type:ciba-redirect"}, "code": {code}})
}

// phoneExists asks whether a phone number has an account that can log in.
func (c *partnerClient) phoneExists(ctx context.Context, unit *merchant.Unit, msn, msisdn string) (bool, error) {
	var answer struct {
		Exists *bool `json:"exists"`
	}
	form := url.Values{"login_hint": {"urn:msisdn:" + msisdn}}
	err := backchannelError(c.postAs(ctx, "user_exists", unit, msn, c.base+"/vipps-login-ciba/api/v1/user-exists", form, &answer))
	if err == nil && answer.Exists == nil {
		err = errBadAnswer
	}
	if err != nil {
		return false, fmt.Errorf("user-exists: %w", err)
	}
	return *answer.Exists, nil
}
