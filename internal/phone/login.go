package phone

import (
	"errors"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// Login is a login from a phone number, as it is kept in the shared state, sealed: any instance can
// answer for it, and a restart does not lose it.
type Login struct {
	ID        string        `json:"id"` // our own random handle, 22 characters
	Status    Status        `json:"status"`
	AuthReqID string        `json:"auth_req_id"` // Vipps MobilePay's handle; never shown
	Nonce     string        `json:"nonce"`
	MSISDN    string        `json:"msisdn,omitempty"` // the number asked; "" for a customer token
	Started   time.Time     `json:"started"`
	Expires   time.Time     `json:"expires"` // no answer is waited for after this
	Forgotten time.Time     `json:"forgotten"`
	Interval  time.Duration `json:"interval"`  // between two polls
	NextPoll  time.Time     `json:"next_poll"` // Vipps MobilePay is not asked before this
	Pinged    bool          `json:"pinged,omitempty"`
	Refused   bool          `json:"refused,omitempty"` // the exchange was refused once

	Finish   string `json:"finish"`
	ReturnTo string `json:"return_to,omitempty"` // with finish browser
	Scope    string `json:"scope,omitempty"`     // what was asked for, with spaces between; with finish browser

	// Tokens are kept from the exchange, which succeeds once, until the claims have been read.
	Tokens *vipps.Tokens `json:"tokens,omitempty"`

	Userinfo string `json:"userinfo,omitempty"` // JSON, when complete
	Error    string `json:"error,omitempty"`    // when denied, expired or failed
}

type Status string

const (
	Pending  Status = "pending"
	Complete Status = "complete"
	Denied   Status = "denied"
	Expired  Status = "expired"
	Failed   Status = "failed"
)

// keepEnded is how long the end of a login can be read, at least.
const keepEnded = 5 * time.Minute

// end sets the final status of a login.
func (l *Login) end(status Status, reason string, now time.Time) {
	l.Status, l.Error, l.Tokens = status, reason, nil
	if later := now.Add(keepEnded); l.Forgotten.Before(later) {
		l.Forgotten = later
	}
}

// at returns the login as it is now: one that was not answered in time has expired, whether that is stored or not.
func (l *Login) at(now time.Time) *Login {
	if l.Status != Pending || now.Before(l.lastPoll()) {
		return l
	}
	over := *l
	if l.Tokens != nil { // the user has confirmed, and who it was could not be read
		over.end(Failed, "bad_answer", l.lastPoll())
		return &over
	}
	over.end(Expired, "expired_token", l.lastPoll())
	return &over
}

// Flow returns the flow for metrics and logs.
func (l *Login) Flow() string {
	if l.Finish == FinishBrowser {
		return FlowBrowser
	}
	return Flow
}

// Flows of logins from a phone number, as a label and in log lines.
const (
	Flow        = "phone"
	FlowBrowser = "phone_browser" // with finish browser
)

// Where a login ends: in the app, or in the phone's browser.
const (
	FinishApp     = "app"
	FinishBrowser = "browser"
)

var ErrUnknown = errors.New("there is no such login")

// known returns the login, or ErrUnknown if it has been forgotten.
func (l *Login) known(now time.Time) (*Login, error) {
	if now.After(l.Forgotten) {
		return nil, ErrUnknown
	}
	return l.at(now), nil
}
