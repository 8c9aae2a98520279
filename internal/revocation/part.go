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

// A stored part is the name of the key that sealed it, a dot, and the sealed entries. This tells a damaged part from one that
// other instances wrote with another secret on the same storage.

// partKeyNames returns the names of the keys, the newest first.
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

// unreadable returns the first failure of the parts with these names. A part that is absent is none if another instance has
// deleted it since it was listed.
func (at Access) unreadable(ctx context.Context, names []string, failed []error) error {
	var listed []string
	for i, err := range failed {
		if err == nil {
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if listed == nil {
			if listed, err = at.listParts(ctx); err != nil {
				return err
			}
		}
		if slices.Contains(listed, names[i]) {
			return fmt.Errorf("%w: it lists %s, and has nothing of that name", store.ErrUnavailable, names[i])
		}
	}
	return nil
}

// loadPart reads the entries of a part. A part with another secret has none.
func (at Access) loadPart(ctx context.Context, name string) (entries []Entry, err error) {
	stored, err := at.Shared.Load(ctx, name)
	if err != nil {
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

// listParts returns the names of all parts. Caddy's file storage fails if a file is removed while it lists the folder, as
// another instance's temporary files are: then it is asked again, since such a list may be incomplete. So is one without the
// storage's epoch, which is in the folder.
func (at Access) listParts(ctx context.Context) (names []string, err error) {
	for range 10 {
		if names, err = at.Shared.List(ctx, folder); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	case err != nil:
		return nil, err
	case !slices.Contains(names, store.EpochKey):
		return nil, fmt.Errorf("%w: its list of %s/ is incomplete, or has other names than were stored: %s is not in it", store.ErrUnavailable, folder, store.EpochKey)
	}
	return names, nil
}

// partName matches the names that newRevokedPart makes. Some storages list names that only begin with the folder's, and the
// file storage has temporary files in the same folder, those of dead instances for ever.
var partName = regexp.MustCompile(`^` + folder + `/[0-9]+-[A-Za-z0-9_-]+$`)

// take puts the parts that were read into service; whole says that none is missing. The whole list is rebuilt now and then
// only, since few entries are added in between.
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
			continue // a part only grows: a shorter one is an older copy
		}
		r.parts[p.name] = p
	}
	// Parts that are gone from storage are not forgotten: it may be the wrong folder.
	maps.DeleteFunc(r.parts, func(_ string, p *revokedPart) bool {
		return p.over(now) && (!p.mine || p.stored == len(p.entries))
	})
	if whole && (r.Now.read.Load() == nil || now.Sub(r.built) >= listEvery) {
		r.rebuild(now)
	}
	r.Now.added.Store(newRevoked(now, r.recent))
}

// rebuild builds now.read from all parts. It releases mu while it works, so that no logout waits.
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
