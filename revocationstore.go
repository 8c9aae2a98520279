package vippslogin

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// revocations brings the list to all instances, through Caddy's storage. Each instance writes parts of
// its own, so that none waits for a lock of another; all read all parts. A part is only ever added to,
// and after a while not even that. What an instance knows outlives its configs (pool.go): a reload while
// storage is away forgets nothing.
type revocations struct {
	now revokedNow

	mu     sync.Mutex // guards the next three; not held while storage works
	parts  map[string]*revokedPart
	own    *revokedPart // the one this instance adds to; nil before the first
	recent []revocation // what now.added is made of

	io      sync.Mutex // one pass over storage at a time; guards the rest
	from    certmagic.Storage
	version string
	listed  time.Time
	built   time.Time // now.read
	failed  error     // of the last pass
	retry   time.Time
}

// revokedPart is a part of the list.
type revokedPart struct {
	name    string
	entries []revocation
	mine    bool
	stored  int // of mine: how many entries storage has
}

// revocationAccess is where the parts are, and what opens them.
type revocationAccess struct {
	storage certmagic.Storage
	keys    *cookieKeys
}

const (
	revokedPrefix = storagePrefix + "/revoked"
	// revokedVersionKey holds a text that changes when any part does: one small read tells whether there
	// is anything new.
	revokedVersionKey = storagePrefix + "/revoked_version"

	// refreshEvery is how often an instance looks for what others have revoked.
	refreshEvery = 3 * time.Second
	// listEvery is how often it looks at all parts, whatever the version says, and makes now.read anew.
	listEvery = time.Minute

	// partLife and partSize end the additions to a part.
	partLife = 10 * time.Minute
	partSize = 1000

	// strangersKept is how long a part stays that nobody here can read: longer than any session lasts.
	strangersKept = 401 * 24 * time.Hour
)

func newRevocations() *revocations { return &revocations{parts: make(map[string]*revokedPart)} }

// loaded reads the list where that was never done. Until then there is no telling which sessions are
// good: one that was ended must not live again because storage is away when an instance starts.
func (r *revocations) loaded(ctx context.Context, at revocationAccess) error {
	if r.now.read.Load() != nil {
		return nil
	}
	return r.refresh(ctx, at)
}

