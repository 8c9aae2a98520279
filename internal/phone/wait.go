package phone

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/apart"
	"github.com/caddy-vipps/vippslogin/state"
)

// lookAgain is how often a request that waits looks again while the shared state is away.
const lookAgain = time.Second

// waiting is a request that waits for a login. Its goroutine does nothing but wait: everything else runs apart.
type waiting struct {
	desk      *Desk
	id        string
	deadline  time.Time
	notBefore time.Time // nothing is believed that was read before
	known     *Login    // as it was last read

	// What a look has found.
	login *Login
	err   error
	away  bool // the shared state is, and the login was known before

	// What ends a wait.
	changed <-chan struct{} // by another instance
	woken   <-chan struct{}
	done    func()        // of woken
	timer   *time.Timer   // nil: there is no other wait
	due     chan struct{} // closed by timer, whose own channel would need more stack to wait for
}

// Wait returns the login when it has ended, or as it is when the wait is over. While it waits, the
// request that waits is the one that polls. It goes on waiting while the shared state is away, once it has read the
// login.
func (d *Desk) Wait(ctx context.Context, id string, wait time.Duration) (*Login, error) {
	w := &waiting{desk: d, id: id, deadline: time.Now().Add(wait), notBefore: time.Now().Add(-cachedFor)}
	var stop func()
	apart.Run(func() { w.changed, stop = d.Shared.Watch(loginKey + id) })
	defer stop()
	for w.goesOn(ctx) {
		w.wait(ctx)
	}
	return w.login, w.err
}

// goesOn looks, apart, and reports whether there is to be another wait.
func (w *waiting) goesOn(ctx context.Context) bool {
	apart.Run(func() {
		w.prepare(ctx)
		if w.timer == nil && w.err == nil {
			w.desk.release(ctx, w.login)
		}
	})
	return w.timer != nil
}

// prepare looks, and prepares the next wait if there is to be one. Else, or after a panic, this request does not wait any more.
func (w *waiting) prepare(ctx context.Context) {
	w.timer = nil
	// Before the look, so that nothing is missed between the two.
	w.woken, w.done = w.desk.Memory.waiters.wait(w.id)
	defer func() {
		if w.timer == nil {
			w.done()
		}
	}()
	w.look(ctx)
	if !w.over() && ctx.Err() == nil {
		due := make(chan struct{})
		w.due, w.timer = due, time.AfterFunc(w.pause(), func() { close(due) })
	}
}

// wait waits until there may be something to see.
func (w *waiting) wait(ctx context.Context) {
	select {
	case <-w.woken:
	case <-w.changed:
		w.notBefore = time.Now()
	case <-w.due:
	case <-ctx.Done():
	case <-w.desk.Stopping:
		w.deadline = time.Now() // the client asks again, and comes to the next config
	}
	w.timer.Stop()
	w.done()
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
