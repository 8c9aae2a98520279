package vipps

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	gocache "github.com/patrickmn/go-cache"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/singleflight"
)

// cached is one thing from Vipps MobilePay that every login needs and none should fetch: the partner
// access token, the discovery document, the key set. It is fetched when first needed, by one caller
// for all who wait, and again in the background before its life ends, as long as it is in use.
type cached[T any] struct {
	name string
	// fetch gets a new value and says how long it is good for.
	fetch func(context.Context) (value T, life time.Duration, err error)
	// lasting: the last good value serves on when it cannot be renewed. False for what has an end of
	// its own, a token.
	lasting bool

	cache  *gocache.Cache
	flight singleflight.Group
	closed context.Context // ends with the pool's entry

	used atomic.Bool // since it was fetched

	mu    sync.Mutex // guards timer
	timer *time.Timer
}

// cachedValue is what the cache holds.
type cachedValue[T any] struct {
	value   T
	fetched time.Time
	expires time.Time
	failed  bool // the last try to renew it failed
}

const (
	// fetchTimeout bounds a fetch that everybody waits for, whoever asked first: its context is nobody's
	// request.
	fetchTimeout = CallTimeout + time.Second

	// RetryAfter is how long a value that could not be renewed serves before the next try.
	retryAfter = 10 * time.Second
)

// Get returns the value. It waits for Vipps only when there is none that may serve; ctx bounds that
// wait.
func (k *cached[T]) Get(ctx context.Context) (T, error) {
	since := time.Now()
	found, ok := k.load()
	k.used.Store(true)
	if ok && time.Now().Before(found.expires) {
		return found.value, nil
	}
	if ok && found.failed {
		// Vipps is away: the last good copy serves, and nobody waits to see whether it is back.
		k.keepOn(found)
		k.start(trace.SpanFromContext(ctx), since, nil)
		return found.value, nil
	}
	value, err := k.renewSince(ctx, since)
	if err != nil && ok && k.lasting {
		k.keepOn(found)
		return found.value, nil
	}
	return value, err
}

// keepOn lets a value that could not be renewed serve for a while more.
func (k *cached[T]) keepOn(found cachedValue[T]) {
	found.expires, found.failed = time.Now().Add(retryAfter), true
	k.store(found)
}

// renew fetches a new value, waiting for it as long as ctx lives.
func (k *cached[T]) renew(ctx context.Context) (T, error) { return k.renewSince(ctx, time.Now()) }

// renewSince is renew, content with what another caller has fetched since then.
func (k *cached[T]) renewSince(ctx context.Context, since time.Time) (T, error) {
	return k.renewIf(ctx, since, nil)
}

// renewIf is renewSince where a fetch costs more than this caller may decide alone. Whoever comes while another
// caller's fetch is under way waits for that; where there is none, and allow says no, what there is is returned.
func (k *cached[T]) renewIf(ctx context.Context, since time.Time, allow func() bool) (T, error) {
	select {
	case got := <-k.start(trace.SpanFromContext(ctx), since, allow):
		value, _ := got.Val.(T)
		return value, got.Err
	case <-ctx.Done():
		var none T
		return none, ErrNoAnswer
	}
}

// start fetches a new value in the background, unless one has come since; callers at the same time share
// one fetch, which is in the trace of the first.
func (k *cached[T]) start(asked trace.Span, since time.Time, allow func() bool) <-chan singleflight.Result {
	return k.flight.DoChan(k.name, func() (any, error) {
		found, ok := k.load()
		if ok && (found.fetched.After(since) || allow != nil && !allow()) {
			return found.value, nil // another fetch has ended in between
		}
		ctx, cancel := context.WithTimeout(trace.ContextWithSpan(k.closed, asked), fetchTimeout)
		defer cancel()
		value, life, err := k.fetch(ctx)
		if err != nil {
			return value, err
		}
		now := time.Now()
		k.store(cachedValue[T]{value: value, fetched: now, expires: now.Add(life)})
		k.schedule(life)
		return value, nil
	})
}

// Life says when the value was fetched and when it ends, where there is one.
func (k *cached[T]) Life() (fetched, expires time.Time, ok bool) {
	found, ok := k.load()
	return found.fetched, found.expires, ok
}

func (k *cached[T]) load() (cachedValue[T], bool) {
	found, _ := k.cache.Get(k.name)
	value, ok := found.(cachedValue[T])
	return value, ok
}

func (k *cached[T]) store(value cachedValue[T]) {
	expiration := time.Until(value.expires)
	if k.lasting {
		expiration = gocache.NoExpiration
	}
	k.cache.Set(k.name, value, expiration)
}

// schedule renews the value when three quarters of its life are over, so that no login waits for it.
// One that nobody used since is left to end.
func (k *cached[T]) schedule(life time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
	}
	if k.closed.Err() != nil {
		return
	}
	k.timer = time.AfterFunc(life*3/4, k.renewIfUsed)
}

func (k *cached[T]) renewIfUsed() {
	if !k.used.Swap(false) {
		return
	}
	if _, err := k.renew(k.closed); err == nil || k.closed.Err() != nil {
		return
	}
	found, ok := k.load()
	if left := time.Until(found.expires); ok && left > 0 {
		// Half of what is left, and half again: a few tries, then it ends.
		k.used.Store(true)
		k.mu.Lock()
		k.timer = time.AfterFunc(max(left/2, retryAfter), k.renewIfUsed)
		k.mu.Unlock()
	}
}

// stop ends the renewal in the background.
func (k *cached[T]) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
	}
}