// add revokes here at once, and everywhere within refreshEvery after it has returned. With an error it
// does so once storage works again: flush is called until then.
func (r *revocations) add(ctx context.Context, at revocationAccess, entry revocation) error {
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
	return r.flush(ctx, at)
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

// flush writes what this instance has added and storage does not have. Who waits here for another's
// write has nothing left to do if that wrote theirs, too.
func (r *revocations) flush(ctx context.Context, at revocationAccess) error {
	r.io.Lock()
	defer r.io.Unlock()
	unstored := r.unstored()
	if len(unstored) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageTimeout)
	defer cancel()
	for _, p := range unstored {
		if err := r.storePart(ctx, at, p); err != nil {
			return err
		}
	}
	version := base64.RawURLEncoding.EncodeToString(randomBytes(9))
	if err := at.storage.Store(ctx, revokedVersionKey, []byte(version)); err != nil {
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

// A stored part is the name of the key that sealed it, a dot, and the sealed entries: so a part that is
// damaged is known from one that strangers wrote with another secret on the same storage.

// partKeyNames are the names of the keys, the newest first.
func (at revocationAccess) partKeyNames() []string { return at.keys.indexNames("revoked part") }

func (r *revocations) storePart(ctx context.Context, at revocationAccess, p revokedPart) error {
	plain, err := json.Marshal(p.entries)
	if err != nil {
		return err
	}
	sealed := append([]byte(at.partKeyNames()[0]+"."), at.keys.revoked.seal(plain, sealContext(p.name))...)
	if err := at.storage.Store(ctx, p.name, sealed); err != nil {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if kept := r.parts[p.name]; kept != nil {
		kept.stored = len(p.entries)
	}
	return nil
}

// loadPart reads the entries of a part; none of a stranger's.
func (at revocationAccess) loadPart(ctx context.Context, name string) (entries []revocation, err error) {
	stored, err := at.storage.Load(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // another instance has deleted it
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errStorage, err)
	}
	key, sealed, ok := bytes.Cut(bytes.Clone(stored), []byte(".")) // a storage may keep what it gave
	if ok && !slices.Contains(at.partKeyNames(), string(key)) {
		return nil, nil
	}
	plain, ok := at.keys.revoked.open(sealed, sealContext(name))
	if !ok || json.Unmarshal(plain, &entries) != nil {
		return nil, fmt.Errorf("%w: %s is damaged: restore it, or delete it, and the sessions that it ended live again", errStorage, name)
	}
	return entries, nil
}

// refresh reads what others have revoked.
func (r *revocations) refresh(ctx context.Context, at revocationAccess) error {
	r.io.Lock()
	defer r.io.Unlock()
	now := time.Now()
	if r.failed != nil && now.Before(r.retry) {
		return r.failed // those who waited do not all try again
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageTimeout)
	defer cancel()
	r.failed = r.read(ctx, at, now)
	r.retry = now.Add(time.Second)
	return r.failed
}

func (r *revocations) read(ctx context.Context, at revocationAccess, now time.Time) error {
	version, err := at.storage.Load(ctx, revokedVersionKey)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	never := r.now.read.Load() == nil
	if !never && at.storage == r.from && string(version) == r.version && now.Sub(r.listed) < listEvery {
		return nil
	}
	names, err := at.listParts(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	parts, err := r.readParts(ctx, at, names, now)
	if err != nil && never {
		return err // fail closed: what could not be read may have ended any session
	}
	r.take(parts, now)
	if err == nil {
		r.from, r.version, r.listed = at.storage, string(version), now
	}
	return err
}

// listParts returns the names of all parts. Caddy's file storage looks at one file of the folder after the
// other, and breaks off where one has gone meanwhile, as another instance's temporary files do: then it is
// asked again, since such a list is not whole.
func (at revocationAccess) listParts(ctx context.Context) (names []string, err error) {
	for range 10 {
		if names, err = at.storage.List(ctx, revokedPrefix, false); !errors.Is(err, fs.ErrNotExist) {
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
var partName = regexp.MustCompile(`^` + revokedPrefix + `/[0-9]+-[A-Za-z0-9_-]+$`)

// readParts reads what may have changed. With an error it returns the others, and what it knew of the one
// that could not be read.
func (r *revocations) readParts(ctx context.Context, at revocationAccess, names []string, now time.Time) (parts []*revokedPart, failed error) {
	for _, name := range names {
		if !partName.MatchString(name) {
			continue
		}
		r.mu.Lock()
		p := r.parts[name]
		r.mu.Unlock()
		if p == nil || !p.mine && !p.closed(now) && len(p.entries) < partSize {
			entries, err := at.loadPart(ctx, name)
			failed = errors.Join(failed, err)
			if err == nil {
				p = &revokedPart{name: name, entries: entries}
			}
		}
		switch {
		case p == nil:
		case p.over(now):
			_ = at.storage.Delete(ctx, name) // each instance tries; the next pass does, too
		default:
			parts = append(parts, p)
		}
	}
	return parts, failed
}

// take makes what was read known to requests. The whole list is made anew now and then only: what has come
// since the last time is little.
func (r *revocations) take(read []*revokedPart, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts := make(map[string]*revokedPart, len(read))
	for _, p := range read {
		if known := r.parts[p.name]; known == nil {
			r.recent = append(r.recent, p.entries...)
		} else if !p.mine && len(p.entries) > len(known.entries) {
			r.recent = append(r.recent, p.entries[len(known.entries):]...)
		}
		parts[p.name] = p
	}
	for name, p := range r.parts {
		if p.mine && (p.stored < len(p.entries) || !p.over(now)) {
			parts[name] = p
		}
	}
	r.parts = parts
	if r.now.read.Load() == nil || now.Sub(r.built) >= listEvery {
		r.rebuild(now)
	}
	r.now.added.Store(newRevoked(now, r.recent))
}

// rebuild makes now.read of all parts. It lets go of mu meanwhile: nobody's logout waits for it.
func (r *revocations) rebuild(now time.Time) {
	var lists [][]revocation
	for _, p := range r.parts {
		lists = append(lists, p.entries)
	}
	taken := len(r.recent)
	r.mu.Unlock()
	all := newRevoked(now, lists...)
	r.mu.Lock()
	r.now.read.Store(all)
	r.recent, r.built = slices.Clone(r.recent[taken:]), now
}
