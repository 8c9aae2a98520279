package vippslogin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// phoneDesk answers for the logins from phone numbers of one merchant. It knows nothing of HTTP requests to the site.
type phoneDesk struct {
	phoneStore
	client *vipps.Client
	unit   *merchant.Unit
	msn    string

	// check checks an ID token and reads userinfo, which must be about the same person.
	check    func(ctx context.Context, got vipps.Tokens, want idtoken.Expectation) ([]userinfo.Claim, error)
	outcomes phoneOutcomes
	logger   *zap.Logger
	stopping <-chan struct{} // closed when the server stops: nobody waits any longer
}

// phoneOutcomes hears what becomes of logins.
type phoneOutcomes interface {
	phoneStarted(flow string)
	// phoneCompleted is told when the login was started, and how much of the time since was ours and Vipps MobilePay's.
	phoneCompleted(flow string, claims []userinfo.Claim, since time.Time, took time.Duration)
	phoneFailed(flow string, err error)
	// phoneReason is an error in one word.
	phoneReason(err error) string
}

// start asks a person to confirm in the app. finish says where the login ends, and ReturnTo where the phone's browser
// goes then. What it fails with is about the request, or about Vipps MobilePay, or an askedTooOften.
func (d *phoneDesk) start(ctx context.Context, request vipps.PhoneRequest, msisdn, finish, returnTo string) (*phoneLogin, error) {
	if err := d.ask(ctx, request.LoginHint, time.Now()); err != nil {
		return nil, err
	}
	request.Nonce = seal.RandomText(16)
	// From here on a phone may ring: the login is kept even when the till has hung up.
	ctx = context.WithoutCancel(ctx)
	started, err := d.client.StartPhone(ctx, d.unit, d.msn, request)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	l := &phoneLogin{
		ID:     seal.RandomText(16),
		Status: phonePending, AuthReqID: started.AuthReqID, Nonce: request.Nonce, MSISDN: msisdn,
		Started: now, Expires: now.Add(started.ExpiresIn), Forgotten: now.Add(started.ExpiresIn + lingers),
		Interval: started.Interval, NextPoll: now.Add(started.Interval),
		Finish: finish, ReturnTo: returnTo,
	}
	if err := d.create(ctx, l, d.msn); err != nil {
		return nil, err
	}
	d.outcomes.phoneStarted(l.flow())
	return l, nil
}

// complete exchanges the code that the phone's browser brought, and completes the one login that the ID token names. A
// code of anything else leaves every login as it was. Where it names none, the error is errUnknownPhoneLogin.
func (d *phoneDesk) complete(ctx context.Context, code string) (*phoneLogin, []userinfo.Claim, error) {
	got, err := d.client.RedeemPhoneCode(ctx, d.unit, d.msn, code)
	if err != nil {
		return nil, nil, err
	}
	var l *phoneLogin
	claims, err := d.check(ctx, got, idtoken.Expectation{Phone: func(authReqID string) (string, error) {
		var err error
		if l, err = d.pendingInBrowser(ctx, authReqID); err != nil {
			return "", err
		}
		return l.Nonce, nil
	}})
	if err == nil {
		err = l.checkNumber(claims)
	}
	if err != nil {
		d.settle(ctx, l, got, err)
		return nil, nil, err
	}
	done, err := d.update(ctx, l.ID, d.msn, store.LockTimeout, func(l *phoneLogin) (bool, error) {
		if l.at(time.Now()).Status != phonePending {
			return false, errUnknownPhoneLogin // another request was faster
		}
		l.complete(claims)
		return true, nil
	})
	return done, claims, err
}

// settle writes down what a code that did not complete its login has changed about it. The code is spent: where
// the claims could not be read for a while, the till's next poll reads them with the tokens; where they are about
// somebody else, the login has failed.
func (d *phoneDesk) settle(ctx context.Context, l *phoneLogin, got vipps.Tokens, failure error) {
	if l == nil {
		return
	}
	var change func(*phoneLogin)
	switch {
	case errors.Is(failure, vipps.ErrNoAnswer), errors.Is(failure, vipps.ErrBusy), errors.Is(failure, vipps.ErrBadAnswer):
		change = func(l *phoneLogin) { l.Tokens = &got }
	case errors.Is(failure, errOtherNumber), errors.Is(failure, idtoken.ErrSubMismatch):
		change = func(l *phoneLogin) { l.end(phoneFailed, d.reason(failure), time.Now()) }
	default:
		return
	}
	_, err := d.update(ctx, l.ID, d.msn, store.LockTimeout, func(l *phoneLogin) (bool, error) {
		pending := l.Status == phonePending
		if pending {
			change(l)
		}
		return pending, nil
	})
	if err != nil {
		d.logger.Error("phone login: what has become of it is lost", zap.String("msn", d.msn), zap.Error(err))
	}
}

// pendingInBrowser returns the login that AuthReqID names, if it was started here to end in the
// phone's browser and has not ended yet.
func (d *phoneDesk) pendingInBrowser(ctx context.Context, authReqID string) (*phoneLogin, error) {
	if authReqID == "" {
		return nil, errUnknownPhoneLogin
	}
	msn, id, err := d.find(ctx, authReqID)
	if err != nil {
		return nil, err
	}
	if msn != d.msn {
		return nil, errUnknownPhoneLogin
	}
	l, err := d.load(ctx, id, d.msn)
	if err != nil {
		return nil, err
	}
	if l = l.at(time.Now()); l.AuthReqID != authReqID || l.Finish != finishBrowser || l.Status != phonePending {
		return nil, errUnknownPhoneLogin
	}
	return l, nil
}

// errPing is a ping that cannot be read.
var errPing = errors.New("the body is not a JSON object")

// ping takes the news that a person has acted, of whichever merchant: a partner may have one webhook for several. It
// makes the next poll come at once; what has happened, the poll finds out. A second ping for the same login changes
// nothing: Vipps MobilePay may send one for days.
func (d *phoneDesk) ping(ctx context.Context, body []byte) error {
	var ping struct {
		AuthReqID string `json:"auth_req_id"`
	}
	if json.Unmarshal(body, &ping) != nil {
		return fmt.Errorf("ping: %w", errPing)
	}
	msn, id, err := d.find(ctx, ping.AuthReqID)
	if err != nil {
		return err
	}
	_, err = d.update(ctx, id, msn, store.LockTimeout, func(l *phoneLogin) (bool, error) {
		if l.Status != phonePending || l.Pinged {
			return false, nil
		}
		l.Pinged, l.NextPoll = true, time.Now()
		return true, nil
	})
	return err
}
