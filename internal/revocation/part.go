package revocation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/store"
)

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
	if err := at.Shared.Write(ctx, p.name, sealed); err != nil {
		return err
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
	stored, err := at.Shared.Load(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // another instance has deleted it
	case err != nil:
		return nil, err
	}
	key, sealed, ok := bytes.Cut(stored, []byte("."))
	if ok && !slices.Contains(at.partKeyNames(), string(key)) {
		return nil, nil
	}
	plain, ok := at.Keys.Revoked.Open(sealed, seal.Context(name))
	if !ok || json.Unmarshal(plain, &entries) != nil {
		return nil, fmt.Errorf("%w: %w: %s", store.ErrUnavailable, errDamaged, name)
	}
	return entries, nil
}

// listParts returns the names of all parts. Caddy's file storage looks at one file of the folder after the
// other, and breaks off where one has gone meanwhile, as another instance's temporary files do: then it is
// asked again, since such a list is not whole.
func (at Access) listParts(ctx context.Context) (names []string, err error) {
	for range 10 {
		if names, err = at.Shared.List(ctx, folder); !errors.Is(err, fs.ErrNotExist) {
			return names, err
		}
	}
	if len(names) > 0 {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return nil, nil // nobody has written any yet
}

// partName is what newRevokedPart makes. Other names are not ours: a storage may list what only begins alike,
// and the file storage's temporary files are in the same folder, those of dead instances for ever.
var partName = regexp.MustCompile(`^` + folder + `/[0-9]+-[A-Za-z0-9_-]+$`)

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
