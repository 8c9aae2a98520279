package revocation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/epoch"
	"github.com/caddy-vipps/vippslogin/state"
)

// List brings the list to all instances, through a feed of the shared state. What an instance knows outlives its configs
// (partnerclient.go): a reload while the state is away forgets nothing, and what the state has lost is stored again.
type List struct {
	Now Ended

	loaded   chan struct{} // closed when the feed was read to its end
	loadOnce sync.Once

	mu      sync.Mutex
	pending map[*Entry]struct{} // added here, and not in the feed as far as is known
	unread  map[Entry]time.Time // added here, and not read from the feed; stored again after that time

	turn     chan struct{} // has an element while somebody reads, who alone touches the rest
	place    string
	keys     string      // the names of those that open entries: with others, all is read again
	epoch    epoch.Epoch // of the last whole reading
	now      epoch.Epoch // of this reading
	told     epoch.Epoch // that Older was told of
	position state.Position
	reading  uint32 // the number of the reading from the beginning
	whole    bool   // this reading came to the end
	missing  int    // what the state has lost and this instance has stored again since the last whole reading
	damage   damage
	last     attempt
}

// damage is what could not be opened.
type damage struct {
	err  error
	seen time.Time
}

// attempt is how the last reading ended. Who has waited for one that failed does not try again at once: where the state
// hangs, all who come would wait for one another.
type attempt struct {
	err   error
	retry time.Time
}

func (a *attempt) do(pass func() error) error {
	if a.err != nil && time.Now().Before(a.retry) {
		return a.err
	}
	a.err = pass()
	a.retry = time.Now().Add(time.Second)
	return a.err
}

const (
	// feed is the name of the feed in the shared state.
	feed = epoch.Feed

	// RefreshEvery is how often an instance tries again what has failed, and how long it waits for others' entries at a
	// time.
	RefreshEvery = 3 * time.Second

	// logoutWaits is how long somebody waits until an end is written down.
	logoutWaits = 3 * time.Second

	// damageKept is how long it is believed that what was damaged still is.
	damageKept = 10 * time.Second
)

// NewList returns an empty List.
func NewList() *List {
	return &List{loaded: make(chan struct{}), turn: make(chan struct{}, 1), pending: make(map[*Entry]struct{}), unread: make(map[Entry]time.Time)}
}

// IsLoaded reports whether the list was read.
func (r *List) IsLoaded() bool {
	select {
	case <-r.loaded:
		return true
	default:
		return false
	}
}

// Loaded reads the list if that was never done. Until then no session is valid: a revoked one must not become valid again because
// the shared state is unavailable when an instance starts.
func (r *List) Loaded(ctx context.Context, at Access) error {
	select {
	case <-r.loaded: // by whoever had the turn: Follow keeps it while it waits
		return nil
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return errTooLong
	}
	defer func() { <-r.turn }()
	if err := r.catchUpOnce(ctx, at, true); !r.IsLoaded() {
		return err
	}
	return nil
}

var errLostMeanwhile = fmt.Errorf("%w: it has changed while it was read", state.ErrUnavailable)

var errTooLong = fmt.Errorf("%w: it takes too long", state.ErrUnavailable)

// Refresh reads what others have ended.
func (r *List) Refresh(ctx context.Context, at Access) error { return r.Follow(ctx, at, 0) }

// Follow is Refresh, and then waits for more.
func (r *List) Follow(ctx context.Context, at Access, wait time.Duration) error {
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return errTooLong
	}
	defer func() { <-r.turn }()
	err := r.catchUpOnce(ctx, at, wait > 0)
	if err == nil && wait > 0 {
		_, err = r.read(ctx, at, wait)
	}
	return err
}

// catchUpOnce is catchUp, which goes on after the client has left.
func (r *List) catchUpOnce(ctx context.Context, at Access, goesOn bool) error {
	return r.last.do(func() error { return r.catchUp(context.WithoutCancel(ctx), at, goesOn) })
}

// begin has the feed read from its beginning.
func (r *List) begin() {
	r.position, r.whole, r.damage = nil, false, damage{}
	r.reading++
}

