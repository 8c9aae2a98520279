package phone

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/state"
)

const (
	// storeWaits is how long a request waits until an outcome is stored: in Caddy's storage, a dead instance may have the lock.
	storeWaits = 20 * time.Second

	// storeAgain is how often an outcome that could not be stored is tried again.
	storeAgain = time.Second
)

// unstored has the outcomes that could not be stored. Vipps MobilePay gives an outcome once: it is tried again until the login is
// forgotten, and requests at this instance get it from here.
type unstored struct {
	mu     sync.Mutex
	logins map[string]*Login // by MSN and id; they never change
}

// get returns the outcome of a login; nil if none is kept here.
func (u *unstored) get(key string) *Login {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.logins[key]
}

// put keeps an outcome, and reports whether it is the first one of its login.
func (u *unstored) put(key string, l *Login) (first bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	first = u.logins[key] == nil
	if u.logins == nil {
		u.logins = make(map[string]*Login)
	}
	u.logins[key] = l
	return first
}

// remove forgets an outcome, unless there is a newer one of the same login.
func (u *unstored) remove(key string, l *Login) (removed bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.logins[key] != l {
		return false
	}
	delete(u.logins, key)
	return true
}

// Unstored returns how many outcomes could not be stored yet.
func (m *Memory) Unstored() int {
	m.unstored.mu.Lock()
	defer m.unstored.mu.Unlock()
	return len(m.unstored.logins)
}

// Use says which store the newest config has: outcomes that could not be stored in that of an earlier one go there.
func (m *Memory) Use(newest Store) { m.newest.Store(&newest) }

// writeDown stores what Vipps MobilePay has said of a login. It returns the login as it is then, and whether that is what was found:
// another request may have been faster. Without the shared state, it is kept here and stored later.
func (d *Desk) writeDown(ctx context.Context, found *Login) (l *Login, taken bool, err error) {
	key := d.MSN + "/" + found.ID
	if d.Memory.unstored.get(key) == nil {
		ctx, cancel := context.WithTimeout(ctx, storeWaits)
		defer cancel()
		l, err = d.update(ctx, found.ID, d.MSN, func(l *Login) (bool, error) {
			taken = d.merge(l, found)
			return taken, nil
		})
		if !errors.Is(err, state.ErrUnavailable) || found.Status == Pending && found.Tokens == nil {
			return l, taken, err
		}
		d.Logger.Warn("phone login: the answer cannot be stored now, and is tried again", zap.String("msn", d.MSN), zap.Error(err))
	}
	kept := *found
	if d.Memory.unstored.put(key, &kept) {
		go d.storeLater(key, found.ID)
	}
	d.Memory.waiters.wake(found.ID)
	return &kept, true, nil
}

// storeLater stores an outcome as soon as the shared state works.
func (d *Desk) storeLater(key, id string) {
	for {
		kept := d.Memory.unstored.get(key)
		store := d.Store
		if newest := d.Memory.newest.Load(); newest != nil {
			store = *newest
		}
		_, err := store.update(context.Background(), id, d.MSN, func(l *Login) (bool, error) { return d.merge(l, kept), nil })
		if over := time.Now().After(kept.Forgotten); errors.Is(err, state.ErrUnavailable) && !over {
			time.Sleep(storeAgain)
			continue
		} else if over {
			d.Logger.Error("phone login: the answer could not be stored", zap.String("msn", d.MSN), zap.Error(err))
		}
		if d.Memory.unstored.remove(key, kept) {
			return
		}
	}
}
