package revocation

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/store"
)

// List shares the list with all instances through Caddy's storage. Each instance writes parts of its own, so that none waits
// for a lock of another, and reads all parts. Entries are only ever added to a part, and after a while not even that. A List
// outlives a config: a reload while storage is unavailable forgets nothing.
type List struct {
	Now revokedNow

	mu     sync.Mutex // guards the next three; not held during storage operations
	parts  map[string]*revokedPart
	own    *revokedPart // the one this instance adds to; nil before the first
	recent []Entry      // what now.added is made of

	io       chan struct{} // a semaphore for storage operations, which guards the rest
	from     store.Store
	epoch    string // of the storage, once it was read
	version  string
	untold   bool // a part is stored, and the version not yet changed
	listed   time.Time
	built    time.Time // now.read
	reading  attempt
	flushing attempt
}

// attempt is the outcome of the last pass. Callers that have waited for one that failed do not try again at once: if storage
// hangs, they would all wait for one another.
type attempt struct {
	err   error
	retry time.Time
}

func (a *attempt) do(pass func() error) error {
	if a.err != nil && time.Now().Before(a.retry) {
		return a.err
	}
	a.err = pass()
	a.retry = time.Now().Add(time.Second)
	return a.err
}

// revokedPart is a part of the list.
type revokedPart struct {
	name    string
	entries []Entry
	mine    bool
	began   time.Time // of our own parts: when it was created, by the monotonic clock
	stored  int       // of our own parts: how many entries are stored
}

// Access has the storage of the parts, and the keys that open them.
type Access struct {
	Shared store.Store
	Keys   *seal.Keys
	// Lost, if not nil, is told that the storage is not the one that it was, and how many ended sessions are stored again.
	Lost func(entries int)
}

const (
	folder = store.Prefix + "/revoked"
	// revokedVersionKey has a text that changes with every part: one small read tells whether there is anything new.
	revokedVersionKey = store.Prefix + "/revoked_version"

	// RefreshEvery is the interval at which an instance reads the revocations of others.
	RefreshEvery = 3 * time.Second
	// listEvery is the interval at which it lists all parts, whatever the version is, and rebuilds now.read.
	listEvery = time.Minute

	// partLife and partSize close a part. A closed part is read once.
	partLife = time.Hour
	partSize = 1000

	// readersAtOnce is how many parts are read at the same time, mostly at the start of an instance.
	readersAtOnce = 16

	// logoutWaits is how long a logout waits for storage.
	logoutWaits = 3 * time.Second

	// strangersKept is how long a part with another secret is kept: longer than any session lasts.
	strangersKept = 401 * 24 * time.Hour
)

func NewList() *List {
	return &List{parts: make(map[string]*revokedPart), io: make(chan struct{}, 1)}
}

// withStorage runs pass while no other pass runs. It waits for that as long as ctx, and then ignores ctx, so that it
// continues after the client has left.
func (r *List) withStorage(ctx context.Context, last *attempt, pass func(context.Context) error) error {
	select {
	case r.io <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%w: it takes too long", store.ErrUnavailable)
	}
	defer func() { <-r.io }()
	return last.do(func() error { return pass(context.WithoutCancel(ctx)) })
}

// Loaded reads the list if that was never done. Until then no session is valid: a revoked one must not become valid again
// because storage is unavailable when an instance starts.
func (r *List) Loaded(ctx context.Context, at Access) error {
	if r.Now.read.Load() != nil {
		return nil
	}
	return r.Refresh(ctx, at)
}

// Add revokes sessions at this instance at once, and at all others within RefreshEvery after it has returned. After an error,
// others learn of it once storage works again: Flush is called until then.
func (r *List) Add(ctx context.Context, at Access, entry Entry) error {
	now := time.Now()
	r.mu.Lock()
	if r.own == nil || now.Sub(r.own.began) > partLife || len(r.own.entries) >= partSize {
		r.openPart(now)
	}
	r.own.entries = append(r.own.entries, entry)
	r.recent = append(r.recent, entry)
	r.Now.added.Store(newRevoked(now, r.recent))
	r.mu.Unlock()
	written := make(chan error, 1)
	go func() { written <- r.Flush(context.WithoutCancel(ctx), at) }()
	select {
	case err := <-written:
		return err
	case <-time.After(logoutWaits):
		return fmt.Errorf("%w: it takes too long", store.ErrUnavailable)
	}
}

// openPart returns the open part of this instance, or a new one. mu is held.
func (r *List) openPart(now time.Time) {
	random := base64.RawURLEncoding.EncodeToString(seal.RandomBytes(9))
	r.own = &revokedPart{name: fmt.Sprintf("%s/%d-%s", folder, now.Unix(), random), mine: true, began: now}
	r.parts[r.own.name] = r.own
}

