package merchant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// File is a merchants file that is followed. It is polled rather than watched, which works on network file systems, and where
// Kubernetes swaps a link to a folder.
type File struct {
	Path string

	// Build reads a version, and returns its table and the number of hosts in the file.
	Build func(io.Reader) (*Hosts, int, error)

	// Swap puts the table of a good version into service.
	Swap func(*Hosts)

	// Report is called by Follow for each version, with the number of hosts, or with the reason why it was refused. An
	// error is reported once.
	Report func(hosts int, err error)

	hosts  int         // in the version in service
	read   fs.FileInfo // the version that was read last, good or bad; nil: read any version
	newer  fs.FileInfo // another version, which may still be being written
	failed string      // the error that was reported last
}

// lookEvery is the interval of polls. A version is read once two polls have seen it, so that a half-written file is not taken
// for the whole.
const lookEvery = time.Second

// Load reads the file, and puts it into service if it has no mistake.
func (f *File) Load() error {
	f.read, f.newer = nil, nil
	file, info, err := openFile(f.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	table, hosts, err := f.Build(file)
	var unreadable *fs.PathError
	if errors.As(err, &unreadable) {
		return err // it may be readable soon, as the same version
	}
	f.read = info
	if err != nil {
		return err
	}
	f.Swap(table)
	f.hosts = hosts
	return nil
}

// openFile opens a file, and returns its version.
func openFile(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() { // opening a pipe would wait for a writer
		return nil, nil, fmt.Errorf("%s is not a file: write the path of a CSV file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: write the path of a CSV file that Caddy may read", err)
	}
	if info, err = file.Stat(); err != nil {
		file.Close()
	}
	return file, info, err
}

// Follow puts new versions of the file into service until ctx ends.
func (f *File) Follow(ctx context.Context) {
	f.Report(f.hosts, nil)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.look()
		}
	}
}

// look reads the file if it is another version than the one that was read.
func (f *File) look() {
	info, err := os.Stat(f.Path)
	switch {
	case err != nil:
		f.read, f.newer = nil, nil
		f.report(err)
	case sameVersion(info, f.read):
		f.newer = nil
	case !sameVersion(info, f.newer):
		f.newer = info
	default:
		f.report(f.Load())
	}
}

func sameVersion(a, b fs.FileInfo) bool {
	return b != nil && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// report calls Report, but for an error once only.
func (f *File) report(err error) {
	switch {
	case err == nil:
		f.failed = ""
		f.Report(f.hosts, nil)
	case err.Error() != f.failed:
		f.failed = err.Error()
		f.Report(0, err)
	}
}
