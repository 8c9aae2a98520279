package statetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/state"
)

// patience is how long the tests wait for what an engine does by itself.
const patience = 20 * time.Second

// reader reads a feed at one instance.
type reader struct {
	e        state.Engine
	feed     string
	position state.Position
	read     []string // each entry once, by its first time
}

// next reads until there is nothing more, and returns what is new.
func (r *reader) next(t *testing.T) (more []string) {
	t.Helper()
	for {
		entries, next, err := r.e.Next(t.Context(), r.feed, r.position, 0)
		must(t, err)
		if len(entries) == 0 {
			return more
		}
		r.position = next
		more = append(more, r.take(entries)...)
	}
}

func (r *reader) take(entries [][]byte) (more []string) {
	for _, entry := range entries {
		if text := string(entry); !slices.Contains(r.read, text) {
			r.read, more = append(r.read, text), append(more, text)
		}
	}
	return more
}

// waitRead waits until everything was read.
func (r *reader) waitRead(t *testing.T, want ...string) {
	t.Helper()
	waitFor(t, func() bool {
		r.next(t)
		return slices.Equal(r.read, want)
	})
}

func testFeed(t *testing.T, i instances) {
	a, b, other := &reader{e: i.a, feed: "feed"}, &reader{e: i.b, feed: "feed"}, &reader{e: i.b, feed: "other"}
	for _, r := range []*reader{a, b, other} {
		if got := r.next(t); len(got) > 0 {
			t.Errorf("an empty feed has %q", got)
		}
	}
	must(t, i.a.Append(t.Context(), "feed", time.Hour, []byte("1"), []byte("2")))
	a.waitRead(t, "1", "2")
	b.waitRead(t, "1", "2")
	must(t, i.b.Append(t.Context(), "feed", time.Hour, []byte("3\x00\xff\n3")))
	b.waitRead(t, "1", "2", "3\x00\xff\n3")
	must(t, i.a.Append(t.Context(), "feed", time.Hour, []byte("4")))
	waitFor(t, func() bool { a.next(t); return len(a.read) == 4 })
	if slices.Index(a.read, "4") < slices.Index(a.read, "2") {
		t.Errorf("%q: entries of one instance in another order", a.read)
	}
	if got := other.next(t); len(got) > 0 {
		t.Errorf("another feed has %q", got)
	}
	// Of every life, to one who begins.
	must(t, i.b.Append(t.Context(), "feed", 400*24*time.Hour, []byte("5")))
	late := &reader{e: i.b, feed: "feed"}
	waitFor(t, func() bool { late.next(t); return len(late.read) == 5 })
}

func testFeedWaits(t *testing.T, i instances) {
	r := &reader{e: i.b, feed: "waits"}
	began := time.Now()
	if entries, _, err := i.b.Next(t.Context(), "waits", nil, 300*time.Millisecond); err != nil || len(entries) > 0 || time.Since(began) > patience {
		t.Errorf("%q %v after %s", entries, err, time.Since(began))
	}
	must(t, i.a.Append(t.Context(), "waits", time.Hour, []byte("1")))
	r.waitRead(t, "1")
	type result struct {
		entries [][]byte
		err     error
	}
	got := make(chan result, 1)
	waits := func(ctx context.Context) {
		entries, next, err := i.b.Next(ctx, "waits", r.position, patience)
		r.position = next
		got <- result{entries, err}
	}
	go waits(t.Context())
	must(t, i.a.Append(t.Context(), "waits", time.Hour, []byte("2")))
	if woken := <-got; woken.err != nil || !slices.Equal(r.take(woken.entries), []string{"2"}) {
		t.Errorf("%q %v", woken.entries, woken.err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go waits(ctx)
	cancel()
	if cancelled := <-got; !errors.Is(cancelled.err, context.Canceled) {
		t.Errorf("%q %v", cancelled.entries, cancelled.err)
	}
}

func testLongFeed(t *testing.T, i instances) {
	var want []string
	for part := range 5 {
		var entries [][]byte
		for n := range 700 {
			want = append(want, fmt.Sprint(part, n))
			entries = append(entries, fmt.Append(nil, part, n))
		}
		must(t, i.a.Append(t.Context(), "long", time.Hour, entries...))
	}
	var read []string
	known := map[string]bool{}
	for position := state.Position(nil); ; {
		entries, next, err := i.b.Next(t.Context(), "long", position, 0)
		must(t, err)
		if len(entries) == 0 {
			break
		}
		position = next
		for _, entry := range entries {
			if text := string(entry); !known[text] {
				known[text] = true
				read = append(read, text)
			}
		}
	}
	if !slices.Equal(read, want) {
		t.Errorf("%d entries of %d, or in another order", len(read), len(want))
	}
}

func testWatch(t *testing.T, i instances) {
	must(t, i.a.Put(t.Context(), "watch/one", []byte("1"), time.Hour))
	i.each(func(name string, e state.Engine) {
		changed, stop := e.Watch("watch/one")
		defer stop()
		also, stopAlso := e.Watch("watch/one")
		defer stopAlso()
		before, err := e.Get(t.Context(), "watch/one")
		must(t, err)
		other := i.a
		if name == "a" {
			other = i.b
		}
		if swapped, err := other.Swap(t.Context(), "watch/one", before, append(before, '+'), time.Hour); err != nil || !swapped {
			t.Fatal(swapped, err)
		}
		for _, channel := range []<-chan struct{}{changed, also} {
			select {
			case <-channel:
			case <-time.After(patience):
				t.Errorf("%s is not told of a swap", name)
			}
		}
	})
	changed, stop := i.a.Watch("watch/one")
	if _, err := i.b.Take(t.Context(), "watch/one"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	case <-time.After(patience):
		t.Error("nobody is told that it was taken")
	}
	stop()
}

func testContext(t *testing.T, i instances) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(i.a) {
		if err := call(ctx); err == nil || errors.Is(err, state.ErrNotFound) {
			t.Errorf("%s, whose context has ended: %v", name, err)
		}
	}
}
