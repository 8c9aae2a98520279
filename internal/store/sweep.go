package store

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"strings"
	"time"
)

const (
	// storedFor is longer than a record in the swept folders is useful after it was written.
	storedFor = 40 * time.Minute

	// sweepEvery is how often one of all instances sweeps.
	sweepEvery = 9 * time.Minute
)

// Sweep deletes expired records from folders, unless another instance has done so within sweepEvery.
func (s Store) Sweep(ctx context.Context, folders []string, now time.Time) error {
	first, err := s.Add(ctx, "swept", []byte(rand.Text()), sweepEvery)
	if err != nil || !first {
		return err
	}
	for _, folder := range folders {
		names, err := s.storage.List(ctx, folder, false) // without a deadline: a folder may be large
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, name := range names {
			if !strings.HasPrefix(name, folder+"/") {
				continue // some storages list names outside the folder
			}
			if err := s.sweep(ctx, name, now); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// sweep deletes a record that has expired. If the storage has no times, the record says when that is.
func (s Store) sweep(ctx context.Context, name string, now time.Time) error {
	info, err := s.storage.Stat(ctx, name)
	if err != nil {
		return err
	}
	over := now.Sub(info.Modified) > storedFor
	if info.Modified.IsZero() {
		stored, err := s.Load(ctx, name)
		if err != nil {
			return err
		}
		_, _, over = decode(stored, now)
	}
	if over {
		return s.storage.Delete(ctx, name)
	}
	return nil
}
