package revocation

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
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
	from     certmagic.Storage
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
	Storage certmagic.Storage
	Keys    *seal.Keys
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
		if err := at.Storage.Store(ctx, revokedVersionKey, []byte(version)); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
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

// A stored part is the name of the key that sealed it, a dot, and the sealed entries: so a part that is
// damaged is known from one that strangers wrote with another secret on the same storage.

// partKeyNames are the names of the keys, the newest first.
func (at Access) partKeyNames() []string { return at.Keys.IndexNames("revoked part") }

func (r *List) storePart(ctx context.Context, at Access, p revokedPart) error {
	plain, err := json.Marshal(p.entries)
	if err != nil {
		return err
	}
	sealed := append([]byte(at.partKeyNames()[0]+"."), at.Keys.Revoked.Seal(plain, seal.Context(p.name))...)
	if err := at.Storage.Store(ctx, p.name, sealed); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if kept := r.parts[p.name]; kept != nil {
		kept.stored = len(p.entries)
	}
	return nil
}

var errDamaged = errors.New("a part of the list of ended sessions is damaged: restore it, or delete it, and the sessions that it ended live again")

// loadPart reads the entries of a part; none of a stranger's.
func (at Access) loadPart(ctx context.Context, name string) (entries []Entry, err error) {
	ctx, cancel := context.WithTimeout(ctx, store.Timeout)
	defer cancel()
	stored, err := at.Storage.Load(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // another instance has deleted it
	case err != nil:
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	key, sealed, ok := bytes.Cut(bytes.Clone(stored), []byte(".")) // a storage may keep what it gave
	if ok && !slices.Contains(at.partKeyNames(), string(key)) {
		return nil, nil
	}
	plain, ok := at.Keys.Revoked.Open(sealed, seal.Context(name))
	if !ok || json.Unmarshal(plain, &entries) != nil {
		return nil, fmt.Errorf("%w: %w: %s", store.ErrUnavailable, errDamaged, name)
	}
	return entries, nil
}

// Refresh reads what others have revoked.
func (r *List) Refresh(ctx context.Context, at Access) error {
	return r.withStorage(ctx, &r.reading, func(ctx context.Context) error { return r.read(ctx, at, time.Now()) })
}

func (r *List) read(ctx context.Context, at Access, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, store.Timeout)
	defer cancel()
	version, err := at.Storage.Load(ctx, revokedVersionKey)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	never := r.Now.read.Load() == nil
	if !never && sameStorage(at.Storage, r.from) && string(version) == r.version && now.Sub(r.listed) < listEvery {
		return nil
	}
	names, err := at.listParts(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	parts, err := r.readParts(context.WithoutCancel(ctx), at, names, now)
	// Fail closed: what could not be read may have ended any session. What could is kept, and the next pass
	// goes on from there.
	r.take(parts, now, err == nil || !never)
	if err == nil {
		r.from, r.version, r.listed = at.Storage, string(version), now
	}
	return err
}

// sameStorage compares what may be of a type that cannot be compared.
func sameStorage(a, b certmagic.Storage) bool { return reflect.TypeOf(a).Comparable() && a == b }

// listParts returns the names of all parts. Caddy's file storage looks at one file of the folder after the
// other, and breaks off where one has gone meanwhile, as another instance's temporary files do: then it is
// asked again, since such a list is not whole.
func (at Access) listParts(ctx context.Context) (names []string, err error) {
	for range 10 {
		if names, err = at.Storage.List(ctx, folder, false); !errors.Is(err, fs.ErrNotExist) {
			return names, err
		}
	}
	if len(names) > 0 {
		return nil, err
	}
	return nil, nil // nobody has written any yet
}

// partName is what newRevokedPart makes. Other names are not ours: a storage may list what only begins alike,
// and the file storage's temporary files are in the same folder, those of dead instances for ever.
var partName = regexp.MustCompile(`^` + folder + `/[0-9]+-[A-Za-z0-9_-]+$`)

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
			_ = at.Storage.Delete(ctx, p.name) // each instance tries; the next pass does, too
			parts[i] = nil
		}
	}
	return slices.DeleteFunc(parts, func(p *revokedPart) bool { return p == nil }), err
}

// take makes what was read known to requests; whole says that nothing is missing. The whole list is made
// anew now and then only: what has come since the last time is little.
func (r *List) take(read []*revokedPart, now time.Time, whole bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range read {
		switch known := r.parts[p.name]; {
		case known == nil:
			r.recent = append(r.recent, p.entries...)
		case !p.mine && len(p.entries) > len(known.entries):
			r.recent = append(r.recent, p.entries[len(known.entries):]...)
		case !p.mine:
			continue // a part only grows: less is an older copy
		}
		r.parts[p.name] = p
	}
	// What is not in storage any more is not forgotten for that: it may be the wrong folder.
	maps.DeleteFunc(r.parts, func(_ string, p *revokedPart) bool {
		return p.over(now) && (!p.mine || p.stored == len(p.entries))
	})
	if whole && (r.Now.read.Load() == nil || now.Sub(r.built) >= listEvery) {
		r.rebuild(now)
	}
	r.Now.added.Store(newRevoked(now, r.recent))
}

// rebuild makes now.read of all parts. It lets go of mu meanwhile: nobody's logout waits for it.
func (r *List) rebuild(now time.Time) {
	var lists [][]Entry
	for _, p := range r.parts {
		lists = append(lists, p.entries)
	}
	taken := len(r.recent)
	r.mu.Unlock()
	all := newRevoked(now, lists...)
	r.mu.Lock()
	r.Now.read.Store(all)
	r.recent, r.built = slices.Clone(r.recent[taken:]), now
}
