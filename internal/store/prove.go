package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/caddy-vipps/vippslogin/state"
)

const (
	// CanaryKey is always there: it is the epoch of the shared state (internal/epoch). Some storage modules answer every failure,
	// such as a broken connection, with "does not exist". That is believed if the canary can be read.
	CanaryKey = Prefix + "/epoch"

	// marker is in the folder of each feed, so that a listing of the folder proves itself: one without it is not whole.
	marker = "marker"

	selfTest = Prefix + "/self_test"
)

// load returns what is stored under a name, or state.ErrNotFound if there is nothing: the storage says so twice, and is proven to
// find things in between.
func (s Store) load(ctx context.Context, name string) ([]byte, error) {
	stored, err := s.Load(ctx, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return stored, err
	}
	if err := s.prove(ctx); err != nil {
		return nil, err
	}
	stored, err = s.Load(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, state.ErrNotFound
	}
	return stored, err
}

// prove fails unless the storage finds what is there: the canary or, in a new storage, something that it has just stored.
func (s Store) prove(ctx context.Context) error {
	if _, err := s.Load(ctx, CanaryKey); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	name := selfTest + "/" + rand.Text()
	if err := s.Write(ctx, name, []byte(name)); err != nil {
		return err
	}
	value, err := s.Load(ctx, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && string(value) != name {
		err = fmt.Errorf("%w: the storage of Caddy does not find what it has just stored", ErrUnavailable)
	}
	return errors.Join(err, s.Delete(ctx, name))
}

// proveGone fails unless a file that was listed is not listed any more.
func (s Store) proveGone(ctx context.Context, file string) error {
	names, err := s.listWhole(ctx, file[:strings.LastIndex(file, "/")])
	if err != nil {
		return err
	}
	if slices.Contains(names, file) {
		return fmt.Errorf("%w: the storage of Caddy lists %s, and does not find it", ErrUnavailable, file)
	}
	return nil
}

// listWhole lists a feed's folder. Caddy's file storage fails if a file is removed while it lists the folder, as another
// instance's temporary files are: then it is asked again, since such a list may be incomplete. So is one without the marker.
func (s Store) listWhole(ctx context.Context, folder string) (names []string, err error) {
	mark := folder + "/" + marker
	for range 10 {
		names, err = s.List(ctx, folder)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, err
		case err == nil && slices.Contains(names, mark):
			return names, nil
		}
		if _, err := s.load(ctx, mark); errors.Is(err, state.ErrNotFound) { // a new feed
			err = s.Write(ctx, mark, []byte("This file is always here.\n"))
			if err != nil {
				return nil, err
			}
		} else if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: the storage of Caddy lists other names in %s/ than were stored there, or not all: %s is not among them", ErrUnavailable, folder, mark)
}
