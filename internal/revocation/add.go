package revocation

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-vipps/vippslogin/state"
)

// Add ends sessions here at once, and everywhere else when the feed has it, which it has when Add returns without an
// error. With an error it has it once the shared state works again: Flush is called until then.
func (r *List) Add(ctx context.Context, at Access, entry Entry) error {
	r.Now.add(entry, 0)
	r.mu.Lock()
	r.pending[&entry] = struct{}{}
	r.unread[entry] = time.Now().Add(readWithin)
	r.mu.Unlock()
	written := make(chan error, 1)
	go func() { written <- r.store(context.WithoutCancel(ctx), at, []*Entry{&entry}) }()
	select {
	case err := <-written:
		return err
	case <-time.After(logoutWaits):
		return fmt.Errorf("%w: it takes too long", state.ErrUnavailable)
	}
}

// readWithin is how long an entry may take from the feed back to the instance that appended it. Redis may answer, and then
// fail over to a replica that has not got the entry: one that does not come back is appended again.
const readWithin = 20 * time.Second

// Flush stores what could not be stored, and again what was stored and did not come back.
func (r *List) Flush(ctx context.Context, at Access) error { return r.store(ctx, at, r.toStore()) }

// Pending returns how many entries are not in the feed, as far as is known.
func (r *List) Pending() int { return len(r.toStore()) }

func (r *List) toStore() (entries []*Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, pending := time.Now(), make(map[Entry]bool, len(r.pending))
	for entry := range r.pending {
		entries = append(entries, entry)
		pending[*entry] = true
	}
	for entry, until := range r.unread {
		switch {
		case pending[entry]:
		case now.Unix() > entry.Until:
			delete(r.unread, entry)
		case now.After(until):
			entries = append(entries, &entry)
		}
	}
	return entries
}

// Adopt takes over what another list could not store: that of an earlier config, which had other keys at Vipps MobilePay.
func (r *List) Adopt(other *List) {
	for _, entry := range other.toStore() {
		r.Now.add(*entry, 0)
		r.mu.Lock()
		r.pending[entry] = struct{}{}
		r.unread[*entry] = time.Now().Add(readWithin)
		r.mu.Unlock()
	}
}

// haveRead notes that entries have come back.
func (r *List) haveRead(entries []Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, entry := range entries {
		delete(r.unread, entry)
	}
}

func (r *List) store(ctx context.Context, at Access, pending []*Entry) error {
	var entries []Entry
	for _, entry := range pending {
		entries = append(entries, *entry)
	}
	if err := at.append(ctx, entries); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, entry := range pending {
		delete(r.pending, entry)
		if _, unread := r.unread[*entry]; unread {
			r.unread[*entry] = time.Now().Add(readWithin)
		}
	}
	return nil
}

// append adds entries to the feed, those that are kept equally long together.
func (at Access) append(ctx context.Context, entries []Entry) error {
	byLife := make(map[time.Duration][][]byte)
	now := time.Now()
	for _, entry := range entries {
		sealed, err := at.seal(entry)
		if err != nil {
			return err
		}
		byLife[entry.kept(now)] = append(byLife[entry.kept(now)], sealed)
	}
	for life, sealed := range byLife {
		if err := at.Shared.Append(ctx, feed, life, sealed...); err != nil {
			return err
		}
	}
	return nil
}
