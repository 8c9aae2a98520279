// Package statetest has the tests that every engine of shared state passes, and an engine in memory.
package statetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/caddy-vipps/vippslogin/state"
)

// Memory is an engine for tests: a state in this process, which can be away, and counts what it is asked for. Several
// instances share one where they are given the same.
type Memory struct {
	state.Watchers

	mu       sync.Mutex
	away     error
	values   map[string]value
	counts   map[string][]time.Time
	feeds    map[string][]entry
	appended map[string]chan struct{} // closed at the next Append
	last     int                      // the number of the last entry
	calls    map[string]int
}

type value struct {
	content []byte
	until   time.Time // zero: for ever
}

type entry struct {
	value
	number int
}

// NewMemory returns an empty state.
func NewMemory() *Memory {
	return &Memory{values: map[string]value{}, counts: map[string][]time.Time{}, feeds: map[string][]entry{},
		appended: map[string]chan struct{}{}, calls: map[string]int{}}
}

// ErrAway is what every call of a state that is away fails with.
var ErrAway = errors.New("the state of the test is away")

// SetAway makes every call fail, or none.
func (m *Memory) SetAway(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away = nil; away {
		m.away = ErrAway
	}
	for feed := range m.appended {
		m.wakeFeed(feed)
	}
}

// Lose forgets everything, as a server does that keeps nothing on disk.
func (m *Memory) Lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.values)
	clear(m.counts)
	clear(m.feeds)
}

// LoseLatest forgets the newest entries of a feed.
func (m *Memory) LoseLatest(feed string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.feeds[feed] = m.feeds[feed][:len(m.feeds[feed])-n]
}

// Calls returns how often each method was called since the last time.
func (m *Memory) Calls() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls := m.calls
	m.calls = map[string]int{}
	return calls
}

// Keys returns the keys of all values that are there.
func (m *Memory) Keys() (keys []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.values {
		if _, ok := m.get(key); ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// begin takes mu, for one call.
func (m *Memory) begin(ctx context.Context, method string) (end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.calls[method]++
	if m.away != nil {
		m.mu.Unlock()
		return nil, m.away
	}
	return m.mu.Unlock, nil
}

func newValue(content []byte, life time.Duration) value {
	v := value{content: bytes.Clone(content)}
	if life != state.ForEver {
		v.until = time.Now().Add(life)
	}
	return v
}

func (v value) over(now time.Time) bool { return !v.until.IsZero() && !now.Before(v.until) }

func (m *Memory) get(key string) ([]byte, bool) {
	v, ok := m.values[key]
	return v.content, ok && !v.over(time.Now())
}

// Get implements state.Engine.
func (m *Memory) Get(ctx context.Context, key string) ([]byte, error) {
	end, err := m.begin(ctx, "get")
	if err != nil {
		return nil, err
	}
	defer end()
	content, ok := m.get(key)
	if !ok {
		return nil, state.ErrNotFound
	}
	return bytes.Clone(content), nil
}

// Put implements state.Engine.
func (m *Memory) Put(ctx context.Context, key string, content []byte, life time.Duration) error {
	end, err := m.begin(ctx, "put")
	if err != nil {
		return err
	}
	defer end()
	m.values[key] = newValue(content, life)
	return nil
}

// Add implements state.Engine.
func (m *Memory) Add(ctx context.Context, key string, content []byte, life time.Duration) (bool, error) {
	end, err := m.begin(ctx, "add")
	if err != nil {
		return false, err
	}
	defer end()
	if stored, ok := m.get(key); ok {
		return bytes.Equal(stored, content), nil
	}
	m.values[key] = newValue(content, life)
	return true, nil
}

// Swap implements state.Engine.
func (m *Memory) Swap(ctx context.Context, key string, old, content []byte, life time.Duration) (bool, error) {
	end, err := m.begin(ctx, "swap")
	if err != nil {
		return false, err
	}
	defer end()
	stored, ok := m.get(key)
	if !ok || !bytes.Equal(stored, old) {
		return ok && bytes.Equal(stored, content), nil
	}
	m.values[key] = newValue(content, life)
	m.Changed(key)
	return true, nil
}

// Take implements state.Engine.
func (m *Memory) Take(ctx context.Context, key string) ([]byte, error) {
	end, err := m.begin(ctx, "take")
	if err != nil {
		return nil, err
	}
	defer end()
	content, ok := m.get(key)
	if !ok {
		return nil, state.ErrNotFound
	}
	delete(m.values, key)
	m.Changed(key)
	return content, nil
}

// Count implements state.Engine.
func (m *Memory) Count(ctx context.Context, key string, limit int, window time.Duration) (time.Duration, error) {
	end, err := m.begin(ctx, "count")
	if err != nil {
		return 0, err
	}
	defer end()
	now := time.Now()
	counted := slices.DeleteFunc(m.counts[key], func(at time.Time) bool { return now.Sub(at) >= window })
	m.counts[key] = counted
	if len(counted) >= limit {
		return window - now.Sub(counted[len(counted)-limit]), nil
	}
	m.counts[key] = append(counted, now)
	return 0, nil
}

// Append implements state.Engine.
func (m *Memory) Append(ctx context.Context, feed string, life time.Duration, entries ...[]byte) error {
	end, err := m.begin(ctx, "append")
	if err != nil {
		return err
	}
	defer end()
	now := time.Now()
	m.feeds[feed] = slices.DeleteFunc(m.feeds[feed], func(e entry) bool { return e.over(now) })
	for _, content := range entries {
		m.last++
		m.feeds[feed] = append(m.feeds[feed], entry{newValue(content, life), m.last})
	}
	m.wakeFeed(feed)
	return nil
}

func (m *Memory) wakeFeed(feed string) {
	if channel := m.appended[feed]; channel != nil {
		close(channel)
		delete(m.appended, feed)
	}
}

// Next implements state.Engine.
func (m *Memory) Next(ctx context.Context, feed string, position state.Position, wait time.Duration) ([][]byte, state.Position, error) {
	at, _ := position.(readTo)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	m.mu.Lock()
	m.calls["next"]++
	m.mu.Unlock()
	for over := wait <= 0; ; {
		entries, next, appended, err := m.read(feed, at)
		if err != nil || len(entries) > 0 || over {
			return entries, next, err
		}
		select {
		case <-appended:
		case <-timer.C:
			over = true
		case <-ctx.Done():
			return nil, position, ctx.Err()
		}
	}
}

// readTo is a position: the number of the last entry that was read, and until when it is kept.
type readTo struct {
	number int
	until  time.Time
}

// page is how many entries Next returns at once.
const page = 1000

// read returns what comes after a position. The channel is closed when there may be more.
func (m *Memory) read(feed string, at readTo) (entries [][]byte, next readTo, appended <-chan struct{}, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away != nil {
		return nil, at, nil, m.away
	}
	isThere := func(e entry) bool { return e.number == at.number }
	if at.until.After(time.Now()) && !slices.ContainsFunc(m.feeds[feed], isThere) {
		return nil, at, nil, state.ErrLost
	}
	next = at
	for _, e := range m.feeds[feed] {
		if e.number > at.number && len(entries) < page {
			entries = append(entries, bytes.Clone(e.content))
			next = readTo{e.number, e.until}
		}
	}
	if m.appended[feed] == nil {
		m.appended[feed] = make(chan struct{})
	}
	return entries, next, m.appended[feed], nil
}

// Notifies implements state.Engine.
func (m *Memory) Notifies() bool { return true }

// Interface guard
var _ state.Engine = (*Memory)(nil)
