package revocation

import (
	"encoding/json"
	"os"
	"reflect"
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
	entries, err := (Access{Shared: store.New(storage), Keys: sealtest.Keys(t)}).loadPart(t.Context(), "vipps_login/revoked/1795694400-abc")
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	want := []Entry{
		{Session: "c2Vzc2lvbi0wMTIz", Before: at.Unix(), Until: at.Add(12 * time.Hour).Unix()},
		{MSN: "123456", Sub: "c06c4afe", Before: at.Unix(), Until: at.Add(400 * 24 * time.Hour).Unix()},
	}
	if err != nil || !reflect.DeepEqual(entries, want) {
		t.Errorf("%+v %v", entries, err)
	}
}
