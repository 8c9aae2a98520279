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

// Spent remembers the logins that were completed or have failed, while they could be tried
// again: a state is good for one use.
type Spent struct {
	cache *gocache.Cache // ids

	mu     sync.Mutex          // guards the rest, and when an attempt was finished
	recent map[string]*Attempt // by id
	order  []*Attempt          // recent, the oldest first
}

func NewSpent() *Spent {
	return &Spent{cache: gocache.New(Life, 0), recent: make(map[string]*Attempt)}
}

// Used is for the whole process: ids are as unique as random can be, and no config's business.
var Used = NewSpent()

const (
	// maxSpent bounds the memory. Past it the oldest knowledge goes: what a login spent twice can
	// do, a second code of the same person in the same browser, is not worth running out of memory for.
	maxSpent = 300_000

	// maxRecent is how many outcomes are kept to be told again. Most who ask twice do so at once.
	maxRecent = 250
)

var ErrSpent = errors.New("the login has been used before")

// Begin spends a login, and is true the first time. Phones and browsers send a callback twice, at once or where the
// answer was lost: for a while, the browser that has the login's cookie gets the attempt of the first time then, to
// wait for what comes of it. Anything else is ErrSpent.
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

// remember keeps an attempt to be told again, and the ones from before that are not too old. mu is held.
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

// forget drops what is too old to be told again: nobody's claims are kept in memory for longer than needed.
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

// DeleteExpired makes room.
func (s *Spent) DeleteExpired() { s.cache.DeleteExpired() }

// Has reports whether the login of this id is spent.
func (s *Spent) Has(id string) bool {
	_, found := s.cache.Get(id)
	return found
}

// Finish writes down what came of an attempt.
func (s *Spent) Finish(a *Attempt, got *session.Session, err error, reference string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.session, a.err, a.reference, a.finished = got, err, reference, time.Now()
	close(a.done)
}

// OutcomeKept is how long the outcome of a login is told again.
const OutcomeKept = 15 * time.Second

// Attempt is the one attempt to complete a login, and what came of it: a session, or an error and the
// reference to its line in the log.
type Attempt struct {
	id          string
	fingerprint [sha256.Size]byte
	done        chan struct{} // closed when the rest is known

	session   *session.Session
	err       error
	reference string
	finished  time.Time
}

// old reports whether what came of the attempt is not told again.
func (a *Attempt) old(now time.Time) bool {
	return !a.finished.IsZero() && now.Sub(a.finished) >= OutcomeKept
}

// Wait returns what came of the attempt, as soon as that is known.
func (a *Attempt) Wait(ctx context.Context) (got *session.Session, reference string, err error) {
	select {
	case <-a.done:
		return a.session, a.reference, a.err
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
}
