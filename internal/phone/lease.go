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

	// before is the until of the lease that this one follows. While it is not known whether the change was stored, either may be
	// in the shared state.
	before time.Time
}

// is reports whether a lease is the one that the shared state has: after a ping another instance may have taken it.
func (held lease) is(nextPoll time.Time) bool {
	return nextPoll.Equal(held.until) || !held.before.IsZero() && nextPoll.Equal(held.before)
}

// maxLease is how many intervals a lease lasts at the most. An instance that dies keeps the others from
// polling for that long.
const maxLease = 3

// nextPoll is when this instance may ask next.
func (m *Memory) nextPoll(l *Login, msn string) time.Time {
	if held, ok := m.lease(l.ID, msn); ok && held.is(l.NextPoll) {
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

// takeLease gives this instance the lease from now on, until a moment which it returns: the caller stores that as the login's
// NextPoll, and calls confirmLease. If storing fails, this instance may poll whether or not it was stored.
func (m *Memory) takeLease(l *Login, msn string, now time.Time, span time.Duration) (until time.Time) {
	m.leasing.Lock()
	defer m.leasing.Unlock()
	// Half an interval more, so that a poll that ends late is still within the lease.
	fresh := lease{until: now.Add(span + l.Interval/2).Round(0), next: now}
	if held, ok := m.lease(l.ID, msn); ok && held.is(l.NextPoll) {
		fresh.before = l.NextPoll
	}
	m.setLease(l.ID, msn, fresh)
	return fresh.until
}

// confirmLease says that the lease until then was stored.
func (m *Memory) confirmLease(id, msn string, until time.Time) {
	m.changeLease(id, msn, until, func(held *lease) { held.before = time.Time{} })
}

// pollNext says when this instance may poll next, under the lease that it has polled under.
func (m *Memory) pollNext(id, msn string, until, next time.Time) {
	m.changeLease(id, msn, until, func(held *lease) { held.next = next })
}

// changeLease changes a lease, unless a newer one has been taken: by a ping, during a poll.
func (m *Memory) changeLease(id, msn string, until time.Time, change func(*lease)) {
	m.leasing.Lock()
	defer m.leasing.Unlock()
	held, ok := m.lease(id, msn)
	if !ok || !held.until.Equal(until) {
		return
	}
	change(&held)
	m.setLease(id, msn, held)
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
		if !held.is(l.NextPoll) {
			return false, nil
		}
		l.NextPoll = held.next
		return true, nil
	})
	if err != nil && !errors.Is(err, ErrUnknown) {
		d.Logger.Debug("phone login: lease kept", zap.String("msn", d.MSN), zap.Error(err)) // it ends by itself
	}
}
