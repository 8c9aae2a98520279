package vippslogin

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// revocations brings the list to all instances, through Caddy's storage. Each instance writes parts of
// its own, so that none waits for a lock of another; all read all parts. A part is closed after a while
// and never changes again.
type revocations struct {
	storage certmagic.Storage
	now     revokedNow

	mu     sync.Mutex // guards the next three; not held while storage works
	parts  map[string]*revokedPart
	own    *revokedPart // the open one; nil before the first
	recent []revocation // added here since now.read was made

	io      sync.Mutex // one pass over storage at a time; guards the rest
	version string
	listed  time.Time
	failed  error // of the last pass
	retry   time.Time
}

// revokedPart is a part of the list.
type revokedPart struct {
	name    string
	entries []revocation
	mine    bool
	stored  int // of mine: how many entries storage has
}

const (
	revokedPrefix = storagePrefix + "/revoked"
	// revokedVersionKey holds a text that changes when any part does: one small read tells whether there
	// is anything new.
	revokedVersionKey = storagePrefix + "/revoked_version"

	// refreshEvery is how often an instance looks for what others have revoked.
	refreshEvery = 3 * time.Second
	// listEvery is how often it looks at all parts, whatever the version says.
	listEvery = time.Minute

	// partLife and partSize close a part.
	partLife = 10 * time.Minute
	partSize = 1000
)

func newRevocations(storage certmagic.Storage) *revocations {
	return &revocations{storage: storage, parts: make(map[string]*revokedPart)}
}

// loaded reads the list where that was never done. Until then there is no telling which sessions are
// good: one that was ended must not live again because storage is away when an instance starts.
func (r *revocations) loaded(ctx context.Context, keys *cookieKeys) error {
	if r.now.read.Load() != nil {
		return nil
	}
	return r.refresh(ctx, keys)
}

// add revokes here at once, and everywhere within refreshEvery after it has returned. With an error it
// does so once storage works again: flush is called until then.
func (r *revocations) add(ctx context.Context, keys *cookieKeys, entry revocation) error {
	now := time.Now()
	r.mu.Lock()
	if r.own == nil || now.Sub(r.own.created()) > partLife || len(r.own.entries) >= partSize {
		r.own = newRevokedPart(now)
		r.parts[r.own.name] = r.own
	}
	r.own.entries = append(r.own.entries, entry)
	r.recent = append(r.recent, entry)
	r.now.added.Store(newRevoked(now, r.recent))
	r.mu.Unlock()
	return r.flush(ctx, keys)
}

func newRevokedPart(now time.Time) *revokedPart {
	random := base64.RawURLEncoding.EncodeToString(randomBytes(9))
	return &revokedPart{name: fmt.Sprintf("%s/%d-%s", revokedPrefix, now.Unix(), random), mine: true}
}

// created is when the part was begun, which its name says.
func (p *revokedPart) created() time.Time {
	seconds, _, _ := strings.Cut(strings.TrimPrefix(p.name, revokedPrefix+"/"), "-")
	unix, _ := strconv.ParseInt(seconds, 10, 64)
	return time.Unix(unix, 0)
}

// closed reports whether nobody adds to the part any more; a minute is for clocks that differ.
func (p *revokedPart) closed(now time.Time) bool { return now.Sub(p.created()) > partLife+time.Minute }

// over reports whether every session that it ended has ended by itself.
func (p *revokedPart) over(now time.Time) bool {
	for _, entry := range p.entries {
		if now.Unix() <= entry.Until+60 {
			return false
		}
	}
	return p.closed(now) && len(p.entries) > 0
}

// flush writes what this instance has added and storage does not have. Who waits here for another's
// write has nothing left to do if that wrote theirs, too.
func (r *revocations) flush(ctx context.Context, keys *cookieKeys) error {
	r.io.Lock()
	defer r.io.Unlock()
	unstored := r.unstored()
	if len(unstored) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageTimeout)
	defer cancel()
	for _, p := range unstored {
		if err := r.storePart(ctx, keys, p); err != nil {
			return err
		}
	}
	version := base64.RawURLEncoding.EncodeToString(randomBytes(9))
	if err := r.storage.Store(ctx, revokedVersionKey, []byte(version)); err != nil {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	return nil
}

// unstored returns copies of the parts that storage does not have whole.
func (r *revocations) unstored() (parts []revokedPart) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.parts {
		if p.mine && p.stored < len(p.entries) {
			parts = append(parts, *p)
		}
	}
	return parts
}

func (r *revocations) storePart(ctx context.Context, keys *cookieKeys, p revokedPart) error {
	plain, err := json.Marshal(p.entries)
	if err != nil {
		return err
	}
	if err := r.storage.Store(ctx, p.name, keys.revoked.seal(plain, sealContext(p.name))); err != nil {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if kept := r.parts[p.name]; kept != nil {
		kept.stored = len(p.entries)
	}
	return nil
}

// refresh reads what others have revoked.
func (r *revocations) refresh(ctx context.Context, keys *cookieKeys) error {
	r.io.Lock()
	defer r.io.Unlock()
	now := time.Now()
	if r.failed != nil && now.Before(r.retry) {
		return r.failed // those who waited do not all try again
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageTimeout)
	defer cancel()
	r.failed = r.read(ctx, keys, now)
	r.retry = now.Add(time.Second)
	return r.failed
}

func (r *revocations) read(ctx context.Context, keys *cookieKeys, now time.Time) error {
	version, err := r.storage.Load(ctx, revokedVersionKey)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	if r.now.read.Load() != nil && string(version) == r.version && now.Sub(r.listed) < listEvery {
		return nil
	}
	names, err := r.storage.List(ctx, revokedPrefix, false)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	var parts []*revokedPart
	for _, name := range names {
		if !strings.HasPrefix(name, revokedPrefix+"/") {
			continue // a storage may list what only begins alike
		}
		p, err := r.readPart(ctx, keys, name, now)
		if err != nil {
			return err
		}
		if p.over(now) {
			_ = r.storage.Delete(ctx, name) // each instance tries; the next pass does, too
			continue
		}
		parts = append(parts, p)
	}
	r.take(parts, now)
	r.version, r.listed = string(version), now
	return nil
}

// readPart returns a part, from memory where it cannot have changed. One that does not open belongs to
// others, who use another secret on the same storage.
func (r *revocations) readPart(ctx context.Context, keys *cookieKeys, name string, now time.Time) (*revokedPart, error) {
	r.mu.Lock()
	known := r.parts[name]
	r.mu.Unlock()
	if known != nil && (known.mine || known.closed(now)) {
		return known, nil
	}
	p := &revokedPart{name: name}
	sealed, err := r.storage.Load(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p, nil // another instance has deleted it
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errStorage, err)
	}
	plain, ok := keys.revoked.open(bytes.Clone(sealed), sealContext(name)) // a storage may keep what it gave
	if ok && json.Unmarshal(plain, &p.entries) != nil {
		return nil, fmt.Errorf("%w: %s is not what we wrote", errStorage, name)
	}
	return p, nil
}

// take makes what was read, and what this instance has added, the list that requests look at.
func (r *revocations) take(read []*revokedPart, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts := make(map[string]*revokedPart, len(read))
	for _, p := range read {
		parts[p.name] = p
	}
	for name, p := range r.parts {
		if p.mine && (p.stored < len(p.entries) || !p.over(now)) {
			parts[name] = p
		}
	}
	r.parts, r.recent = parts, nil
	var lists [][]revocation
	for _, p := range parts {
		lists = append(lists, p.entries)
	}
	r.now.read.Store(newRevoked(now, lists...))
	r.now.added.Store(nil)
}
