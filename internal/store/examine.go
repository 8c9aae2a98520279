package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/caddy-vipps/vippslogin/state"
)

// Examine tries whether the storage stores, reads, lists and deletes a value. What it does
// wrong is returned as a problem, in words for the log; from then on, WithLock fails. err says that the storage could not be
// tried.
func (s Store) Examine(ctx context.Context) (problem string, err error) {
	if err := s.prove(ctx); err != nil {
		return "", err
	}
	for range 2 { // a connection that broke in between is no problem of the module
		if problem, err = s.examineValues(ctx); problem == "" {
			return "", err
		}
	}
	return s.refuse(problem), err
}

func (s Store) examineValues(ctx context.Context) (problem string, err error) {
	name := selfTest + "/" + rand.Text()
	for _, try := range []func(context.Context, string) (string, error){s.examineAbsence, s.examineValue, s.examineList, s.examineDelete} {
		if problem, err = try(ctx, name); problem != "" || err != nil {
			break
		}
	}
	return problem, err
}

// ExamineLock tries a lock, like Examine. It takes two seconds.
func (s Store) ExamineLock(ctx context.Context) (problem string, err error) {
	problem, err = s.examineLock(ctx, Prefix+"_self_test_"+rand.Text())
	return s.refuse(problem), err
}

func (s Store) refuse(problem string) string {
	if problem != "" {
		s.unfit.Store(&problem)
	}
	return problem
}

func (s Store) examineAbsence(ctx context.Context, name string) (string, error) {
	switch value, err := s.Load(ctx, name); {
	case err == nil:
		return fmt.Sprintf("it has %d bytes under a name that was never stored", len(value)), nil
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	default:
		return "", err
	}
}

func (s Store) examineValue(ctx context.Context, name string) (string, error) {
	if err := s.Write(ctx, name, []byte(name)); err != nil {
		return "", err
	}
	value, err := s.Load(ctx, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && string(value) != name {
		return "it does not return what was stored a moment ago", nil
	}
	return "", err
}

func (s Store) examineList(ctx context.Context, name string) (string, error) {
	names, err := s.List(ctx, selfTest)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !slices.Contains(names, name) {
		return "its list of a folder has other names than were stored there: sessions that other instances have ended would be valid", nil
	}
	return "", err
}

func (s Store) examineDelete(ctx context.Context, name string) (string, error) {
	if err := s.Delete(ctx, name); err != nil {
		return "", err
	}
	switch _, err := s.load(ctx, name); {
	case err == nil:
		return "it still has what was deleted", nil
	case errors.Is(err, state.ErrNotFound):
		return "", nil
	default:
		return "", err
	}
}

// examineLock takes a lock twice, past the locks of this process. The second time must not succeed before the first is over.
func (s Store) examineLock(ctx context.Context, name string) (string, error) {
	take := func(patience time.Duration) (unlock func() error, err error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return lockBounded(ctx, s.storage, name)
	}
	unlock, err := take(LockTimeout)
	if err != nil {
		return "", fmt.Errorf("%w: a lock: %w", ErrUnavailable, err)
	}
	unlockAgain, twice := take(2 * time.Second)
	if twice == nil {
		_ = unlockAgain()
	}
	if err := unlock(); err != nil && twice != nil {
		return "", fmt.Errorf("%w: a lock: %w", ErrUnavailable, err)
	}
	if twice == nil {
		return "its locks do not exclude: a phone could be called more often than allowed, and a login completed twice", nil
	}
	return "", nil
}
