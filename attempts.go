package vippslogin

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	gocache "github.com/patrickmn/go-cache"
)

// spentLogins remembers the logins that were completed or have failed, while they could be tried
// again: a state is good for one use.
type spentLogins struct {
	mu    sync.Mutex     // guards what is looked at and changed in one go
	cache *gocache.Cache // of *loginAttempt, by the login's id
}

// spent is for the whole process: ids are as unique as random can be, and no config's business.
var spent = &spentLogins{cache: gocache.New(loginLife, 0)}

// maxSpentLogins bounds the memory. Past it the oldest knowledge goes: what a login spent twice can
// do, a second code of the same person in the same browser, is not worth running out of memory for.
const maxSpentLogins = 300_000

// begin spends a login, and is true the first time. Phones and browsers send a callback twice, at once or where the
// answer was lost: for a while, the browser that has the login's cookie gets the attempt of the first time then, to
// wait for what comes of it. Anything else is errSpent.
func (s *spentLogins) begin(l *login, fingerprint [sha256.Size]byte) (attempt *loginAttempt, first bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, ok := s.cache.Get(l.id); ok {
		attempt = found.(*loginAttempt)
		if l.inCookie && attempt.fingerprint == fingerprint && !attempt.over() {
			return attempt, false, nil
		}
		return nil, false, errSpent
	}
	if s.cache.ItemCount() >= maxSpentLogins {
		s.cache.DeleteExpired()
		if s.cache.ItemCount() >= maxSpentLogins {
			s.cache.Flush()
		}
	}
	attempt = &loginAttempt{fingerprint: fingerprint, done: make(chan struct{})}
	s.cache.SetDefault(l.id, attempt)
	return attempt, true, nil
}

// has reports whether the login of this id is spent.
func (s *spentLogins) has(id string) bool {
	_, found := s.cache.Get(id)
	return found
}

// outcomeKept is how long the outcome of a login is told again.
const outcomeKept = 15 * time.Second

// loginAttempt is the one attempt to complete a login, and what came of it: a session, or an error and the
// reference to its line in the log.
type loginAttempt struct {
	fingerprint [sha256.Size]byte
	done        chan struct{} // closed when there is an outcome

	mu        sync.Mutex
	finished  time.Time
	session   *session
	err       error
	reference string
}

// finish writes the outcome down, for a while: nobody's claims are kept in memory for longer than needed. A second
// outcome changes nothing.
func (a *loginAttempt) finish(s *session, err error, reference string) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.finished.IsZero() {
		return
	}
	a.finished, a.session, a.err, a.reference = time.Now(), s, err, reference
	close(a.done)
	time.AfterFunc(outcomeKept, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.session, a.err = nil, errSpent
	})
}

// over reports whether the outcome is not told again.
func (a *loginAttempt) over() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.finished.IsZero() && time.Since(a.finished) >= outcomeKept
}

// wait returns the outcome, when there is one.
func (a *loginAttempt) wait(ctx context.Context) (*session, error, string) {
	select {
	case <-a.done:
	case <-ctx.Done():
		return nil, errNoAnswer, ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session, a.err, a.reference
}
