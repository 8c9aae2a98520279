package vippslogin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/merchant"
)

// merchantsFile keeps a handler's hosts what a file says. It looks at the file rather than be told: that
// works on network file systems, and where Kubernetes swaps a link to a folder.
type merchantsFile struct {
	path   string
	logger *zap.Logger
	build  func(io.Reader) (*merchant.Hosts, int, error)
	swap   func(*merchant.Hosts)

	hosts  int         // in the version that serves
	read   fs.FileInfo // the version that was read last, good or not; nil: read it, whatever it is
	newer  fs.FileInfo // another version, which may still be being written
	failed string      // what was logged about it
}

// lookEvery is how often a merchants file is looked at. A version is read once it has stayed the same from
// one look to the next, so that no half of a file is taken for the whole.
const lookEvery = time.Second

// provisionMerchantsFile reads the file. Where that cannot be done, the config is not loaded: no host
// would have a merchant.
func (h *Handler) provisionMerchantsFile(configured *merchant.Hosts) error {
	path, err := caddy.NewReplacer().ReplaceOrErr(h.MerchantsFile, true, true)
	if err != nil {
		return fmt.Errorf("merchants: %w: set the variable or write the file's path", err)
	}
	file := &merchantsFile{path: path, logger: h.logger, swap: func(table *merchant.Hosts) { h.hosts.Store(table); h.app.twins.changed() }}
	file.build = func(content io.Reader) (*merchant.Hosts, int, error) {
		table := configured.Clone()
		hosts, err := h.addFromFile(path, content, table)
		if err == nil {
			err = h.checkSiteKeys(table)
		}
		return table, hosts, err
	}
	if err := file.load(); err != nil {
		return fmt.Errorf("merchants: %w", err)
	}
	h.app.files = append(h.app.files, file)
	return nil
}

// addFromFile adds the merchants of a file, one sales unit for all lines that say the same.
func (h *Handler) addFromFile(path string, content io.Reader, table *merchant.Hosts) (hosts int, err error) {
	units := make(map[merchant.Line]*merchant.Unit)
	return merchant.ReadFile(path, content, func(host string, l merchant.Line) error {
		unit := units[l]
		if unit == nil {
			var err error
			if unit, err = h.newSalesUnit(merchantOf(&l)); err != nil {
				return err
			}
			units[l] = unit
		}
		return table.Add(host, unit)
	})
}

// load reads the file, and puts what it says in the place of what was there, if all of it is right.
func (f *merchantsFile) load() error {
	f.read, f.newer = nil, nil
	file, info, err := openFile(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	table, hosts, err := f.build(file)
	var unreadable *fs.PathError
	if errors.As(err, &unreadable) {
		return err // it may be readable soon, and look the same
	}
	f.read = info
	if err != nil {
		return err
	}
	f.swap(table)
	f.hosts = hosts
	return nil
}

// openFile opens a file, and says which version of it that is.
func openFile(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() { // opening a pipe would wait for somebody to write
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

// follow takes new versions of the file until ctx ends.
func (f *merchantsFile) follow(ctx context.Context) {
	f.logger.Info("merchants file read", zap.String("file", f.path), zap.Int("hosts", f.hosts))
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

// look reads the file if there is another version of it than the one that was read.
func (f *merchantsFile) look() {
	info, err := os.Stat(f.path)
	switch {
	case err != nil:
		f.read, f.newer = nil, nil
		f.log(err)
	case sameVersion(info, f.read):
		f.newer = nil
	case !sameVersion(info, f.newer):
		f.newer = info
	default:
		f.log(f.load())
	}
}

func sameVersion(a, b fs.FileInfo) bool {
	return b != nil && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// log tells what became of a version, and of one that cannot be read once.
func (f *merchantsFile) log(err error) {
	switch {
	case err == nil:
		f.failed = ""
		f.logger.Info("merchants file read", zap.String("file", f.path), zap.Int("hosts", f.hosts))
	case err.Error() != f.failed:
		f.failed = err.Error()
		f.logger.Error("merchants file refused: the merchants are those of before", zap.String("file", f.path), zap.Error(err))
	}
}