// catchUp reads to the end of the feed. After a reading from the beginning, it stores again what this instance knows and the feed
// does not have. In another epoch than before, that is everything that the shared state has lost. goesOn
// says that the caller reads what comes next.
func (r *List) catchUp(ctx context.Context, at Access, goesOn bool) error {
	found, err := epoch.Read(ctx, at.Shared)
	if err != nil {
		return err
	}
	known, moved := r.epoch, r.place != at.Place
	keys := strings.Join(at.keyNames(), " ")
	if !found.Is(r.now) || r.keys != keys || r.damage.err != nil && time.Since(r.damage.seen) > damageKept {
		r.begin()
		r.now, r.keys = found, keys
	}
	if r.whole && goesOn {
		r.Now.setBegun(r.now.Begun, at.KeepSessions) // the config may be another than that of the reading
		return r.damage.err
	}
	if err := r.readAll(ctx, at); err != nil {
		return err
	}
	if !r.whole {
		// A feed that was lost since the epoch was read looks like one without entries.
		if again, err := epoch.Read(ctx, at.Shared); err != nil || !again.Is(found) {
			return errors.Join(errLostMeanwhile, err)
		}
		if found, err = r.complete(ctx, at, found); err != nil {
			return err
		}
		if at.Older != nil && known.Known() && found.Begun.Before(known.Begun) && !found.Is(r.told) {
			r.told = found
			at.Older()
			return nil // what it changes may open more entries: until they are read, the past is not known
		}
		r.whole, r.epoch, r.now, r.place = true, found, found, at.Place
	}
	r.Now.setBegun(found.Begun, at.KeepSessions)
	r.loadOnce.Do(func() { close(r.loaded) })
	lost := known.Known() && found.Made.After(known.Made) || r.missing > 0
	if lost && !moved && at.Lost != nil {
		at.Lost(r.missing)
	}
	r.missing = 0
	return nil
}

// complete ends a reading from the beginning: what the shared state has lost is stored again. It returns the epoch that counts then.
func (r *List) complete(ctx context.Context, at Access, found epoch.Epoch) (epoch.Epoch, error) {
	entries, err := r.restore(ctx, at)
	if r.missing += entries; err != nil {
		return found, err
	}
	switch known := r.epoch; {
	case known.Is(found) && r.missing > 0: // the state has lost some, and more than revocations
		return epoch.Renew(ctx, at.Shared, found)
	case known.Known():
		if at.Restore != nil && known.Begun.Before(found.Begun) {
			at.Restore() // before others hear of it
		}
		return epoch.Continue(ctx, at.Shared, found, known)
	}
	return found, nil
}

func (r *List) readAll(ctx context.Context, at Access) error {
	for {
		n, err := r.read(ctx, at, 0)
		if err != nil {
			return err
		}
		if n == 0 {
			return r.damage.err
		}
	}
}

// read reads what comes next, and returns how much that was. What cannot be opened is kept as the damage: the others
// count.
func (r *List) read(ctx context.Context, at Access, wait time.Duration) (n int, err error) {
	entries, next, err := at.Shared.Next(ctx, feed, r.position, wait)
	if errors.Is(err, state.ErrLost) && r.position != nil {
		r.begin()
		return 1, nil // there is something to read
	}
	if err != nil {
		return 0, err
	}
	r.position = next
	for _, sealed := range entries {
		opened, err := at.open(sealed)
		if err != nil {
			r.damage = damage{err, time.Now()}
		}
		for _, entry := range opened {
			r.Now.add(entry, r.reading)
		}
		r.haveRead(opened)
	}
	return len(entries), nil
}

// restoreAtOnce is how many entries are stored again before the feed is read: where several instances do that, each
// finds most of it done by another.
const restoreAtOnce = 1000

// restore stores again what this instance knows and this reading has not seen. It returns how much of that earlier
// readings had.
func (r *List) restore(ctx context.Context, at Access) (lost int, err error) {
	for last := -1; ; {
		var missing []Entry
		total := 0
		r.Now.unseen(r.reading, func(entry Entry, seen uint32) {
			if total++; len(missing) < restoreAtOnce {
				missing = append(missing, entry)
			}
			if seen != 0 && last < 0 {
				lost++
			}
		})
		switch {
		case total == 0:
			return lost, nil
		case total == last:
			return lost, fmt.Errorf("%w: what was stored again is not in the feed", state.ErrUnavailable)
		}
		last = total
		if err := at.append(ctx, missing); err != nil {
			return lost, err
		}
		if err := r.readAll(ctx, at); err != nil {
			return lost, err
		}
	}
}
