package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
)

// EpochKey has a random text that is written once for a storage. Its absence says that the storage is new, has lost what was
// stored, or takes a failure for an absence, as some storage modules do. It is in the folder of ended sessions, so that a
// listing of that folder proves itself: one without it is not whole.
const EpochKey = Prefix + "/revoked/epoch"

// ErrLost says that the storage does not have what is always there.
var ErrLost = fmt.Errorf("%w: it has lost what was stored, or says so while it cannot be read", ErrUnavailable)

// Epoch returns the text of EpochKey, and writes one if there is none. A storage that takes failures for absences fails at the
// write. Do not call it under a lock.
func (s Store) Epoch(ctx context.Context) (epoch string, err error) {
	if epoch, err = s.readEpoch(ctx); !errors.Is(err, ErrLost) {
		return epoch, err
	}
	err = s.WithLock(ctx, Prefix+"_epoch", LockTimeout, func(ctx context.Context) error {
		if epoch, err = s.readEpoch(ctx); !errors.Is(err, ErrLost) {
			return err // another instance was faster
		}
		fresh := rand.Text()
		if err := s.Write(ctx, EpochKey, []byte(fresh)); err != nil {
			return err
		}
		if epoch, err = s.readEpoch(ctx); err == nil && epoch != fresh {
			err = fmt.Errorf("%w: it returns something else than was stored in %s", ErrUnavailable, EpochKey)
		}
		return err
	})
	return epoch, err
}

func (s Store) readEpoch(ctx context.Context) (string, error) {
	epoch, err := s.read(ctx, EpochKey)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(epoch) == 0 {
		return "", ErrLost
	}
	return string(epoch), err
}

// orAbsent reads something. That it is absent is believed if what is always there can be read, and a second look finds nothing
// either: the first one may have met the end of an outage.
func (s Store) orAbsent(ctx context.Context, read func() error) error {
	err := read()
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := s.readEpoch(ctx); err != nil {
		return err
	}
	return read()
}
