package revocation

import (
	"context"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/store"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"

	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
)

// fadingStorage lists as a file system does: it stops where a file has gone between the look at the
// folder and the look at the file. Other instances' temporary files do that.
type fadingStorage struct {
	*storetest.Memory
	fades int // how often
}

func (f *fadingStorage) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	if f.fades--; f.fades >= 0 {
		return nil, fmt.Errorf("lstat 123456789: %w", fs.ErrNotExist)
	}
	return f.Memory.List(ctx, prefix, recursive)
}

// TestListThatIsNotWhole: a list that broke off is not taken for the whole one, which would let ended
// sessions live again.
func TestListThatIsNotWhole(t *testing.T) {
	keys, memory := sealtest.Keys(t), storetest.New()
	now := time.Now()
	err := NewList().Add(t.Context(), Access{Shared: store.New(memory), Keys: keys}, Entry{MSN: "123456", Before: now.Unix(), Until: now.Add(time.Hour).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	other := NewList()
	if err := other.Refresh(t.Context(), Access{Shared: store.New(&fadingStorage{memory, 1}), Keys: keys}); err != nil {
		t.Fatal(err)
	}
	if !other.Now.Has(&session.Session{Issued: now}, "123456") {
		t.Error("the ended session lives again")
	}
}

// TestTemporaryFileOfTheDead: Caddy's file storage writes a file under another name first, in the same
// folder. What an instance that died leaves there is no part of the list, and locks nobody out.
func TestTemporaryFileOfTheDead(t *testing.T) {
	memory := storetest.New()
	memory.Files["vipps_login/revoked/2851123456"] = []byte("half a par")
	r := NewList()
	if err := r.Loaded(t.Context(), Access{Shared: store.New(memory), Keys: sealtest.Keys(t)}); err != nil {
		t.Error(err)
	}
}
