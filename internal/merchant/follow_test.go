package merchant

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// watched is a merchants file, what serves of it, and what was reported.
type watched struct {
	*File
	t        *testing.T
	serves   string
	reported []string
}

func watch(t *testing.T, content string) *watched {
	t.Helper()
	w := &watched{t: t}
	w.File = &File{Path: filepath.Join(t.TempDir(), "m.csv"), Swap: func(table *Hosts) {
		w.serves = ""
		for _, host := range []string{"a.no", "b.no", "c.no"} {
			if table.Lookup(host) != nil {
				w.serves += host[:1]
			}
		}
	}}
	w.Report = func(_ int, err error) {
		line := "INFO merchants file read"
		if err != nil {
			line = "ERROR merchants file refused: the merchants are those of before " + err.Error()
		}
		w.reported = append(w.reported, line)
	}
	w.Build = func(r io.Reader) (*Hosts, int, error) {
		table := NewHosts()
		hosts, err := ReadFile(w.Path, r, func(host string, l Line) error {
			if !IsMSN(l.MSN) {
				return fmt.Errorf("%q is no MSN", l.MSN)
			}
			return table.Add(host, &Unit{MSN: l.MSN})
		})
		return table, hosts, err
	}
	w.write(content)
	if err := w.Load(); err != nil {
		t.Fatal(err)
	}
	return w
}

// write writes in place.
func (w *watched) write(content string) {
	w.t.Helper()
	if err := os.WriteFile(w.Path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// want checks what serves after n looks, and what they reported.
func (w *watched) want(looks int, serves string, lines ...string) {
	w.t.Helper()
	for range looks {
		w.look()
	}
	if w.serves != serves {
		w.t.Errorf("%q serves, want %q", w.serves, serves)
	}
	for i, line := range w.reported {
		if i >= len(lines) || !strings.Contains(line, lines[i]) {
			w.t.Errorf("reported %s, want %q", line, lines)
		}
	}
	if len(w.reported) != len(lines) {
		w.t.Errorf("%d lines are reported, want %q", len(w.reported), lines)
	}
	w.reported = nil
}

// TestMerchantsFileInParts: a file that is being written is left alone.
func TestMerchantsFileInParts(t *testing.T) {
	w := watch(t, "host,msn\na.no,123456\nb.no,234567\n")
	w.want(3, "ab")
	w.write("host,msn\na.no,123456\n")
	w.want(1, "ab")
	w.write("host,msn\na.no,123456\nb.no,2")
	w.want(1, "ab")
	w.write("host,msn\na.no,123456\nb.no,234567\nc.no,345678\n")
	w.want(1, "ab")
	w.want(1, "abc", "INFO merchants file read")
	w.want(3, "abc")
}

// TestMerchantsFileVersions: what another version is.
func TestMerchantsFileVersions(t *testing.T) {
	const one, other = "host,msn\na.no,123456\n", "host,msn\nb.no,123456\n"
	w := watch(t, one)
	stood := time.Now().Add(-time.Hour)
	mustNot := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mustNot(os.Chtimes(w.Path, stood, stood))
	w.want(2, "a", "INFO merchants file read")

	w.write(other) // as long as before: the time tells
	w.want(2, "b", "INFO merchants file read")
	mustNot(os.Chtimes(w.Path, stood, stood))
	w.want(2, "b", "INFO merchants file read")
	w.write(one + "c.no,123456\n")
	mustNot(os.Chtimes(w.Path, stood, stood)) // as old as before: the length tells
	w.want(2, "ac", "INFO merchants file read")

	beside := w.Path + ".new"
	mustNot(os.WriteFile(beside, []byte(other+"c.no,123456\n"), 0o600))
	mustNot(os.Chtimes(beside, stood, stood))
	mustNot(os.Rename(beside, w.Path)) // both as before, and another file
	w.want(2, "bc", "INFO merchants file read")

	// As Kubernetes does it: the path is a link, by way of a link that is swapped.
	folder := t.TempDir()
	for version, content := range map[string]string{"v1": one, "v2": other} {
		mustNot(os.Mkdir(filepath.Join(folder, version), 0o700))
		mustNot(os.WriteFile(filepath.Join(folder, version, "m.csv"), []byte(content), 0o600))
		mustNot(os.Chtimes(filepath.Join(folder, version, "m.csv"), stood, stood))
	}
	mustNot(os.Symlink("v1", filepath.Join(folder, "data")))
	mustNot(os.Symlink("data/m.csv", filepath.Join(folder, "m.csv")))
	w.Path = filepath.Join(folder, "m.csv")
	w.want(2, "a", "INFO merchants file read")
	mustNot(os.Symlink("v2", filepath.Join(folder, "data.new")))
	mustNot(os.Rename(filepath.Join(folder, "data.new"), filepath.Join(folder, "data")))
	w.want(2, "b", "INFO merchants file read")
}

// TestMerchantsFileRefused: what was there stays, and each complaint is logged once.
func TestMerchantsFileRefused(t *testing.T) {
	const good = "host,msn\na.no,123456\n"
	w := watch(t, good)
	w.write("host,msn\nb.no,12\n")
	w.want(4, "a", "ERROR merchants file refused: the merchants are those of before")
	w.write("")
	w.want(4, "a", "m.csv:1: it is empty")
	w.write(good + "b.no,234567\n")
	w.want(4, "ab", "INFO merchants file read")
	if err := os.Remove(w.Path); err != nil {
		t.Fatal(err)
	}
	w.want(4, "ab", "no such file or directory")
	if err := os.Mkdir(w.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	w.want(6, "ab", "is not a file: write the path of a CSV file")
	if err := os.Remove(w.Path); err != nil {
		t.Fatal(err)
	}
	w.write(good)
	w.want(4, "a", "INFO merchants file read")
	// The same complaint after a good version, and the very file come back.
	w.write("host,msn\nb.no,12\n")
	w.want(4, "a", "m.csv:2: ")
	w.write(good)
	w.want(4, "a", "INFO merchants file read")
	w.write("host,msn\nb.no,12\n")
	w.want(4, "a", "m.csv:2: ")
	w.write(good)
	w.want(4, "a", "INFO merchants file read")
	if err := os.Rename(w.Path, w.Path+".away"); err != nil {
		t.Fatal(err)
	}
	w.want(4, "a", "no such file or directory")
	if err := os.Rename(w.Path+".away", w.Path); err != nil {
		t.Fatal(err)
	}
	w.want(4, "a", "INFO merchants file read")
	// What could not be read may be readable in a while, and look the same.
	w.write(good + "b.no,234567\n")
	build := w.Build
	w.Build = func(io.Reader) (*Hosts, int, error) {
		return nil, 0, &os.PathError{Op: "read", Path: w.Path, Err: os.ErrPermission}
	}
	w.want(6, "a", "permission denied")
	w.Build = build
	w.want(2, "ab", "INFO merchants file read")
}