// reopen moves entries that are not stored from a closed part into a new one, since closed parts are not read again. mu is
// held.
func (r *List) reopen(now time.Time) {
	for name, p := range r.parts {
		if !p.mine || p.stored == len(p.entries) || now.Sub(p.began) <= partLife {
			continue
		}
		late := p.entries[p.stored:]
		if p.entries = p.entries[:p.stored:p.stored]; p.stored == 0 {
			delete(r.parts, name)
		}
		r.openPart(now)
		r.own.entries = append(r.own.entries, late...)
	}
}

// created returns when the part was created, by its name.
func (p *revokedPart) created() time.Time {
	seconds, _, _ := strings.Cut(strings.TrimPrefix(p.name, folder+"/"), "-")
	unix, _ := strconv.ParseInt(seconds, 10, 64)
	return time.Unix(unix, 0)
}

// closed reports whether the part is closed, by any clock that is not far off.
func (p *revokedPart) closed(now time.Time) bool {
	return now.Sub(p.created()) > partLife+session.ClockSkew
}

// over reports whether every session that the part revokes has expired. Of a part with another secret, only the age is known.
func (p *revokedPart) over(now time.Time) bool {
	if !p.closed(now) { // first: an open one may be growing right now
		return false
	}
	for _, entry := range p.entries {
		if now.Unix() <= entry.Until+60 {
			return false
		}
	}
	return len(p.entries) > 0 || now.Sub(p.created()) > strangersKept
}

// Flush stores the entries that this instance has added. Callers that wait for another's Flush have nothing left to do if it
// stored theirs as well.
func (r *List) Flush(ctx context.Context, at Access) error {
	return r.withStorage(ctx, &r.flushing, func(ctx context.Context) error { return r.write(ctx, at) })
}

func (r *List) write(ctx context.Context, at Access) error {
	ctx, cancel := context.WithTimeout(ctx, store.Timeout)
	defer cancel()
	for _, p := range r.unstored(time.Now()) {
		if err := r.storePart(ctx, at, p); err != nil {
			return err
		}
		r.untold = true
	}
	if !r.untold {
		return nil
	}
	version := base64.RawURLEncoding.EncodeToString(seal.RandomBytes(9))
	if err := at.Shared.Write(ctx, revokedVersionKey, []byte(version)); err != nil {
		return err
	}
	r.untold = false
	return nil
}

// unstored returns copies of the parts with entries that are not stored.
func (r *List) unstored(now time.Time) (parts []revokedPart) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reopen(now)
	for _, p := range r.parts {
		if p.mine && p.stored < len(p.entries) {
			parts = append(parts, *p)
		}
	}
	return parts
}

// Refresh reads the revocations of other instances.
func (r *List) Refresh(ctx context.Context, at Access) error {
	return r.withStorage(ctx, &r.reading, func(ctx context.Context) error { return r.read(ctx, at, time.Now()) })
}

func (r *List) read(ctx context.Context, at Access, now time.Time) error {
	version, err := at.Shared.Load(ctx, revokedVersionKey)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, store.ErrLost) {
		return err
	}
	never := r.Now.read.Load() == nil
	if err == nil && !never && at.Shared.Same(r.from) && string(version) == r.version && now.Sub(r.listed) < listEvery {
		return nil
	}
	if err := r.readEpoch(ctx, at, now); err != nil {
		return err
	}
	names, err := at.listParts(ctx)
	if err != nil {
		return err
	}
	parts, err := r.readParts(context.WithoutCancel(ctx), at, names, now)
	// Fail closed: a part that could not be read may revoke any session. The others are kept, and the next pass goes on
	// from there.
	r.take(parts, now, err == nil || !never)
	if err == nil {
		r.from, r.version, r.listed = at.Shared, string(version), now
	}
	return err
}

// readParts reads the parts that may have changed, several at once. With the first error, it also returns the parts that it
// could read, and the old copies of the others.
func (r *List) readParts(ctx context.Context, at Access, names []string, now time.Time) ([]*revokedPart, error) {
	parts, failed := make([]*revokedPart, len(names)), make([]error, len(names))
	readers, readCtx := errgroup.WithContext(ctx) // after a failure of storage, the rest is left to the next pass
	readers.SetLimit(readersAtOnce)
	for i, name := range names {
		if !partName.MatchString(name) {
			continue
		}
		r.mu.Lock()
		p := r.parts[name]
		r.mu.Unlock()
		parts[i] = p
		if p == nil || !p.mine && !p.closed(now) && len(p.entries) < partSize {
			readers.Go(func() error {
				entries, err := at.loadPart(readCtx, name)
				switch {
				case err == nil:
					parts[i] = &revokedPart{name: name, entries: entries}
				case errors.Is(err, errDamaged), errors.Is(err, fs.ErrNotExist):
					failed[i] = err // the others count nevertheless
					return nil
				}
				return err
			})
		}
	}
	err := readers.Wait()
	if err == nil {
		err = at.unreadable(ctx, names, failed)
	}
	for i, p := range parts {
		if p != nil && p.over(now) {
			_ = at.Shared.Delete(ctx, p.name) // every instance tries, and so does the next pass
			parts[i] = nil
		}
	}
	return slices.DeleteFunc(parts, func(p *revokedPart) bool { return p == nil }), err
}
