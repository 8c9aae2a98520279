package phone

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// lease is an instance's right to poll for one login. It is taken by a change of the login, which says who
// of all instances asks, and lasts for a few polls: a change for each of them would cost more than all the
// rest (bench/phone).
type lease struct {
	until time.Time // no other instance polls before; NextPoll in the shared state says so
	next  time.Time // this one does not poll before
}

// maxLease is how many intervals a lease lasts at the most. An instance that dies keeps the others from
// polling for that long.
const maxLease = 3

// nextPoll is when this instance may ask next.
func (m *Memory) nextPoll(l *Login, msn string) time.Time {
	// The shared state says whose lease it is: after a ping another instance may have taken it.
	if held, ok := m.lease(l.ID, msn); ok && l.NextPoll.Equal(held.until) {
		return held.next
	}
	return l.NextPoll
}

// due reports whether this instance may ask now.
func (m *Memory) due(l *Login, msn string, now time.Time) bool {
	return l.polled() && now.Before(l.lastPoll()) && !now.Before(m.nextPoll(l, msn))
}

func (m *Memory) lease(id, msn string) (lease, bool) {
	found, _ := m.leases.Get(msn + "/" + id)
	held, ok := found.(lease)
	return held, ok && time.Now().Before(held.until)
}

func (m *Memory) setLease(id, msn string, held lease) {
	if left := time.Until(held.until); left > 0 { // go-cache keeps for ever what has no time left
		m.leases.Set(msn+"/"+id, held, left)
	}
}

// release lets other instances poll, when the last request that waits here has left.
func (d *Desk) release(ctx context.Context, l *Login) {
	held, ok := d.Memory.lease(l.ID, d.MSN)
	if !ok || !l.polled() || d.Memory.waiters.waiting(l.ID) || time.Until(held.until) < l.Interval {
		return
	}
	d.Memory.leases.Delete(d.MSN + "/" + l.ID)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cachedFor)
	defer cancel()
	_, err := d.update(ctx, l.ID, d.MSN, func(l *Login) (bool, error) {
		if !l.NextPoll.Equal(held.until) {
			return false, nil
		}
		l.NextPoll = held.next
		return true, nil
	})
	if err != nil && !errors.Is(err, ErrUnknown) {
		d.Logger.Debug("phone login: lease kept", zap.String("msn", d.MSN), zap.Error(err)) // it ends by itself
	}
}
