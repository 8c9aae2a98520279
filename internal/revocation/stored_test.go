package revocation

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
)

// TestStoredRevocations: what an earlier version of this code has written opens (testdata/stored, see stored_test.go
// in the root package).
func TestStoredRevocations(t *testing.T) {
	content, err := os.ReadFile("../../testdata/stored/v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var stored struct{ Revoked map[string][]byte }
	if err := json.Unmarshal(content, &stored); err != nil {
		t.Fatal(err)
	}
	storage := storetest.New()
	storage.Files = stored.Revoked
	const name = "vipps_login/revoked/1795694400-abc"
	access := Access{Shared: store.New(storage), Keys: sealtest.Keys(t)}
	entries, err := access.openPart(name, slices.Clone(stored.Revoked[name]))
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	want := []Entry{
		{Session: "c2Vzc2lvbi0wMTIz", Before: at.Unix(), Until: at.Add(12 * time.Hour).Unix()},
		{MSN: "123456", Sub: "c06c4afe", Before: at.Unix(), Until: at.Add(400 * 24 * time.Hour).Unix()},
	}
	if err != nil || !reflect.DeepEqual(entries, want) {
		t.Errorf("%+v %v", entries, err)
	}
	list := NewList()
	if err := list.Loaded(t.Context(), access); err != nil || list.Now.people.get(personKey("123456", "c06c4afe")).until != want[1].Until {
		t.Errorf("it is not on the list: %v", err)
	}
}
