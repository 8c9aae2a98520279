package vippslogin

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	gocache "github.com/patrickmn/go-cache"

	"github.com/caddy-vipps/vippslogin/internal/session"
)

// spentLogins remembers the logins that were completed or have failed, while they could be tried
// again: a state is good for one use.
type spentLogins struct {
	cache *gocache.Cache // ids

	mu     sync.Mutex               // guards the rest, and when an attempt was finished
	recent map[string]*loginAttempt // by id
	order  []*loginAttempt          // recent, the oldest first
}

func newSpentLogins() *spentLogins {
	return &spentLogins{cache: gocache.New(loginLife, 0), recent: make(map[string]*loginAttempt)}
}

// spent is for the whole process: ids are as unique as random can be, and no config's business.
var spent = newSpentLogins()

const (
	// maxSpentLogins bounds the memory. Past it the oldest knowledge goes: what a login spent twice can
	// do, a second code of the same person in the same browser, is not worth running out of memory for.
	maxSpentLogins = 300_000

	// maxRecent is how many outcomes are kept to be told again. Most who ask twice do so at once.
	maxRecent = 250
)

// begin spends a login, and is true the first time. Phones and browsers send a callback twice, at once or where the
// answer was lost: for a while, the browser that has the login's cookie gets the attempt of the first time then, to
// wait for what comes of it. Anything else is errSpent.
func (s *spentLogins) begin(l *login, fingerprint [sha256.Size]byte) (attempt *loginAttempt, first bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cache.ItemCount() >= maxSpentLogins {
		s.cache.DeleteExpired()
		if s.cache.ItemCount() >= maxSpentLogins {
			s.cache.Flush()
		}
	}
	if s.cache.Add(l.id, struct{}{}, gocache.DefaultExpiration) != nil {
		attempt = s.recent[l.id]
		if attempt != nil && l.inCookie && attempt.fingerprint == fingerprint && !attempt.old(time.Now()) {
			return attempt, false, nil
		}
		return nil, false, errSpent
	}
	attempt = &loginAttempt{id: l.id, fingerprint: fingerprint, done: make(chan struct{})}
	if l.inCookie {
		s.remember(attempt)
	}
	return attempt, true, nil
}

// remember keeps an attempt to be told again, and the ones from before that are not too old. mu is held.
func (s *spentLogins) remember(attempt *loginAttempt) {
	if len(s.order) == 0 {
		time.AfterFunc(outcomeKept, s.forget)
	}
	if s.order = append(s.order, attempt); len(s.order) > maxRecent {
		delete(s.recent, s.order[0].id)
		s.order = slices.Delete(s.order, 0, 1)
	}
	s.recent[attempt.id] = attempt
}

// forget drops what is too old to be told again: nobody's claims are kept in memory for longer than needed.
func (s *spentLogins) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = slices.DeleteFunc(s.order, func(a *loginAttempt) bool {
		old := a.old(time.Now())
		if old {
			delete(s.recent, a.id)
		}
		return old
	})
	if len(s.order) > 0 {
		time.AfterFunc(outcomeKept, s.forget)
	}
}

// has reports whether the login of this id is spent.
func (s *spentLogins) has(id string) bool {
	_, found := s.cache.Get(id)
	return found
}

// finish writes down what came of an attempt.
func (s *spentLogins) finish(a *loginAttempt, got *session.Session, err error, reference string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.session, a.err, a.reference, a.finished = got, err, reference, time.Now()
	close(a.done)
}

// outcomeKept is how long the outcome of a login is told again.
const outcomeKept = 15 * time.Second

// loginAttempt is the one attempt to complete a login, and what came of it: a session, or an error and the
// reference to its line in the log.
type loginAttempt struct {
	id          string
	fingerprint [sha256.Size]byte
	done        chan struct{} // closed when the rest is known

	session   *session.Session
	err       error
	reference string
	finished  time.Time
}

// old reports whether what came of the attempt is not told again.
func (a *loginAttempt) old(now time.Time) bool {
	return !a.finished.IsZero() && now.Sub(a.finished) >= outcomeKept
}

// wait returns what came of the attempt, as soon as that is known.
func (a *loginAttempt) wait(ctx context.Context) (got *session.Session, reference string, err error) {
	select {
	case <-a.done:
		return a.session, a.reference, a.err
	case <-ctx.Done():
		return nil, "", errNoAnswer
	}
}
