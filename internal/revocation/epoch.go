package revocation

import (
	"context"
	"slices"
	"time"
)

// readEpoch tells by its epoch whether the storage is the one that it was. In another one, or one that has lost what was
// stored, everything that this instance knows is stored again: an instance that starts later must not take the sessions for
// valid.
func (r *List) readEpoch(ctx context.Context, at Access, now time.Time) error {
	epoch, err := at.Shared.Epoch(ctx)
	if err != nil || epoch == r.epoch {
		return err
	}
	if r.epoch != "" {
		entries := r.forgetStored(now)
		if at.Lost != nil {
			at.Lost(entries)
		}
		if err := r.write(context.WithoutCancel(ctx), at); err != nil {
			return err
		}
	}
	r.epoch = epoch
	return nil
}

// forgetStored makes parts of this instance, none of which are stored, of all entries that it knows, and returns their number.
func (r *List) forgetStored(now time.Time) (entries int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Entry
	for _, p := range r.parts {
		all = append(all, p.entries...)
	}
	for part := range slices.Chunk(all, partSize) {
		r.openPart(now)
		r.own.entries = slices.Clone(part)
	}
	return len(all)
}
