package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddy-vipps/vippslogin/state"
)

const (
	// lookEvery is how often Next looks for what others have added.
	lookEvery = 3 * time.Second
	// listEvery is how often it looks at all parts, whatever the version says.
	listEvery = time.Minute

	// readersAtOnce is how many parts are read at the same time, and partsAtOnce how many before Next returns.
	readersAtOnce = 16
	partsAtOnce   = 128

	// undatedKept is how long a part stays that does not say when it is over, or holds nothing: longer than any session
	// lasts.
	undatedKept = 401 * 24 * time.Hour
)

// OldPart begins the one entry of a part that was written before parts had entries. The name of the part follows, a
// line break, and the whole part.
const OldPart = "part "

var errDamaged = errors.New("a part of the list of ended sessions is damaged: restore it, or delete it, and the sessions that it ended live again")

// cursor is a position in a feed.
type cursor struct {
	version string
	listed  time.Time           // zero: not everything was read
	parts   map[string]partRead // by name
}

// partRead is how far a part was read.
type partRead struct {
	entries int
	sum     uint64 // of them: a part is only ever added to, unless it was damaged
	until   int64  // when the last of them is over, in seconds since 1970
	undated bool
}

var sumSeed = maphash.MakeSeed()

func sumOf(entries []partEntry) uint64 {
	var hash maphash.Hash
	hash.SetSeed(sumSeed)
	for _, entry := range entries {
		hash.Write(entry.Value)
	}
	return hash.Sum64()
}

// take returns the entries of a part that are new. What was read and is another now is new as well. shorter says that the
// part has lost some, as one that comes from a backup.
func (r *partRead) take(entries []partEntry, now time.Time) (more [][]byte, shorter bool) {
	switch known := r.entries; {
	case len(entries) < known:
		return nil, r.until > now.Unix()
	case sumOf(entries[:known]) != r.sum:
		r.entries = 0
	}
	for _, entry := range entries[r.entries:] {
		more = append(more, entry.Value)
		r.until = max(r.until, entry.Until)
		r.undated = r.undated || entry.Until == 0
	}
	r.entries, r.sum = len(entries), sumOf(entries)
	return more, false
}

// Next implements state.Engine.
func (s Store) Next(ctx context.Context, feed string, position state.Position, wait time.Duration) ([][]byte, state.Position, error) {
	at, _ := position.(*cursor)
	if at == nil {
		at = new(cursor)
	}
	for deadline := time.Now().Add(wait); ; {
		if err := ctx.Err(); err != nil {
			return nil, at, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		entries, next, err := s.look(ctx, feed, at, time.Now())
		pause := min(lookEvery, time.Until(deadline))
		if err != nil || len(entries) > 0 || !next.listed.IsZero() && pause <= 0 {
			return entries, next, err
		}
		if at = next; at.listed.IsZero() {
			continue // there is more
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// look reads what has come since at. Fail closed: a part that cannot be read may have ended any session. What can be
// read is returned first, and the error when nothing else is left.
func (s Store) look(ctx context.Context, feed string, at *cursor, now time.Time) ([][]byte, *cursor, error) {
	stored, err := s.Load(ctx, versionOf(feed))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, at, err
	}
	version := string(stored)
	if !at.listed.IsZero() && version == at.version && now.Sub(at.listed) < listEvery {
		return nil, at, nil
	}
	names, err := s.listParts(ctx, feed)
	if err != nil {
		return nil, at, err
	}
	listed := make(map[string]bool, len(names))
	for _, name := range names {
		listed[name] = true
	}
	for name, read := range at.parts {
		if read.until > now.Unix() && !listed[name] {
			return nil, at, fmt.Errorf("%w: %s is not there", state.ErrLost, name)
		}
	}
	unread := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !at.mayHaveMore(name, now) })
	more := len(unread) > partsAtOnce
	if more {
		unread = unread[:partsAtOnce]
	}
	entries, next, err := s.readParts(ctx, at, unread, listed)
	if !more && err == nil {
		next.version, next.listed = version, now
	}
	if len(entries) > 0 {
		err = nil // the next look comes back to it
	}
	if err == nil {
		s.deleteOver(ctx, next, now)
	}
	return entries, next, err
}

// listParts returns the names of all parts, the oldest first. Some storages list names that only begin with the folder's, and
// the file storage has temporary files in the same folder, those of dead instances for ever.
func (s Store) listParts(ctx context.Context, feed string) ([]string, error) {
	names, err := s.listWhole(ctx, name(feed))
	if err != nil {
		return nil, err
	}
	isPart := regexp.MustCompile(`^` + name(feed) + `/[0-9]+-[A-Za-z0-9_-]+$`)
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !isPart.MatchString(name) })
	slices.Sort(names)
	return names, nil
}

