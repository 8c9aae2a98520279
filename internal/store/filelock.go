package store

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/caddyserver/certmagic"
)

// maxHeld is longer than we ever hold a lock.
const maxHeld = Timeout + 2*time.Second

// fileLock is what is in a lock file, as in certmagic's.
type fileLock struct {
	Created time.Time `json:"created"` // to the nanosecond, which tells one holder from the next
	Updated time.Time `json:"updated"`
}

// lockFile takes a lock of Caddy's file storage. The file is where certmagic has it, so that the two exclude each other. What
// certmagic does beyond that is for locks that are held for minutes (FileStorage.Lock in v0.25.6): it syncs each lock file to
// the disk, which takes as long as storing a value; it leaves a goroutine behind that looks at the file five seconds later, and
// refreshes or spoils it if the lock has been taken again; it looks once a second whether a lock is free. Ours end within
// maxHeld, and one that is older belonged to an instance that died.
func lockFile(ctx context.Context, files *certmagic.FileStorage, name string) (unlock func() error, err error) {
	path := filepath.Join(files.Path, "locks", certmagic.StorageKeys.Safe(name)+".lock")
	pause := 5 * time.Millisecond
	for {
		unlock, err := createLock(path, time.Now())
		if !errors.Is(err, fs.ErrExist) {
			return unlock, err
		}
		if breakAbandoned(path, time.Now()) {
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			pause = min(2*pause, 200*time.Millisecond)
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

// createLock creates a lock file, which fails if there is one.
func createLock(path string, now time.Time) (unlock func() error, err error) {
	content, err := json.Marshal(fileLock{Created: now, Updated: now})
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // the folder is missing
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			file, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		}
	}
	if err != nil {
		return nil, err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(path)
		return nil, err
	}
	return func() error {
		found, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var lock fileLock
		if json.Unmarshal(found, &lock) == nil && !lock.Created.Equal(now) {
			return nil // it was taken from us
		}
		return os.Remove(path)
	}, nil
}

// breakAbandoned deletes a lock file that is older than maxHeld, and reports whether the lock may be free now.
func breakAbandoned(path string, now time.Time) (free bool) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	var lock fileLock
	if err != nil || json.Unmarshal(content, &lock) != nil || lock.Created.IsZero() {
		info, err := os.Stat(path) // it is being written, or its holder died over that
		if err != nil {
			return errors.Is(err, fs.ErrNotExist)
		}
		lock.Created = info.ModTime()
	}
	if now.Sub(lock.Created) <= maxHeld {
		return false
	}
	return os.Remove(path) == nil
}
