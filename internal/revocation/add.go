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

// Flush stores what could not be stored.
func (r *List) Flush(ctx context.Context, at Access) error {
	r.mu.Lock()
	var pending []*Entry
	for entry := range r.pending {
		pending = append(pending, entry)
	}
	r.mu.Unlock()
	return r.store(ctx, at, pending)
}

// Pending returns how many entries are not stored.
func (r *List) Pending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending)
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
