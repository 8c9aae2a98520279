package revocation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/state"
)

// Access has the shared state, and the keys that open what is in it.
type Access struct {
	Shared state.Engine
	Keys   *seal.Keys

	// Place names the shared state. Another one than before is no loss.
	Place string

	// KeepSessions makes sessions valid whose revocation may have been lost with the shared state.
	KeepSessions bool

	// Restore, if not nil, stores again what else this instance knows, when the shared state has lost what was stored.
	Restore func()

	// Older, if not nil, is told that an instance which has known the shared state for longer has stored again what it knew.
	Older func()

	// Lost, if not nil, is told that the shared state has lost what was stored, and how many revocations are stored again.
	Lost func(entries int)
}

// An entry of the feed begins with the name of the key that sealed it: so one that is damaged is known from one that
// strangers wrote with another secret on the same state.

// keyNameBytes is as much of the name of a key as stands before an entry.
const keyNameBytes = 8

// keyNames are the names of the keys, the newest first.
func (at Access) keyNames() []string { return at.Keys.IndexNames("revoked part") }

func (at Access) seal(entry Entry) ([]byte, error) {
	plain, err := json.Marshal(entry)
	if err != nil {
		return nil, err
	}
	return append([]byte(at.keyNames()[0][:keyNameBytes]), at.Keys.Revoked.Seal(plain, seal.Context(feed))...), nil
}

var errDamaged = errors.New("a part of the list of ended sessions is damaged: restore it, or delete it, and the sessions that it ended live again")

// open returns what an entry of the feed says; nothing of a stranger's.
func (at Access) open(sealed []byte) ([]Entry, error) {
	if part, ok := bytes.CutPrefix(sealed, []byte(store.OldPart)); ok {
		name, content, _ := bytes.Cut(part, []byte("\n"))
		return at.openPart(string(name), content)
	}
	key := string(sealed[:min(len(sealed), keyNameBytes)])
	isOurs := slices.ContainsFunc(at.keyNames(), func(name string) bool { return name[:keyNameBytes] == key })
	if len(key) == keyNameBytes && !isOurs {
		return nil, nil
	}
	var entry Entry
	plain, ok := at.Keys.Revoked.Open(sealed[len(key):], seal.Context(feed))
	if !ok || json.Unmarshal(plain, &entry) != nil {
		return nil, fmt.Errorf("%w: %w", state.ErrUnavailable, errDamaged)
	}
	return []Entry{entry}, nil
}

// openPart reads a part of Caddy's storage from before the feed had entries: the name of a key, a dot, and a sealed list.
func (at Access) openPart(name string, content []byte) (entries []Entry, err error) {
	key, sealed, ok := bytes.Cut(content, []byte("."))
	if ok && !slices.Contains(at.keyNames(), string(key)) {
		return nil, nil
	}
	plain, ok := at.Keys.Revoked.Open(sealed, seal.Context(name))
	if !ok || json.Unmarshal(plain, &entries) != nil {
		return nil, fmt.Errorf("%w: %w: %s", state.ErrUnavailable, errDamaged, name)
	}
	return entries, nil
}

// kept is how long an entry is kept in the feed from now on: full hours, so that many can be appended together.
func (entry Entry) kept(now time.Time) time.Duration {
	left := time.Unix(entry.Until, 0).Sub(now) + session.ClockSkew
	return max(left, 0).Truncate(time.Hour) + time.Hour
}