// mayHaveMore reports whether a part may have entries that were not read.
func (c *cursor) mayHaveMore(name string, now time.Time) bool {
	read, known := c.parts[name]
	return !known || !read.undated && read.entries < partSize && now.Sub(began(name)) <= partLife+clockSkew
}

// began is when a part was begun, which its name says.
func began(name string) time.Time {
	_, base, _ := strings.Cut(strings.TrimPrefix(name, Prefix+"/"), "/")
	seconds, _, _ := strings.Cut(base, "-")
	unix, _ := strconv.ParseInt(seconds, 10, 64)
	return time.Unix(unix, 0)
}

// readParts reads parts, several at once, and returns their new entries and the position behind those that it could
// read.
func (s Store) readParts(ctx context.Context, at *cursor, names []string, listed map[string]bool) (entries [][]byte, next *cursor, err error) {
	parts, errs := make([]*part, len(names)), make([]error, len(names))
	var readers errgroup.Group
	readers.SetLimit(readersAtOnce)
	for i, name := range names {
		readers.Go(func() error {
			parts[i], errs[i] = s.loadPart(ctx, name)
			return nil
		})
	}
	_ = readers.Wait()
	next = &cursor{parts: maps.Clone(at.parts)}
	if next.parts == nil {
		next.parts = make(map[string]partRead)
	}
	for name := range next.parts {
		if !listed[name] {
			delete(next.parts, name) // it is over
		}
	}
	for i, p := range parts {
		if p == nil {
			continue
		}
		read := next.parts[names[i]]
		more, shorter := read.take(p.Entries, time.Now())
		if shorter {
			return nil, at, fmt.Errorf("%w: %s is shorter than it was", state.ErrLost, names[i])
		}
		entries = append(entries, more...)
		next.parts[names[i]] = read
	}
	return entries, next, errors.Join(errs...)
}

// loadPart reads a part; nil where there is none any more.
func (s Store) loadPart(ctx context.Context, name string) (*part, error) {
	stored, err := s.Load(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.proveGone(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	if len(stored) > 0 && stored[0] != '{' {
		return &part{[]partEntry{{Value: bytes.Join([][]byte{[]byte(OldPart + name), stored}, []byte("\n"))}}}, nil
	}
	p := new(part)
	if err := json.Unmarshal(stored, p); err != nil {
		return nil, fmt.Errorf("%w: %w: %s", ErrUnavailable, errDamaged, name)
	}
	return p, nil
}

// deleteOver deletes parts of which everything is over. Each instance tries.
func (s Store) deleteOver(ctx context.Context, at *cursor, now time.Time) {
	for name, read := range at.parts {
		kept := now.Unix() <= read.until+60 || now.Sub(began(name)) <= partLife+clockSkew // an open one may be added to
		if read.undated || read.entries == 0 {
			kept = now.Sub(began(name)) <= undatedKept
		}
		if !kept && s.Delete(ctx, name) == nil {
			delete(at.parts, name) // at is new, and nobody else has it yet
		}
	}
}
