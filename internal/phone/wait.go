package phone

import (
	"context"
	"errors"
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
		l, err := d.read(ctx, id, d.MSN, notBefore)
		if err == nil {
			known = l
			l, err = d.pollIfDue(ctx, l, time.Until(deadline))
		}
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
		pause := left
		if l.polled() {
			pause = min(pause, max(time.Until(d.Memory.nextPoll(l, d.MSN)), 10*time.Millisecond))
		}
		if away {
			pause = min(left, lookAgain)
		}
		timer := time.NewTimer(pause)
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
