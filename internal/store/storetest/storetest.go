// Package storetest has a storage for tests.
package storetest

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-vipps/vippslogin/internal/store"
)

// Memory is a storage that can be away, and counts what it is asked for.
type Memory struct {
	certmagic.Storage
	mu   sync.Mutex
	away bool
	// Refuse is a key that cannot be stored; after BreaksAfter calls, nothing can be loaded (0: always).
	Refuse      string
	BreaksAfter int
	Files       map[string][]byte
	calls       map[string]int
	locks       map[string]chan struct{}
}

// New returns a storage that has its epoch, and nothing else.
func New() *Memory {
	return &Memory{
		Files: map[string][]byte{store.CanaryKey: []byte("0 0 - test")}, calls: map[string]int{}, locks: map[string]chan struct{}{},
	}
}

func (m *Memory) call(name string) error {
	m.calls[name]++
	if m.away {
		return errors.New("away")
	}
	return nil
}

// Store implements certmagic.Storage.
func (m *Memory) Store(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("store"); err != nil || key == m.Refuse {
		err = errors.Join(err, errors.New("refused"))
		return err
	}
	m.Files[key] = value
	return nil
}

// Load implements certmagic.Storage.
func (m *Memory) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("load"); err != nil {
		return nil, err
	}
	if m.BreaksAfter > 0 && m.calls["load"] > m.BreaksAfter {
		return nil, errors.New("broken off")
	}
	if value, ok := m.Files[key]; ok {
		return value, nil
	}
	return nil, fs.ErrNotExist
}

// Delete implements certmagic.Storage.
func (m *Memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.Files, key)
	return m.call("delete")
}

// List lists every name that begins with prefix, as some storages do, whatever a folder is.
func (m *Memory) List(_ context.Context, prefix string, _ bool) (names []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.Files {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, m.call("list")
}

// SetAway makes every call fail, or none, and forgets what was counted.
func (m *Memory) SetAway(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
	clear(m.calls)
}

// Count returns how many files there are, and how often each operation was asked for.
func (m *Memory) Count() (files int, calls map[string]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls = map[string]int{}
	for name, n := range m.calls {
		calls[name] = n
	}
	return len(m.Files), calls
}

// Lock implements certmagic.Storage.
func (m *Memory) Lock(ctx context.Context, name string) error {
	m.mu.Lock()
	err := m.call("lock")
	if m.locks[name] == nil {
		m.locks[name] = make(chan struct{}, 1)
	}
	lock := m.locks[name]
	m.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Unlock implements certmagic.Storage.
func (m *Memory) Unlock(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	<-m.locks[name]
	return nil
}

// Stat implements certmagic.Storage. It knows no times.
func (m *Memory) Stat(_ context.Context, key string) (certmagic.KeyInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("stat"); err != nil {
		return certmagic.KeyInfo{}, err
	}
	value, ok := m.Files[key]
	if !ok {
		return certmagic.KeyInfo{}, fs.ErrNotExist
	}
	return certmagic.KeyInfo{Key: key, Size: int64(len(value)), IsTerminal: true}, nil
}
