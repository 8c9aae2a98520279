package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// canary is a file that is always there. Some storage modules answer every error, such as a connection that breaks, with
// "does not exist": that is believed only while the canary can be read.
const canary = Prefix + "/canary"

// prove fails unless the storage finds what is there. Where the canary is not there, as in a storage that is new, it is
// stored first.
func (s Store) prove(ctx context.Context) error {
	if _, err := s.Load(ctx, canary); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.Write(ctx, canary, []byte("This file is always here.\n")); err != nil {
		return err
	}
	_, err := s.Load(ctx, canary)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: the storage of Caddy does not find what it has just stored", ErrUnavailable)
	}
	return err
}

// proveGone fails unless a file that was listed is not there any more.
func (s Store) proveGone(ctx context.Context, name string) error {
	folder := name[:strings.LastIndex(name, "/")]
	names, err := s.listWhole(ctx, folder)
	if err != nil {
		return err
	}
	if slices.Contains(names, name) {
		return fmt.Errorf("%w: the storage of Caddy lists %s, and does not find it", ErrUnavailable, name)
	}
	return nil
}
