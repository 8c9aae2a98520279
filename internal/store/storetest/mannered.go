package storetest

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/certmagic"
)

// Mannered is a storage with the manners of real storage modules, as they were seen with Redis, S3 and PostgreSQL.
type Mannered struct {
	*Memory
	// Fails says which calls fail, counted from 1. Reads that fail say that there is no such name, as the Redis module does.
	Fails func(call int64) bool
	// ListPrefix stands before every listed name, as with an S3 module.
	ListPrefix string
	// Excludes is false for a lock that neither waits nor excludes, as with a PostgreSQL module.
	Excludes bool

	calls atomic.Int64
}

func (m *Mannered) fails() bool {
	return m.Fails != nil && m.Fails(m.calls.Add(1))
}

// Calls returns how many calls there were.
func (m *Mannered) Calls() int64 { return m.calls.Load() }

// Load implements certmagic.Storage.
func (m *Mannered) Load(ctx context.Context, key string) ([]byte, error) {
	if m.fails() {
		return nil, fs.ErrNotExist
	}
	return m.Memory.Load(ctx, key)
}

// Stat implements certmagic.Storage.
func (m *Mannered) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	if m.fails() {
		return certmagic.KeyInfo{}, fs.ErrNotExist
	}
	return m.Memory.Stat(ctx, key)
}

// List implements certmagic.Storage. A list that breaks off is short.
func (m *Mannered) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	if m.fails() {
		return nil, nil
	}
	names, err := m.Memory.List(ctx, prefix, recursive)
	for i, name := range names {
		names[i] = m.ListPrefix + name
	}
	return names, err
}

// Store implements certmagic.Storage.
func (m *Mannered) Store(ctx context.Context, key string, value []byte) error {
	if m.fails() {
		return errors.New("connection refused")
	}
	return m.Memory.Store(ctx, key, value)
}

// Delete implements certmagic.Storage. Unlike Memory's, it respects its context.
func (m *Mannered) Delete(ctx context.Context, key string) error {
	if m.fails() || ctx.Err() != nil {
		return errors.Join(errors.New("connection refused"), ctx.Err())
	}
	return m.Memory.Delete(ctx, key)
}

// Lock implements certmagic.Storage.
func (m *Mannered) Lock(ctx context.Context, name string) error {
	switch {
	case m.fails():
		return errors.New("connection refused")
	case m.Excludes:
		return m.Memory.Lock(ctx, name)
	}
	return nil
}

// Unlock implements certmagic.Storage.
func (m *Mannered) Unlock(ctx context.Context, name string) error {
	if m.Excludes {
		return m.Memory.Unlock(ctx, name)
	}
	return nil
}

// Outages returns, for each call at which an outage may begin and each length up to most, the calls that fail.
func Outages(calls, most int64, test func(fails func(call int64) bool, first, length int64)) {
	for first := int64(1); first <= calls; first++ {
		for length := int64(1); length <= most; length++ {
			test(func(call int64) bool { return call >= first && call < first+length }, first, length)
		}
	}
}

// Names returns the names of the files under a folder.
func (m *Memory) Names(folder string) (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.Files {
		if strings.HasPrefix(name, folder+"/") {
			names = append(names, name)
		}
	}
	return names
}
