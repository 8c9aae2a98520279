package phone

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/caddy-vipps/vippslogin/state"
)

// lookAgain is how often a request that waits looks again while the shared state is away.
const lookAgain = time.Second

// waiting is a request that waits for a login. What it does at a look runs on another goroutine: that of the request keeps the
// stack that it once needed for as long as it waits, 16 KiB in place of the 32 that a poll needs (bench/phone).
type waiting struct {
	desk      *Desk
	id        string
	deadline  time.Time
	notBefore time.Time // nothing is believed that was read before
	known     *Login    // as it was last read

	// What a look has found.
	login    *Login
	err      error
	away     bool // the shared state is, and the login was known before
	panicked any
}

// Wait returns the login when it has ended, or as it is when the wait is over. While it waits, the
// request that waits is the one that polls. It goes on waiting while the shared state is away, once it has read the
// login.
func (d *Desk) Wait(ctx context.Context, id string, wait time.Duration) (*Login, error) {
	changed, stop := d.Shared.Watch(loginKey + id)
	defer stop()
	w := &waiting{desk: d, id: id, deadline: time.Now().Add(wait), notBefore: time.Now().Add(-cachedFor)}
	for {
		// Before the look, so that nothing is missed between the two.
		woken, done := d.Memory.waiters.wait(id)
		w.lookApart(ctx)
		if w.over() || ctx.Err() != nil {
			done()
			if w.err == nil {
				d.release(ctx, w.login)
			}
			return w.login, w.err
		}
		timer := time.NewTimer(w.pause())
		select {
		case <-woken:
		case <-changed: // by another instance
			w.notBefore = time.Now()
		case <-timer.C:
		case <-ctx.Done():
		case <-d.Stopping:
			w.deadline = time.Now() // the client asks again, and comes to the next config
		}
		timer.Stop()
		done()
	}
}

// over reports whether the wait is over.
func (w *waiting) over() bool {
	return w.err != nil || w.login.Status != Pending || time.Until(w.deadline) <= 0
}

// pause is how long a request waits until it looks again, if nothing wakes it.
func (w *waiting) pause() time.Duration {
	left := time.Until(w.deadline)
	switch {
	case w.away:
		return min(left, lookAgain)
	case w.login.polled():
		return min(left, max(time.Until(w.desk.Memory.nextPoll(w.login, w.desk.MSN)), 10*time.Millisecond))
	}
	return left
}

// lookApart is look on a goroutine of its own, which a panic does not take from that of the request: Caddy goes on after a panic
// there, and nowhere else.
func (w *waiting) lookApart(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if reason := recover(); reason != nil {
				w.panicked = fmt.Sprintf("%v\n%s", reason, debug.Stack())
			}
		}()
		w.look(ctx)
	}()
	<-done
	if w.panicked != nil {
		panic(w.panicked)
	}
}

// look reads the login, and polls if that is due.
func (w *waiting) look(ctx context.Context) {
	w.login, w.err = w.desk.read(ctx, w.id, w.desk.MSN, w.notBefore)
	if w.err == nil {
		w.known = w.login
		w.login, w.err = w.desk.pollIfDue(ctx, w.login, time.Until(w.deadline))
	}
	w.away = errors.Is(w.err, state.ErrUnavailable) && w.known != nil && w.known.at(time.Now()).Status == Pending
	if w.away {
		w.login, w.err = w.known, nil
	}
}
