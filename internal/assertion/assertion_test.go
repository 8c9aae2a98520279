package assertion

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// instance is one Caddy of a cluster: with the storage of all, and a memory of its own.
type instance struct {
	*Signer
	at Access
}

func newInstance(storage *storetest.Memory, keys *seal.Keys) instance {
	return instance{&Signer{Memory: NewMemory(), Lifetime: time.Minute}, Access{Shared: store.New(storage), Keys: keys}}
}

var kari = Subject{Session: "a session", Sub: "kari", MSN: "123456", Issuer: "https://shop.example.no"}

func (i instance) mustSign(t *testing.T, about Subject) string {
	t.Helper()
	token, err := i.Sign(t.Context(), i.at, about, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func kid(t *testing.T, token string) string {
	t.Helper()
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Header["kid"].(string)
}

// published returns the ids of a merchant's public keys.
func (i instance) published(t *testing.T, msn string) (ids []string) {
	t.Helper()
	content, err := i.Memory.PublicKeys(t.Context(), i.at, msn, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []jwk }
	if err := json.Unmarshal(content, &set); err != nil {
		t.Fatal(err)
	}
	for _, key := range set.Keys {
		ids = append(ids, key.ID)
	}
	return ids
}

// TestSignedOnce: for a session and half a life, whatever comes at once.
func TestSignedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInstance(storetest.New(), sealtest.Keys(t))
		var all sync.WaitGroup
		tokens := make([]string, 50)
		for n := range tokens {
			all.Go(func() { tokens[n] = i.mustSign(t, kari) })
		}
		all.Wait()
		if len(slices.Compact(slices.Clone(tokens))) != 1 {
			t.Error("callers at once got several")
		}
		time.Sleep(29 * time.Second)
		if i.mustSign(t, kari) != tokens[0] {
			t.Error("signed again before half of its life")
		}
		time.Sleep(time.Second)
		if i.mustSign(t, kari) == tokens[0] {
			t.Error("not signed again after half of its life")
		}
		for _, other := range []Subject{{Session: "another", Sub: kari.Sub, MSN: kari.MSN, Issuer: kari.Issuer}, {Session: kari.Session, MSN: "234567"}, {Session: kari.Session, MSN: kari.MSN, Issuer: "https://x"}} {
			if i.mustSign(t, other) == i.mustSign(t, kari) {
				t.Errorf("%v gets another's", other)
			}
		}
	})
}

// TestMemoryIsBounded, of what is kept for sessions that come once.
func TestMemoryIsBounded(t *testing.T) {
	s := &Signer{Lifetime: time.Hour}
	now := time.Now()
	for n := range 5 * maxKept {
		s.entry(signedFor{session: string(rune(n))}, now)
	}
	if kept := len(s.recent) + len(s.before); kept > 2*maxKept {
		t.Errorf("%d are kept", kept)
	}
}

// TestRotation: a key signs for 30 days; the next is published before it signs, and the old one for as long as what it
// signed is good. An instance that has read the keys before knows the next one in time.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage, keys := storetest.New(), sealtest.Keys(t)
		a, b := newInstance(storage, keys), newInstance(storage, keys)
		first := kid(t, a.mustSign(t, kari))
		if other := kid(t, b.mustSign(t, kari)); other != first {
			t.Fatal("two instances sign with two keys")
		}
		var signs []string
		step := func(after time.Duration) {
			time.Sleep(after)
			for _, i := range []instance{a, b} {
				id := kid(t, i.mustSign(t, kari))
				if !slices.Contains(signs, id) {
					signs = append(signs, id)
				}
				// What one instance signs, the other one's keys check, whenever it has read them.
				for _, other := range []instance{a, b} {
					if !slices.Contains(other.published(t, kari.MSN), id) {
						t.Fatal("a key signs that another instance has not published")
					}
				}
			}
			synctest.Wait()
		}
		step(signsFor - 2*time.Hour)
		if len(signs) != 1 {
			t.Fatalf("before 30 days %d keys have signed", len(signs))
		}
		time.Sleep(rereadAfter / 2)
		b = newInstance(storage, keys) // from here on they read the keys at different times
		for range 150 {
			step(time.Minute)
		}
		if len(signs) != 2 || signs[0] != first {
			t.Errorf("after 30 days there are %v", signs)
		}
		for range 5 {
			step(24 * time.Hour)
		}
		if ids := a.published(t, kari.MSN); len(signs) != 2 || len(ids) != 1 || ids[0] != signs[1] {
			t.Errorf("days after the rotation there are %v of %v", ids, signs)
		}
	})
}

