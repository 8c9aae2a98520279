// Package guard stands between the plugin and an engine of shared state that others may have written: the context of every call
// ends in time, which engines respect, and every error is one that the plugin knows.
package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-vipps/vippslogin/state"
)

// Timeout is the longest that a call may take, whatever an engine thinks. Those of ours are faster; Caddy's storage may
// wait for a lock of an instance that died.
const Timeout = 25 * time.Second

// Guarded is an engine.
type Guarded struct{ state.Engine }

// check makes an error one that the plugin knows.
func check(err error) error {
	if err == nil || errors.Is(err, state.ErrNotFound) || errors.Is(err, state.ErrLost) || errors.Is(err, state.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", state.ErrUnavailable, err)
}

// call runs one call with its deadline.
func call(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	return check(do(ctx))
}

// Generation names what there is of a feed; "" if the engine does not tell.
func (g Guarded) Generation(ctx context.Context, feed string) (name string, err error) {
	if e, ok := g.Engine.(state.Generational); ok {
		err = call(ctx, func(ctx context.Context) error { name, err = e.Generation(ctx, feed); return err })
	}
	return name, err
}

// Examine is what the engine says of its server, if it can tell.
func (g Guarded) Examine(ctx context.Context) (problem string, err error) {
	if server, ok := g.Engine.(state.Examiner); ok {
		err = call(ctx, func(ctx context.Context) error { problem, err = server.Examine(ctx); return err })
	}
	return problem, err
}

// Get implements state.Engine.
func (g Guarded) Get(ctx context.Context, key string) (value []byte, err error) {
	err = call(ctx, func(ctx context.Context) error { value, err = g.Engine.Get(ctx, key); return err })
	return value, err
}

// Put implements state.Engine.
func (g Guarded) Put(ctx context.Context, key string, value []byte, life time.Duration) error {
	return call(ctx, func(ctx context.Context) error { return g.Engine.Put(ctx, key, value, life) })
}

// Add implements state.Engine.
func (g Guarded) Add(ctx context.Context, key string, value []byte, life time.Duration) (added bool, err error) {
	err = call(ctx, func(ctx context.Context) error { added, err = g.Engine.Add(ctx, key, value, life); return err })
	return added && err == nil, err
}

// Swap implements state.Engine.
func (g Guarded) Swap(ctx context.Context, key string, old, value []byte, life time.Duration) (swapped bool, err error) {
	err = call(ctx, func(ctx context.Context) error { swapped, err = g.Engine.Swap(ctx, key, old, value, life); return err })
	return swapped && err == nil, err
}

// Take implements state.Engine.
func (g Guarded) Take(ctx context.Context, key string) (value []byte, err error) {
	err = call(ctx, func(ctx context.Context) error { value, err = g.Engine.Take(ctx, key); return err })
	return value, err
}

// Count implements state.Engine.
func (g Guarded) Count(ctx context.Context, key string, limit int, window time.Duration) (wait time.Duration, err error) {
	err = call(ctx, func(ctx context.Context) error { wait, err = g.Engine.Count(ctx, key, limit, window); return err })
	return wait, err
}

// Append implements state.Engine.
func (g Guarded) Append(ctx context.Context, feed string, life time.Duration, entries ...[]byte) error {
	return call(ctx, func(ctx context.Context) error { return g.Engine.Append(ctx, feed, life, entries...) })
}

// Next implements state.Engine.
func (g Guarded) Next(ctx context.Context, feed string, position state.Position, wait time.Duration) ([][]byte, state.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+time.Minute) // a part of a long feed takes time
	defer cancel()
	entries, next, err := g.Engine.Next(ctx, feed, position, wait)
	return entries, next, check(err)
}
