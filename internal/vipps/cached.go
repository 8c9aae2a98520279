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

// cached caches a value from Vipps MobilePay that every login needs: the partner access token, the discovery document, or the
// key set. It is fetched once when it is first needed, and again in the background before it expires, while it is in use.
type cached[T any] struct {
	name string
	// fetch gets a new value and its lifetime.
	fetch func(context.Context) (value T, life time.Duration, err error)
	// lasting says that the last good value stays in use while it cannot be renewed. It is false for tokens, which expire.
	lasting bool

	cache  *gocache.Cache
	flight singleflight.Group
	closed context.Context // ends with the pool's entry

	used atomic.Bool // since it was fetched

	mu    sync.Mutex // guards timer
	timer *time.Timer
}

// cachedValue is a value in the cache.
type cachedValue[T any] struct {
	value   T
	fetched time.Time
	expires time.Time
	failed  bool // the last try to renew it failed
}

const (
	// fetchTimeout limits a fetch that all callers wait for. It does not depend on the request of the first.
	fetchTimeout = CallTimeout + time.Second

	// retryAfter is how long a value that could not be renewed stays in use before the next try.
	retryAfter = 10 * time.Second
)

// Get returns the value. It waits for Vipps MobilePay only if there is no usable value; ctx limits that wait.
func (k *cached[T]) Get(ctx context.Context) (T, error) {
	now := time.Now()
	found, ok := k.load()
	if !k.used.Load() { // a store of the same value costs the other cores a read
		k.used.Store(true)
	}
	if ok && now.Before(found.expires) {
		return found.value, nil
	}
	if ok && found.failed {
		// Vipps MobilePay is unavailable: the last good value is used, without waiting for another try.
		k.keepOn(found)
		k.start(trace.SpanFromContext(ctx), now, nil)
		return found.value, nil
	}
	value, err := k.renewSince(ctx, now)
	if err != nil && ok && k.lasting {
		k.keepOn(found)
		return found.value, nil
	}
	return value, err
}

// keepOn keeps a value that could not be renewed in use for a while.
func (k *cached[T]) keepOn(found cachedValue[T]) {
	found.expires, found.failed = time.Now().Add(retryAfter), true
	k.store(found)
}

// renew fetches a new value, waiting for it as long as ctx lives.
func (k *cached[T]) renew(ctx context.Context) (T, error) { return k.renewSince(ctx, time.Now()) }

// renewSince is renew, but a value that another caller has fetched since then is good enough.
func (k *cached[T]) renewSince(ctx context.Context, since time.Time) (T, error) {
	return k.renewIf(ctx, since, nil)
}

// renewIf is renewSince with a limit on fetches. It waits for a fetch that is in progress. Otherwise, if allow returns false,
// it returns the present value.
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

// start fetches a new value in the background, unless there is one that was fetched since. Concurrent callers share one fetch,
// which is in the trace of the first.
func (k *cached[T]) start(asked trace.Span, since time.Time, allow func() bool) <-chan singleflight.Result {
	return k.flight.DoChan(k.name, func() (any, error) {
		found, ok := k.load()
		if ok && (found.fetched.After(since) || allow != nil && !allow()) {
			return found.value, nil // another fetch has just ended
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

// Life returns when the value was fetched and when it expires, if there is one.
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

// schedule renews the value after three quarters of its lifetime, so that no login waits for it. A value that was not used
// since it was fetched is left to expire.
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
		// After half of the remaining time, and half again: a few tries until it expires.
		k.used.Store(true)
		k.mu.Lock()
		k.timer = time.AfterFunc(max(left/2, retryAfter), k.renewIfUsed)
		k.mu.Unlock()
	}
}

// stop stops the renewal in the background.
func (k *cached[T]) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
	}
}
