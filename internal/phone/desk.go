package phone

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
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// Desk starts, completes and finds the logins from phone numbers of one merchant. It knows nothing of HTTP requests to the
// site.
type Desk struct {
	Store
	Client *vipps.Client
	Unit   *merchant.Unit
	MSN    string

	// AcceptMissingMSN accepts ID tokens of polled logins without an msn.
	AcceptMissingMSN bool

	// Check checks an ID token and fetches userinfo, which must have the same sub.
	Check    func(ctx context.Context, got vipps.Tokens, want idtoken.Expectation) ([]userinfo.Claim, error)
	Outcomes Outcomes
	Logger   *zap.Logger
	Stopping <-chan struct{} // closed when the server stops, which ends all waits
}

// Outcomes is told the outcomes of logins.
type Outcomes interface {
	PhoneStarted(flow string)
	// PhoneCompleted gets when the login was started, and how much of the time since we and Vipps MobilePay took.
	PhoneCompleted(flow string, claims []userinfo.Claim, since time.Time, took time.Duration)
	PhoneFailed(flow string, err error)
	// PhoneReason returns the reason of an error, a fixed word.
	PhoneReason(err error) string
}

// Start asks a user to confirm in the app. finish says where the login ends, and returnTo where the phone's browser goes then.
// An error is about the request or Vipps MobilePay, or an AskedTooOften.
func (d *Desk) Start(ctx context.Context, request vipps.PhoneRequest, msisdn, finish, returnTo string) (*Login, error) {
	if err := d.ask(ctx, request.LoginHint); err != nil {
		return nil, err
	}
	request.Nonce = seal.RandomText(16)
	// From here on a phone may ring: the login goes on even if the till has hung up.
	ctx = context.WithoutCancel(ctx)
	started, err := d.Client.StartPhone(ctx, d.Unit, d.MSN, request)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	l := &Login{
		ID:     seal.RandomText(16),
		Status: Pending, AuthReqID: started.AuthReqID, Nonce: request.Nonce, MSISDN: msisdn,
		Started: now, Expires: now.Add(started.ExpiresIn), Forgotten: now.Add(started.ExpiresIn + keepEnded),
		Interval: started.Interval, NextPoll: now.Add(started.Interval),
		Finish: finish, ReturnTo: returnTo,
	}
	if finish == FinishBrowser {
		l.Scope = request.Scope
	}
	if err := d.create(ctx, l, d.MSN); err != nil {
		return nil, err
	}
	d.Outcomes.PhoneStarted(l.Flow())
	return l, nil
}

// Complete exchanges the authorization code of the phone's browser, and completes the login that the ID token names. Another
// code changes no login. If the ID token names none, the error is ErrUnknown.
func (d *Desk) Complete(ctx context.Context, code string) (*Login, []userinfo.Claim, error) {
	got, err := d.Client.RedeemPhoneCode(ctx, d.Unit, d.MSN, code)
	if err != nil {
		return nil, nil, err
	}
	var l *Login
	claims, err := d.Check(ctx, got, idtoken.Expectation{Phone: func(authReqID string) (string, error) {
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
	done := *l
	done.complete(claims)
	written, taken, err := d.writeDown(ctx, &done)
	if err == nil && !taken {
		err = ErrUnknown // another request was faster
	}
	return written, claims, err
}

// settle records a code that did not complete its login. The code is spent: if userinfo was unavailable, the till's next poll
// fetches it with the stored tokens; if it is about another user, the login has failed.
func (d *Desk) settle(ctx context.Context, l *Login, got vipps.Tokens, failure error) {
	if l == nil {
		return
	}
	settled := *l
	switch {
	case errors.Is(failure, vipps.ErrNoAnswer), errors.Is(failure, vipps.ErrBusy), errors.Is(failure, vipps.ErrBadAnswer):
		settled.Tokens = &got
	case errors.Is(failure, ErrOtherNumber), errors.Is(failure, idtoken.ErrSubMismatch):
		settled.end(Failed, d.reason(failure), time.Now())
	default:
		return
	}
	if _, _, err := d.writeDown(ctx, &settled); err != nil {
		d.Logger.Error("phone login: what has become of it is lost", zap.String("msn", d.MSN), zap.Error(err))
	}
}

// pendingInBrowser returns the login with this auth_req_id, if it was started here to end in the phone's browser and is still
// pending.
func (d *Desk) pendingInBrowser(ctx context.Context, authReqID string) (*Login, error) {
	if authReqID == "" {
		return nil, ErrUnknown
	}
	msn, id, err := d.find(ctx, authReqID)
	if err != nil {
		return nil, err
	}
	if msn != d.MSN {
		return nil, ErrUnknown
	}
	l, err := d.load(ctx, id, d.MSN)
	if err != nil {
		return nil, err
	}
	if l = l.at(time.Now()); l.AuthReqID != authReqID || l.Finish != FinishBrowser || l.Status != Pending {
		return nil, ErrUnknown
	}
	return l, nil
}

// ErrPing is a ping that cannot be parsed.
var ErrPing = errors.New("the body is not a JSON object")

// Ping takes a ping that a user has answered, at whichever merchant: a partner may have one webhook for several. It makes the
// next poll come at once; the poll finds out the answer. A second ping for the same login changes nothing: Vipps MobilePay may
// repeat one for days.
func (d *Desk) Ping(ctx context.Context, body []byte) error {
	var ping struct {
		AuthReqID string `json:"auth_req_id"`
	}
	if json.Unmarshal(body, &ping) != nil {
		return fmt.Errorf("ping: %w", ErrPing)
	}
	msn, id, err := d.find(ctx, ping.AuthReqID)
	if err != nil {
		return err
	}
	var until time.Time
	_, err = d.update(ctx, id, msn, func(l *Login) (bool, error) {
		if l.Status != Pending || l.Pinged {
			return false, nil
		}
		now := time.Now()
		l.Pinged = true
		if !l.polled() || !d.Memory.waiters.waiting(id) {
			l.NextPoll = now // of whichever instance somebody waits at
			return true, nil
		}
		// A request that waits here polls as soon as it is woken: that it may is the same change.
		until = d.Memory.takeLease(l, msn, now, l.Interval)
		l.NextPoll = until
		return true, nil
	})
	if err == nil && !until.IsZero() {
		d.Memory.confirmLease(id, msn, until)
	}
	return err
}
