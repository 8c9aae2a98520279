package phone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// Login is a login from a phone number, as it is kept in Caddy's storage, sealed: any instance can
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

// Store keeps logins from phone numbers in Caddy's storage.
type Store struct {
	Shared store.Store
	Memory *Memory
	Keys   *seal.Keys
}

// Folders are the folders in Caddy's storage with records that expire.
var Folders = []string{loginFolder, requestFolder, askedFolder}

const (
	loginFolder   = store.Prefix + "/phone_login"
	requestFolder = store.Prefix + "/phone_request"
	askedFolder   = store.Prefix + "/phone_asked"

	// cachedFor is how long an instance caches a login, which another instance may change.
	cachedFor = time.Second
)

func phoneKey(id string) string { return loginFolder + "/" + id }

// read returns a login of this merchant, without a lock.
func (s Store) read(ctx context.Context, id, msn string) (*Login, error) {
	if found, ok := s.Memory.logins.Get(msn + "/" + id); ok {
		return found.(*Login).known(time.Now())
	}
	l, err := s.load(ctx, id, msn)
	if err != nil {
		return nil, err
	}
	_ = s.Memory.logins.Add(msn+"/"+id, l, cachedFor) // not over what was saved in the meantime
	return l.known(time.Now())
}

// known returns the login, or ErrUnknown if it has been forgotten.
func (l *Login) known(now time.Time) (*Login, error) {
	if now.After(l.Forgotten) {
		return nil, ErrUnknown
	}
	return l.at(now), nil
}

// load reads a login from storage. One of another merchant cannot be opened, and so is unknown.
func (s Store) load(ctx context.Context, id, msn string) (*Login, error) {
	sealed, err := s.Shared.Load(ctx, phoneKey(id))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrUnknown
	case err != nil:
		return nil, err
	}
	plain, ok := s.Keys.Phone.Open(sealed, seal.Context(id, msn))
	if !ok {
		return nil, ErrUnknown
	}
	l := new(Login)
	if err := json.Unmarshal(plain, l); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return l, nil
}

// save writes to storage.
func (s Store) save(ctx context.Context, l *Login, msn string) error {
	plain, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := s.Shared.Write(ctx, phoneKey(l.ID), s.Keys.Phone.Seal(plain, seal.Context(l.ID, msn))); err != nil {
		return err
	}
	s.remember(l, msn)
	return nil
}

// remember caches a login for a moment.
func (s Store) remember(l *Login, msn string) {
	known := *l
	s.Memory.logins.Set(msn+"/"+l.ID, &known, cachedFor)
	if l.Status != Pending {
		s.Memory.pending.Delete(l.ID)
	}
}

// update changes a login under its lock, which all instances share. do gets the login, and returns whether it has changed it.
// All that wait for the login are woken.
func (s Store) update(ctx context.Context, id, msn string, patience time.Duration, do func(*Login) (changed bool, err error)) (*Login, error) {
	unlock := s.Memory.locks.lock(id)
	defer unlock()
	var l *Login
	err := s.Shared.WithLock(ctx, store.Prefix+"_phone_"+id, patience, func(ctx context.Context) error {
		var err error
		if l, err = s.load(ctx, id, msn); err != nil {
			return err
		}
		s.remember(l, msn)
		changed, err := do(l)
		if changed {
			err = errors.Join(err, s.save(ctx, l, msn))
			s.Memory.waiters.wake(id)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return l.known(time.Now())
}

// create stores a new login, and an index entry for its auth_req_id.
func (s Store) create(ctx context.Context, l *Login, msn string) error {
	if err := s.save(ctx, l, msn); err != nil {
		return err
	}
	s.Memory.pending.Set(l.ID, struct{}{}, max(time.Until(l.lastPoll()), time.Second))
	name := s.indexNames(l.AuthReqID)[0]
	return s.Shared.Write(ctx, name, s.Keys.Phone.Seal([]byte(msn+" "+l.ID), seal.Context(name)))
}

// indexNames returns the names of the index entry for an auth_req_id: that of the newest secret first.
func (s Store) indexNames(authReqID string) []string {
	names := s.Keys.IndexNames("auth_req_id", authReqID)
	for i, name := range names {
		names[i] = requestFolder + "/" + name
	}
	return names
}

// find returns the merchant and the id of the login with this auth_req_id.
func (s Store) find(ctx context.Context, authReqID string) (msn, id string, err error) {
	for _, name := range s.indexNames(authReqID) {
		sealed, err := s.Shared.Load(ctx, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", "", err
		}
		if plain, ok := s.Keys.Phone.Open(sealed, seal.Context(name)); err == nil && ok {
			msn, id, _ := strings.Cut(string(plain), " ")
			return msn, id, nil
		}
	}
	return "", "", ErrUnknown
}

// Remove deletes a login.
func (s Store) Remove(ctx context.Context, id, msn string) error {
	unlock := s.Memory.locks.lock(id)
	defer unlock()
	defer s.Memory.waiters.wake(id)
	return s.Shared.WithLock(ctx, store.Prefix+"_phone_"+id, store.LockTimeout, func(ctx context.Context) error {
		l, err := s.load(ctx, id, msn)
		if err != nil {
			return err
		}
		for _, name := range append(s.indexNames(l.AuthReqID), phoneKey(id)) {
			if err := s.Shared.Delete(ctx, name); err != nil {
				return err
			}
		}
		s.Memory.logins.Delete(msn + "/" + id)
		return nil
	})
}

const (
	maxAsked    = 5 // logins that a user can be asked for in askedWindow, by all callers together
	askedWindow = 10 * time.Minute
)

// AskedTooOften says that a user was asked too often.
type AskedTooOften struct{ Wait time.Duration }

func (AskedTooOften) Error() string { return "this person was asked too often" }

// ask counts a login for the user of a login hint, and fails if there were too many, so that no phone rings without end. The
// name in storage does not reveal the number.
func (s Store) ask(ctx context.Context, hint string, now time.Time) error {
	names := s.Keys.IndexNames("asked", hint)
	name := askedFolder + "/" + names[0]
	return s.Shared.WithLock(ctx, store.Prefix+"_asked_"+names[0], store.LockTimeout, func(ctx context.Context) error {
		stored, err := s.Shared.Load(ctx, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		var asked, recent []time.Time
		if len(stored) > 0 && json.Unmarshal(stored, &asked) != nil {
			return fmt.Errorf("%w: %s cannot be read", store.ErrUnavailable, name)
		}
		for _, at := range asked {
			if now.Sub(at) < askedWindow {
				recent = append(recent, at)
			}
		}
		if len(recent) >= maxAsked {
			return AskedTooOften{askedWindow - now.Sub(recent[len(recent)-maxAsked])}
		}
		content, err := json.Marshal(append(recent, now))
		if err != nil {
			return err
		}
		return s.Shared.Write(ctx, name, content)
	})
}
