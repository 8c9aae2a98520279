package store

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal"
)

// A feed is a folder of parts. Each instance writes parts of its own, so that none waits for a lock of another, and all
// read all parts. A part is only ever added to, and after a while not even that. Beside the folder is a file with the
// version, a text that changes when any part does: one small read tells whether there is anything new.

const (
	// partLife and partSize end the additions to a part, after which nobody reads it a second time.
	partLife = time.Hour
	partSize = 1000

	// clockSkew is how far the clocks of two instances may be apart.
	clockSkew = 10 * time.Minute
)

// partEntry is an entry as it is stored.
type partEntry struct {
	Until int64  `json:"until"` // seconds since 1970
	Value []byte `json:"value"`
}

// part is what is in a file.
type part struct {
	Entries []partEntry `json:"entries"`
}

// feeds are the parts that this instance adds to.
type feeds struct {
	mu  sync.Mutex
	own map[string]*ownFeed
}

func newFeeds() *feeds { return &feeds{own: make(map[string]*ownFeed)} }

func (f *feeds) of(feed string) *ownFeed {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.own[feed] == nil {
		f.own[feed] = &ownFeed{turn: make(chan struct{}, 1)}
	}
	return f.own[feed]
}

// ownFeed is what this instance writes of a feed.
type ownFeed struct {
	mu      sync.Mutex
	pending []*addition

	turn chan struct{} // has an element while somebody writes, who alone touches the rest
	open part          // the part that is added to
	name string        // "" before the first
	born time.Time
}

// addition is what one call of Append adds.
type addition struct {
	entries []partEntry
	done    chan struct{} // closed when err is known
	err     error
}

// Append implements state.Engine. Calls that come while one is being written share the next write.
func (s Store) Append(ctx context.Context, feed string, life time.Duration, entries ...[]byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	f := s.feeds.of(feed)
	a := &addition{done: make(chan struct{})}
	for _, entry := range entries {
		a.entries = append(a.entries, partEntry{time.Now().Add(life).Unix() + 1, entry})
	}
	f.mu.Lock()
	f.pending = append(f.pending, a)
	f.mu.Unlock()
	select {
	case f.turn <- struct{}{}:
		s.writePending(context.WithoutCancel(ctx), feed, f)
		<-f.turn
	case <-a.done:
	case <-ctx.Done():
		return fmt.Errorf("%w: it takes too long", ErrUnavailable)
	}
	<-a.done // whoever took it from pending has had the turn
	return a.err
}

// writePending writes what all who wait have added, and tells them.
func (s Store) writePending(ctx context.Context, feed string, f *ownFeed) {
	f.mu.Lock()
	pending := f.pending
	f.pending = nil
	f.mu.Unlock()
	if len(pending) == 0 {
		return
	}
	var all []partEntry
	for _, a := range pending {
		all = append(all, a.entries...)
	}
	var err error
	for len(all) > 0 && err == nil {
		all, err = s.writePart(ctx, feed, f, all, time.Now())
	}
	if err == nil {
		err = s.Write(ctx, versionOf(feed), []byte(seal.RandomText(9)))
	}
	for _, a := range pending {
		a.err = err
		close(a.done)
	}
}

// writePart adds as many entries to the open part as have room there, and returns the others. A part that could not be
// written is as it was: whoever added to it tries again.
func (s Store) writePart(ctx context.Context, feed string, f *ownFeed, entries []partEntry, now time.Time) (rest []partEntry, err error) {
	if f.name == "" || now.Sub(f.born) > partLife || len(f.open.Entries) >= partSize {
		f.name, f.born, f.open = partName(feed, now), now, part{}
	}
	n := min(len(entries), partSize-len(f.open.Entries))
	grown := part{append(f.open.Entries[:len(f.open.Entries):len(f.open.Entries)], entries[:n]...)}
	content, err := json.Marshal(grown)
	if err != nil {
		return nil, err
	}
	if err := s.Write(ctx, f.name, content); err != nil {
		return nil, err
	}
	f.open = grown
	return entries[n:], nil
}

// versionOf is where the version of a feed is.
func versionOf(feed string) string { return name(feed) + "_version" }

// partName names a new part: parts in the order of their names are in the order in which they were begun.
func partName(feed string, now time.Time) string {
	return fmt.Sprintf("%s/%d-%09d-%s", name(feed), now.Unix(), now.Nanosecond(), seal.RandomText(9))
}