// together is a storage whose first loads all find what was there before any of them.
type together struct {
	*storetest.Memory
	first  atomic.Int32
	others sync.WaitGroup
}

func (s *together) Load(ctx context.Context, name string) ([]byte, error) {
	value, err := s.Memory.Load(ctx, name)
	if s.first.Add(-1) >= 0 {
		s.others.Done()
		s.others.Wait()
	}
	return value, err
}

// TestInstancesAtOnce make one key, and all sign with that.
func TestInstancesAtOnce(t *testing.T) {
	const n = 8
	storage := &together{Memory: storetest.New()}
	storage.first.Store(n)
	storage.others.Add(n)
	keys, ids := sealtest.Keys(t), make([]string, n)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			one := newInstance(storage.Memory, keys)
			one.at.Shared = store.New(storage)
			ids[i] = kid(t, one.mustSign(t, kari))
		})
	}
	all.Wait()
	if len(slices.Compact(slices.Clone(ids))) != 1 {
		t.Errorf("they sign with %v", ids)
	}
}

// TestOldKeysAreServed for as long as anything they signed is good.
func TestOldKeysAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInstance(storetest.New(), sealtest.Keys(t))
		i.Lifetime = MaxLifetime
		old := kid(t, i.mustSign(t, kari))
		time.Sleep(signsFor)
		var until time.Duration
		for ; slices.Contains(i.published(t, kari.MSN), old); until += time.Minute {
			time.Sleep(time.Minute)
			synctest.Wait()
			if id := kid(t, i.mustSign(t, Subject{Session: until.String(), MSN: kari.MSN})); id == old && until > publishedBefore+rereadAfter {
				t.Fatalf("the old key signs %s after its time", until)
			}
		}
		if until < MaxLifetime {
			t.Errorf("the old key was served for %s", until)
		}
	})
}

// TestStorageIsAway: what is known serves for as long as it takes; where nothing is, it is an error.
func TestStorageIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage, keys := storetest.New(), sealtest.Keys(t)
		i, late := newInstance(storage, keys), newInstance(storage, keys)
		first := kid(t, i.mustSign(t, kari))
		storage.SetAway(true)
		for range 100 {
			time.Sleep(time.Hour)
			if kid(t, i.mustSign(t, kari)) != first {
				t.Fatal("another key")
			}
		}
		if _, err := late.Sign(t.Context(), late.at, kari, time.Now()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("an instance that knows no key: %v", err)
		}
		if _, err := late.Memory.PublicKeys(t.Context(), late.at, kari.MSN, time.Now()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("its public keys: %v", err)
		}
		storage.SetAway(false)
		if kid(t, late.mustSign(t, kari)) != first {
			t.Error("another key after the storage is back")
		}
	})
}

// TestLostKeys: what an instance knows is stored again where storage has lost it, and what nobody can open is replaced.
func TestLostKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage, keys := storetest.New(), sealtest.Keys(t)
		i := newInstance(storage, keys)
		first := kid(t, i.mustSign(t, kari))
		maps.DeleteFunc(storage.Files, func(name string, _ []byte) bool { return name != store.CanaryKey })
		time.Sleep(rereadAfter)
		i.mustSign(t, kari)
		synctest.Wait()
		if newcomer := newInstance(storage, keys); kid(t, newcomer.mustSign(t, kari)) != first {
			t.Error("the key was not stored again")
		}
		for name, sealed := range storage.Files {
			sealed = slices.Clone(sealed)
			sealed[len(sealed)-1] ^= 1
			storage.Files[name] = sealed
		}
		if newcomer := newInstance(storage, keys); kid(t, newcomer.mustSign(t, kari)) == first {
			t.Error("a damaged key signs")
		}
	})
}

