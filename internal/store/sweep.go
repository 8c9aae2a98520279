package store

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"
)

// storedFor is longer than anything in the swept folders is of use after it was last written.
const storedFor = 40 * time.Minute

// Sweep deletes from folders what is of no use to anybody any more.
func (s Store) Sweep(ctx context.Context, folders []string, now time.Time) error {
	for _, folder := range folders {
		names, err := s.storage.List(ctx, folder, false) // without a deadline: a folder may be large
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			info, err := s.storage.Stat(ctx, name)
			// A storage may list what only begins alike, or know no time: that is not ours to delete.
			ours := err == nil && info.IsTerminal && !info.Modified.IsZero() && strings.HasPrefix(name, folder+"/")
			if ours && now.Sub(info.Modified) > storedFor {
				err = s.storage.Delete(ctx, name)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
