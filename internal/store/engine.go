package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-vipps/vippslogin/state"
)

// name is where a key is in storage.
func name(key string) string { return Prefix + "/" + key }

// lockOf is the lock of a key.
func lockOf(key string) string { return Prefix + "_" + strings.ReplaceAll(key, "/", "_") }

// expires begins what is stored with an expiry: this, the milliseconds since 1970, and a line break. What does not
// expire is stored as it is, as is what was stored before there was an expiry in it.
const expires = "\x00expires "

// encode adds the expiry to a value.
func encode(value []byte, life time.Duration, now time.Time) []byte {
	if life == state.ForEver && !bytes.HasPrefix(value, []byte(expires)) {
		return value
	}
	until := int64(0)
	if life != state.ForEver {
		until = now.Add(life).UnixMilli()
	}
	return append(fmt.Appendf(nil, "%s%d\n", expires, until), value...)
}

// decode undoes encode. over says that the value has expired; dated that it says when it does.
func decode(stored []byte, now time.Time) (value []byte, dated, over bool) {
	rest, ok := bytes.CutPrefix(stored, []byte(expires))
	if !ok {
		return stored, false, false
	}
	text, value, ok := bytes.Cut(rest, []byte("\n"))
	until, err := strconv.ParseInt(string(text), 10, 64)
	if !ok || err != nil {
		return stored, false, false
	}
	return value, until != 0, until != 0 && now.UnixMilli() >= until
}

// Get implements state.Engine.
func (s Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	stored, err := s.load(ctx, name(key))
	if err != nil {
		return nil, err
	}
	value, _, over := decode(stored, time.Now())
	if over {
		return nil, state.ErrNotFound
	}
	return value, nil
}

// Put implements state.Engine.
func (s Store) Put(ctx context.Context, key string, value []byte, life time.Duration) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return s.Write(ctx, name(key), encode(value, life, time.Now()))
}

// change runs do under the lock of a key, with what is stored under it.
func (s Store) change(ctx context.Context, key string, do func(ctx context.Context, stored []byte, err error) error) error {
	return s.WithLock(ctx, lockOf(key), LockTimeout, func(ctx context.Context) error {
		stored, err := s.Get(ctx, key)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return err
		}
		return do(ctx, stored, err)
	})
}

// Add implements state.Engine.
func (s Store) Add(ctx context.Context, key string, value []byte, life time.Duration) (added bool, err error) {
	err = s.change(ctx, key, func(ctx context.Context, stored []byte, err error) error {
		if err == nil {
			added = bytes.Equal(stored, value)
			return nil
		}
		added = true
		return s.Put(ctx, key, value, life)
	})
	return added && err == nil, err
}

// Swap implements state.Engine.
func (s Store) Swap(ctx context.Context, key string, old, value []byte, life time.Duration) (swapped bool, err error) {
	err = s.change(ctx, key, func(ctx context.Context, stored []byte, err error) error {
		if err != nil || !bytes.Equal(stored, old) {
			swapped = err == nil && bytes.Equal(stored, value)
			return nil
		}
		swapped = true
		return s.Put(ctx, key, value, life)
	})
	return swapped && err == nil, err
}

// Take implements state.Engine.
func (s Store) Take(ctx context.Context, key string) (taken []byte, err error) {
	err = s.change(ctx, key, func(ctx context.Context, stored []byte, err error) error {
		if err != nil {
			return err
		}
		taken = stored
		return s.Delete(ctx, name(key))
	})
	if err != nil {
		return nil, err
	}
	return taken, nil
}

// Count implements state.Engine. The value is the times of the events that were counted, in JSON.
func (s Store) Count(ctx context.Context, key string, limit int, window time.Duration) (wait time.Duration, err error) {
	err = s.change(ctx, key, func(ctx context.Context, stored []byte, err error) error {
		var counted, recent []time.Time
		if err == nil && json.Unmarshal(stored, &counted) != nil {
			return fmt.Errorf("%w: %s cannot be read", ErrUnavailable, name(key))
		}
		now := time.Now()
		for _, at := range counted {
			if now.Sub(at) < window {
				recent = append(recent, at)
			}
		}
		if len(recent) >= limit {
			wait = window - now.Sub(recent[len(recent)-limit])
			return nil
		}
		content, err := json.Marshal(append(recent, now))
		if err != nil {
			return err
		}
		return s.Put(ctx, key, content, window)
	})
	return wait, err
}

// Interface guard
var _ state.Engine = Store{}
