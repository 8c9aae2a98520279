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

// Wait returns the login when it has ended, or as it is when the wait is over. While it waits, the
// request that waits is the one that polls. It goes on waiting while the shared state is away, once it has read the
// login.
func (d *Desk) Wait(ctx context.Context, id string, wait time.Duration) (*Login, error) {
	changed, stop := d.Shared.Watch(loginKey + id)
	defer stop()
	deadline, notBefore := time.Now().Add(wait), time.Now().Add(-cachedFor)
	var known *Login
	for {
		// Before the look, so that nothing is missed between the two.
		woken, done := d.Memory.waiters.wait(id)
		looked := d.lookApart(ctx, id, notBefore, deadline)
		if looked.known != nil {
			known = looked.known
		}
		l, err := looked.login, looked.err
		left := time.Until(deadline)
		away := errors.Is(err, state.ErrUnavailable) && known != nil && known.at(time.Now()).Status == Pending
		if away {
			l, err = known, nil
		}
		if err != nil || l.Status != Pending || left <= 0 || ctx.Err() != nil {
			done()
			if err == nil {
				d.release(ctx, l)
			}
			return l, err
		}
		timer := time.NewTimer(d.pause(l, left, away))
		select {
		case <-woken:
		case <-changed: // by another instance
			notBefore = time.Now()
		case <-timer.C:
		case <-ctx.Done():
		case <-d.Stopping:
			deadline = time.Now() // the client asks again, and comes to the next config
		}
		timer.Stop()
		done()
	}
}

// pause is how long a request waits until it looks again, if nothing wakes it.
func (d *Desk) pause(l *Login, left time.Duration, away bool) time.Duration {
	switch {
	case away:
		return min(left, lookAgain)
	case l.polled():
		return min(left, max(time.Until(d.Memory.nextPoll(l, d.MSN)), 10*time.Millisecond))
	}
	return left
}

// look is what a look at a login has found.
type look struct {
	known    *Login // as it was read
	login    *Login // after a poll, if one was due
	err      error
	panicked any
}

// lookApart looks at a login, and polls if that is due, on a goroutine of its own. Reading, and above all polling, needs 32 KiB of
// stack, which the goroutine of a request would keep for as long as it waits (bench/phone).
func (d *Desk) lookApart(ctx context.Context, id string, notBefore, deadline time.Time) look {
	answer := make(chan look, 1)
	go func() {
		var found look
		defer func() {
			if reason := recover(); reason != nil { // Caddy goes on after a panic of a request's goroutine, and of no other
				found.panicked = fmt.Sprintf("%v\n%s", reason, debug.Stack())
			}
			answer <- found
		}()
		found = d.look(ctx, id, notBefore, deadline)
	}()
	found := <-answer
	if found.panicked != nil {
		panic(found.panicked)
	}
	return found
}

func (d *Desk) look(ctx context.Context, id string, notBefore, deadline time.Time) look {
	known, err := d.read(ctx, id, d.MSN, notBefore)
	if err != nil {
		return look{err: err}
	}
	l, err := d.pollIfDue(ctx, known, time.Until(deadline))
	return look{known: known, login: l, err: err}
}
