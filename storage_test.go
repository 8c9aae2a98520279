package vippslogin

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-vipps/vippslogin/internal/store"
)

// TestSweep deletes what has expired, and nothing else.
func TestSweep(t *testing.T) {
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	kept, old := sweptFolders[0]+"/kept", []string(nil)
	for _, folder := range sweptFolders {
		old = append(old, folder+"/old")
	}
	for _, name := range append(old, kept, secretKey) {
		if err := storage.Store(t.Context(), name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	yesterday := time.Now().Add(-24 * time.Hour)
	for _, name := range append(old, secretKey) {
		if err := os.Chtimes(filepath.Join(storage.Path, name), yesterday, yesterday); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.New(storage).Sweep(t.Context(), sweptFolders, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, name := range old {
		if storage.Exists(t.Context(), name) {
			t.Errorf("%s is still there", name)
		}
	}
	if !storage.Exists(t.Context(), kept) || !storage.Exists(t.Context(), secretKey) {
		t.Error("something of use was deleted")
	}
	for i, folder := range sweptFolders {
		for j, other := range sweptFolders {
			if i != j && len(folder) < len(other) && other[:len(folder)] == folder {
				t.Errorf("%s lists %s too in storages that list by prefix", folder, other)
			}
		}
	}
}