// TestRotatedSecret: keys sealed under an older secret go on, and are sealed under the newest.
func TestRotatedSecret(t *testing.T) {
	storage := storetest.New()
	first := kid(t, newInstance(storage, sealtest.Keys(t)).mustSign(t, kari))
	const newer = "a-newer-secret-for-the-tests-of-32-bytes-and-more"
	if kid(t, newInstance(storage, sealtest.Keys(t, newer, sealtest.Secret)).mustSign(t, kari)) != first {
		t.Error("another key with a new secret in front")
	}
	if kid(t, newInstance(storage, sealtest.Keys(t, newer)).mustSign(t, kari)) != first {
		t.Error("another key once the old secret is gone")
	}
}

// TestKeysOfMerchants: each has its own, and they cannot be exchanged in storage, where nothing shows whose they are.
func TestKeysOfMerchants(t *testing.T) {
	storage, keys := storetest.New(), sealtest.Keys(t)
	other := kari
	other.MSN = "234567"
	i := newInstance(storage, keys)
	one, two := kid(t, i.mustSign(t, kari)), kid(t, i.mustSign(t, other))
	if one == two || slices.Contains(i.published(t, kari.MSN), two) {
		t.Fatal("two merchants share a key")
	}
	names := slices.Sorted(maps.Keys(storage.Files))
	for _, name := range names {
		if strings.Contains(name, "123456") || strings.Contains(string(storage.Files[name]), one) {
			t.Errorf("%s tells whose it is, or what", name)
		}
	}
	storage.Files[names[0]], storage.Files[names[1]] = storage.Files[names[1]], storage.Files[names[0]]
	if swapped := newInstance(storage, keys); slices.Contains([]string{one, two}, kid(t, swapped.mustSign(t, kari))) {
		t.Error("one merchant signs with the key of the other")
	}
}

// TestAssertedClaims: those of userinfo have their JSON types, and none takes the place of one that says whose the assertion is.
func TestAssertedClaims(t *testing.T) {
	claims, err := userinfo.Parse([]byte(`{"sub":"kari","iss":"https://evil","aud":"evil","exp":99999999999,"msn":"1","email":"k@example.no","email_verified":true,"address":{"country":"NO"}}`))
	if err != nil {
		t.Fatal(err)
	}
	i := newInstance(storetest.New(), sealtest.Keys(t))
	i.Claims, i.Audience = []string{"iss", "aud", "exp", "msn", "email", "email_verified", "address", "birthdate"}, "the-site"
	about := kari
	about.Claims = claims
	token := i.mustSign(t, about)
	got := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, got); err != nil {
		t.Fatal(err)
	}
	now := float64(time.Now().Unix())
	if got["iss"] != kari.Issuer || got["aud"] != "the-site" || got["sub"] != "kari" || got["msn"] != "123456" || got["exp"].(float64) > now+60 {
		t.Errorf("%v", got)
	}
	if got["email"] != "k@example.no" || got["email_verified"] != true || got["address"].(map[string]any)["country"] != "NO" {
		t.Errorf("%v", got)
	}
	if _, ok := got["birthdate"]; ok || got["jti"] == "" || len(got) != 10 {
		t.Errorf("%v", got)
	}
	if len(token) > i.Size(about) || i.Size(about) > len(token)+8 {
		t.Errorf("%d characters, foreseen were %d", len(token), i.Size(about))
	}
}

// TestStoredAssertionKeys: keys that an earlier version has stored sign on (testdata/stored/v3.json).
func TestStoredAssertionKeys(t *testing.T) {
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
	at := Access{Shared: store.New(storage), Keys: sealtest.Keys(t)}
	ring, err := at.load(t.Context(), "123456")
	keys := ring.keys
	if err != nil || !ring.whole || len(keys) != 1 || keys[0].ID == "" || !keys[0].From.Equal(time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("%v %t %v", keys, ring.whole, err)
	}
}
