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

// List brings the list to all instances, through Caddy's storage. Each instance writes parts of
// its own, so that none waits for a lock of another; all read all parts. A part is only ever added to,
// and after a while not even that. What an instance knows outlives its configs (pool.go): a reload while
// storage is away forgets nothing.
type List struct {
	Now revokedNow

	mu     sync.Mutex // guards the next three; not held while storage works
	parts  map[string]*revokedPart
	own    *revokedPart // the one this instance adds to; nil before the first
	recent []Entry      // what now.added is made of

	io       chan struct{} // holds one element while somebody works with storage, who alone touches the rest
	from     store.Store
	version  string
	untold   bool // a part is stored, and the version does not say so yet
	listed   time.Time
	built    time.Time // now.read
	reading  attempt
	flushing attempt
}

// attempt is how the last pass ended. Who has waited for one that failed does not try again at once: where
// storage hangs, all who come would wait for one another.
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
	began   time.Time // of mine: created, by a clock that nobody sets
	stored  int       // of mine: how many entries storage has
}

// Access is where the parts are, and what opens them.
type Access struct {
	Shared store.Store
	Keys   *seal.Keys
}

const (
	folder = store.Prefix + "/revoked"
	// revokedVersionKey holds a text that changes when any part does: one small read tells whether there
	// is anything new.
	revokedVersionKey = store.Prefix + "/revoked_version"

	// RefreshEvery is how often an instance looks for what others have revoked.
	RefreshEvery = 3 * time.Second
	// listEvery is how often it looks at all parts, whatever the version says, and makes now.read anew.
	listEvery = time.Minute

	// partLife and partSize end the additions to a part, after which nobody reads it a second time.
	partLife = time.Hour
	partSize = 1000

	// readersAtOnce is how many parts are read at the same time, when an instance starts above all.
	readersAtOnce = 16

	// logoutWaits is how long somebody waits until an end is written down.
	logoutWaits = 3 * time.Second

	// strangersKept is how long a part stays that nobody here can read: longer than any session lasts.
	strangersKept = 401 * 24 * time.Hour
)

func NewList() *List {
	return &List{parts: make(map[string]*revokedPart), io: make(chan struct{}, 1)}
}

// withStorage runs pass alone. It waits for its turn as long as ctx, and goes on when the client has left.
func (r *List) withStorage(ctx context.Context, last *attempt, pass func(context.Context) error) error {
	select {
	case r.io <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%w: it takes too long", store.ErrUnavailable)
	}
	defer func() { <-r.io }()
	return last.do(func() error { return pass(context.WithoutCancel(ctx)) })
}

// Loaded reads the list where that was never done. Until then there is no telling which sessions are
// good: one that was ended must not live again because storage is away when an instance starts.
func (r *List) Loaded(ctx context.Context, at Access) error {
	if r.Now.read.Load() != nil {
		return nil
	}
	return r.Refresh(ctx, at)
}

// Add revokes here at once, and everywhere within RefreshEvery after it has returned. With an error it
// does so once storage works again: flush is called until then.
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

// openPart begins a part of this instance. mu is held.
func (r *List) openPart(now time.Time) {
	random := base64.RawURLEncoding.EncodeToString(seal.RandomBytes(9))
	r.own = &revokedPart{name: fmt.Sprintf("%s/%d-%s", folder, now.Unix(), random), mine: true, began: now}
	r.parts[r.own.name] = r.own
}

// reopen moves what an old part of ours has and storage has not into a new one: nobody reads an old part
// again. mu is held.
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

// created is when the part was begun, which its name says.
func (p *revokedPart) created() time.Time {
	seconds, _, _ := strings.Cut(strings.TrimPrefix(p.name, folder+"/"), "-")
	unix, _ := strconv.ParseInt(seconds, 10, 64)
	return time.Unix(unix, 0)
}

// closed reports whether nobody adds to the part any more, by any clock that is not far off.
func (p *revokedPart) closed(now time.Time) bool {
	return now.Sub(p.created()) > partLife+session.ClockSkew
}

// over reports whether every session that it ended has ended by itself. One that strangers wrote says
// nothing but its age.
func (p *revokedPart) over(now time.Time) bool {
	if !p.closed(now) { // first: an open one may be added to at this moment
		return false
	}
	for _, entry := range p.entries {
		if now.Unix() <= entry.Until+60 {
			return false
		}
	}
	return len(p.entries) > 0 || now.Sub(p.created()) > strangersKept
}

// Flush writes what this instance has added and storage does not have. Who waits here for another's
// write has nothing left to do if that wrote theirs, too.
func (r *List) Flush(ctx context.Context, at Access) error {
	return r.withStorage(ctx, &r.flushing, func(ctx context.Context) error {
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
	})
}

// unstored returns copies of the parts that storage does not have whole.
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

// Refresh reads what others have revoked.
func (r *List) Refresh(ctx context.Context, at Access) error {
	return r.withStorage(ctx, &r.reading, func(ctx context.Context) error { return r.read(ctx, at, time.Now()) })
}

func (r *List) read(ctx context.Context, at Access, now time.Time) error {
	version, err := at.Shared.Load(ctx, revokedVersionKey)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	never := r.Now.read.Load() == nil
	if !never && at.Shared.Same(r.from) && string(version) == r.version && now.Sub(r.listed) < listEvery {
		return nil
	}
	names, err := at.listParts(ctx)
	if err != nil {
		return err
	}
	parts, err := r.readParts(context.WithoutCancel(ctx), at, names, now)
	// Fail closed: what could not be read may have ended any session. What could is kept, and the next pass
	// goes on from there.
	r.take(parts, now, err == nil || !never)
	if err == nil {
		r.from, r.version, r.listed = at.Shared, string(version), now
	}
	return err
}

// readParts reads what may have changed, several at once. With an error, the first of them, it returns what
// it could read, and what it knew of the others.
func (r *List) readParts(ctx context.Context, at Access, names []string, now time.Time) ([]*revokedPart, error) {
	parts, damaged := make([]*revokedPart, len(names)), make([]error, len(names))
	readers, ctx := errgroup.WithContext(ctx) // where storage fails, the rest is left to the next pass
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
				entries, err := at.loadPart(ctx, name)
				switch {
				case err == nil:
					parts[i] = &revokedPart{name: name, entries: entries}
				case errors.Is(err, errDamaged):
					damaged[i] = err // and the others count all the same
					return nil
				}
				return err
			})
		}
	}
	err := readers.Wait()
	if i := slices.IndexFunc(damaged, func(err error) bool { return err != nil }); err == nil && i >= 0 {
		err = damaged[i]
	}
	for i, p := range parts {
		if p != nil && p.over(now) {
			_ = at.Shared.Delete(ctx, p.name) // each instance tries; the next pass does, too
			parts[i] = nil
		}
	}
	return slices.DeleteFunc(parts, func(p *revokedPart) bool { return p == nil }), err
}
