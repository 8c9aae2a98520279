package phone

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

var startedAt = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

const pendingID, completeID = "AAAAAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBB"

func TestStoredPhoneLogins(t *testing.T) {
	content, err := os.ReadFile("../../testdata/stored/v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var s struct{ PhoneLogins map[string][]byte }
	if err := json.Unmarshal(content, &s); err != nil {
		t.Fatal(err)
	}
	keys := sealtest.Keys(t)
	storage := storetest.New()
	storage.Files = s.PhoneLogins
	phones := Store{Shared: store.New(storage), Memory: NewMemory(), Keys: keys}
	msn, id, err := phones.find(t.Context(), "auth-req-id-of-the-first")
	if err != nil || msn != "123456" || id != pendingID {
		t.Errorf("found %s %s %v", msn, id, err)
	}
	want := storedPhoneLogins()
	for id, want := range want {
		got, err := phones.load(t.Context(), id, "123456")
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v %v\nwant %+v", got, err, want)
		}
	}
}

func storedPhoneLogins() map[string]*Login {
	return map[string]*Login{
		pendingID: {
			ID: pendingID, Status: Pending, AuthReqID: "auth-req-id-of-the-first", Nonce: "nonce", MSISDN: "4712345678",
			Started: startedAt, Expires: startedAt.Add(10 * time.Minute), Forgotten: startedAt.Add(15 * time.Minute),
			Interval: 5 * time.Second, NextPoll: startedAt.Add(5 * time.Second), Pinged: true, Refused: true,
			Finish: FinishBrowser, ReturnTo: "/welcome", Tokens: &vipps.Tokens{AccessToken: "access", IDToken: "id"},
		},
		completeID: {
			ID: completeID, Status: Complete, AuthReqID: "auth-req-id-of-the-second", Nonce: "nonce",
			Started: startedAt, Expires: startedAt.Add(10 * time.Minute), Forgotten: startedAt.Add(15 * time.Minute),
			Interval: 5 * time.Second, NextPoll: startedAt.Add(5 * time.Second), Finish: FinishApp, Userinfo: `{"sub":"c06c4afe"}`,
		},
	}
}

// TestStoredAskedCount: how often a number was asked counts on (v3).
func TestStoredAskedCount(t *testing.T) {
	content, err := os.ReadFile("../../testdata/stored/v3.json")
	if err != nil {
		t.Fatal(err)
	}
	var stored struct{ Files map[string][]byte }
	if err := json.Unmarshal(content, &stored); err != nil {
		t.Fatal(err)
	}
	storage := storetest.New()
	storage.Files = stored.Files
	synctest.Test(t, func(t *testing.T) {
		phones := Store{Shared: store.New(storage), Memory: NewMemory(), Keys: sealtest.Keys(t)}
		time.Sleep(time.Until(startedAt.Add(3 * time.Minute)))
		for range maxAsked - 3 { // three were counted, a minute apart
			if err := phones.ask(t.Context(), "urn:msisdn:4712345678"); err != nil {
				t.Fatal(err)
			}
		}
		var often AskedTooOften
		if err := phones.ask(t.Context(), "urn:msisdn:4712345678"); !errors.As(err, &often) || often.Wait != 7*time.Minute {
			t.Errorf("the sixth: %v, wait %s", err, often.Wait)
		}
	})
}
