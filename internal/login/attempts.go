package login

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"time"

	gocache "github.com/patrickmn/go-cache"

	"github.com/caddy-vipps/vippslogin/internal/session"
)

// Spent remembers the logins that were completed or have failed, for as long as their states are valid: a state can be used
// once.
type Spent struct {
	cache *gocache.Cache // ids

	mu     sync.Mutex          // guards the rest, and the end of attempts
	recent map[string]*Attempt // by id
	order  []*Attempt          // recent, the oldest first
}

func NewSpent() *Spent {
	return &Spent{cache: gocache.New(Life, 0), recent: make(map[string]*Attempt)}
}

// Used belongs to the process: ids are random, and do not depend on a config.
var Used = NewSpent()

const (
	// maxSpent limits memory. Beyond it the oldest entries are dropped: a login that is used twice, with a second
	// authorization code of the same user in the same browser, does less harm than running out of memory.
	maxSpent = 300_000

	// maxRecent is how many outcomes are kept for repeated callbacks. Most are repeated at once.
	maxRecent = 250
)

var ErrSpent = errors.New("the login has been used before")

// Begin spends a login, and is true the first time. Phones and browsers repeat callbacks, at once or after a lost answer: for a
// while, the browser with the login's cookie gets the first attempt then, to wait for its outcome. Anything else is ErrSpent.
func (s *Spent) Begin(l *Login, fingerprint [sha256.Size]byte) (attempt *Attempt, first bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cache.ItemCount() >= maxSpent {
		s.cache.DeleteExpired()
		if s.cache.ItemCount() >= maxSpent {
			s.cache.Flush()
		}
	}
	if s.cache.Add(l.ID, struct{}{}, gocache.DefaultExpiration) != nil {
		attempt = s.recent[l.ID]
		if attempt != nil && l.InCookie && attempt.fingerprint == fingerprint && !attempt.old(time.Now()) {
			return attempt, false, nil
		}
		return nil, false, ErrSpent
	}
	attempt = &Attempt{id: l.ID, fingerprint: fingerprint, done: make(chan struct{})}
	if l.InCookie {
		s.remember(attempt)
	}
	return attempt, true, nil
}

// remember keeps an attempt for repeated callbacks, and drops old ones. mu is held.
func (s *Spent) remember(attempt *Attempt) {
	if len(s.order) == 0 {
		time.AfterFunc(OutcomeKept, s.forget)
	}
	if s.order = append(s.order, attempt); len(s.order) > maxRecent {
		delete(s.recent, s.order[0].id)
		s.order = slices.Delete(s.order, 0, 1)
	}
	s.recent[attempt.id] = attempt
}

// forget drops old attempts: claims stay in memory no longer than needed.
func (s *Spent) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = slices.DeleteFunc(s.order, func(a *Attempt) bool {
		old := a.old(time.Now())
		if old {
			delete(s.recent, a.id)
		}
		return old
	})
	if len(s.order) > 0 {
		time.AfterFunc(OutcomeKept, s.forget)
	}
}

// DeleteExpired removes expired entries.
func (s *Spent) DeleteExpired() { s.cache.DeleteExpired() }

// Has reports whether the login of this id is spent.
func (s *Spent) Has(id string) bool {
	_, found := s.cache.Get(id)
	return found
}

// Finish sets the outcome of an attempt.
func (s *Spent) Finish(a *Attempt, got *session.Session, err error, reference string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.session, a.err, a.reference, a.finished = got, err, reference, time.Now()
	close(a.done)
}

// OutcomeKept is how long a repeated callback gets the outcome of a login.
const OutcomeKept = 15 * time.Second

// Attempt is the one attempt to complete a login, with its outcome: a session, or an error and the reference of its log line.
type Attempt struct {
	id          string
	fingerprint [sha256.Size]byte
	done        chan struct{} // closed when the rest is known

	session   *session.Session
	err       error
	reference string
	finished  time.Time
}

// old reports whether the attempt is too old for a repeated callback.
func (a *Attempt) old(now time.Time) bool {
	return !a.finished.IsZero() && now.Sub(a.finished) >= OutcomeKept
}

// Wait waits for the outcome of the attempt.
func (a *Attempt) Wait(ctx context.Context) (got *session.Session, reference string, err error) {
	select {
	case <-a.done:
		return a.session, a.reference, a.err
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
}
