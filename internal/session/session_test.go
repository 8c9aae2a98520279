package session

import (
	"encoding/base64"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
)

// typicalUserinfo has three addresses, about 1.2 KiB.
const typicalUserinfo = `{"sub":"c06c4afe-d9e1-4c5d-939a-177d752a0944","sid":"7d78a726-af92-499e-b857-de263ef9a969",
"name":"Bjørn Ærlig-Åsen","given_name":"Bjørn","family_name":"Ærlig-Åsen","phone_number":"4712345678","phone_number_verified":true,
"email":"bjorn@example.no","email_verified":true,"birthdate":"1990-05-17",
"address":{"street_address":"Robert Levins gate 5\nH0401","postal_code":"0154","region":"OSLO","country":"NO","formatted":"Robert Levins gate 5\nH0401\n0154 OSLO\nNO","address_type":"home"},
"other_addresses":[{"street_address":"Arbeidsgata 1","postal_code":"0155","region":"OSLO","country":"NO","formatted":"Arbeidsgata 1\n0155 OSLO\nNO","address_type":"work"},
{"street_address":"Hyttevegen 7","postal_code":"2665","region":"LESJA","country":"NO","formatted":"Hyttevegen 7\n2665 LESJA\nNO","address_type":"other"}]}`

func newTestSession(t testing.TB) *Session {
	t.Helper()
	claims, err := userinfo.Parse([]byte(typicalUserinfo))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Second)
	return New(claims, now, 12*time.Hour)
}

func TestSessionRoundTrip(t *testing.T) {
	keys := sealtest.Keys(t).Session
	s := newTestSession(t)
	values, dropped := Seal(keys, s, "shop.example.no", "123456")
	if len(values) != 1 || len(dropped) != 0 {
		t.Fatalf("%d cookies, dropped %v", len(values), dropped)
	}
	got, ok := Open(keys, values, "shop.example.no", "123456")
	if !ok || !reflect.DeepEqual(got, s) {
		t.Errorf("got %+v, want %+v", got, s)
	}
	for _, other := range [][2]string{{"shop.example.no", "12345"}, {"shop.example.n", "o123456"}, {"other.example.no", "123456"}, {"", ""}} {
		if _, ok := Open(keys, values, other[0], other[1]); ok {
			t.Errorf("opened for %v", other)
		}
	}
	if _, ok := Open(sealtest.Keys(t).Login, values, "shop.example.no", "123456"); ok {
		t.Error("opened as a login")
	}
}

// TestEveryByteCounts flips each bit of each character of a session's cookies.
func TestEveryByteCounts(t *testing.T) {
	keys := sealtest.Keys(t).Session
	s := newTestSession(t)
	s.Claims = append(s.Claims, userinfo.NewText("large", strings.Repeat(base64.StdEncoding.EncodeToString(seal.RandomBytes(300)), 1)))
	values, _ := Seal(keys, s, "h", "123456")
	for i, value := range values {
		for at := range len(value) {
			for bit := range 8 {
				altered := slices.Clone(values)
				b := []byte(value)
				b[at] ^= 1 << bit
				altered[i] = string(b)
				if _, ok := Open(keys, altered, "h", "123456"); ok {
					t.Fatalf("opened with bit %d of character %d of cookie %d flipped", bit, at, i)
				}
			}
		}
	}
}

func TestLifetimes(t *testing.T) {
	start := time.Now()
	for name, test := range map[string]struct {
		seen, now      time.Duration
		lifetime, idle time.Duration
		want           bool
	}{
		"fresh":                    {0, 0, time.Hour, 0, true},
		"last second":              {0, time.Hour - time.Second, time.Hour, 0, true},
		"too old":                  {0, time.Hour, time.Hour, 0, false},
		"idle for less":            {0, 9 * time.Minute, time.Hour, 10 * time.Minute, true},
		"idle for too long":        {0, 10 * time.Minute, time.Hour, 10 * time.Minute, false},
		"in use":                   {5 * time.Minute, 14 * time.Minute, time.Hour, 10 * time.Minute, true},
		"in use, and too old":      {59 * time.Minute, time.Hour, time.Hour, 10 * time.Minute, false},
		"the lifetime was lowered": {0, 2 * time.Minute, time.Minute, 0, false},
		"the lifetime was raised":  {0, time.Hour, 9 * time.Hour, 0, false},
	} {
		s := New(nil, start, time.Hour)
		s.Seen = start.Add(test.seen)
		if got := s.Alive(start.Add(test.now), test.lifetime, test.idle); got != test.want {
			t.Errorf("%s: alive is %v", name, got)
		}
	}
}

func TestDecodeSessionTrustsNoLength(t *testing.T) {
	s := newTestSession(t)
	plain := encode(s, s.Claims)
	for n := range len(plain) {
		_, _ = decode(slices.Clone(plain[:n])) // must not panic
	}
	for range 10_000 {
		b := slices.Clone(plain)
		for range 3 {
			b[rand.IntN(len(b))] = byte(rand.IntN(256))
		}
		_, _ = decode(b)
	}
	bomb := seal.Deflate(append([]byte{seal.FormatPlain}, make([]byte, 10<<20)...))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := decode(bomb)
	runtime.ReadMemStats(&after)
	if cost := after.TotalAlloc - before.TotalAlloc; err == nil || len(bomb) > 64<<10 || cost > 1<<20 {
		t.Errorf("a bomb of %d bytes: %v, and %d bytes were taken", len(bomb), err, cost)
	}
}

func FuzzOpenSession(f *testing.F) {
	keys := sealtest.Keys(f, string(seal.RandomBytes(32))).Session // of this process: seeds come from another one
	s := newTestSession(f)
	values, _ := Seal(keys, s, "h", "123456")
	f.Add(values[0], "", "")
	f.Add("2"+values[0], "x", "y")
	f.Add("9"+values[0], "x", "y")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if _, ok := Open(keys, []string{a, b, c}, "h", "123456"); ok && a != values[0] {
			t.Error("opened something nobody sealed")
		}
	})
}

func FuzzDecodeSession(f *testing.F) {
	s := newTestSession(f)
	f.Add(encode(s, s.Claims))
	f.Add(seal.Deflate(encode(s, s.Claims)))
	f.Add(encode(s, nil)[:atCount])
	f.Add(encode(s, []userinfo.Claim{userinfo.NewText("cut", "short")})[:atClaims+4])
	f.Fuzz(func(t *testing.T, plain []byte) {
		if s, err := decode(plain); err == nil && len(encode(s, s.Claims)) == 0 {
			t.Error("nothing is left of it")
		}
	})
}

// BenchmarkOpenSession against the least it could cost: base64 and AES-256-GCM of the same bytes.
func BenchmarkOpenSession(b *testing.B) {
	keys := sealtest.Keys(b).Session
	values, _ := Seal(keys, newTestSession(b), "shop.example.no", "123456")
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sealed, err := base64.RawURLEncoding.DecodeString(values[0][1:])
			if err != nil {
				b.Fatal(err)
			}
			if _, err := keys[0].Open(nil, nil, sealed, []byte("shop.example.no\x00123456\x00")); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("opened before", func(b *testing.B) {
		b.ReportAllocs()
		opened := NewOpened()
		for b.Loop() {
			if _, ok := opened.Open(keys, values, "shop.example.no", "123456"); !ok {
				b.Fatal("not opened")
			}
		}
	})
	b.Run("session", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := Open(keys, values, "shop.example.no", "123456"); !ok {
				b.Fatal("not opened")
			}
		}
	})
}

// TestOpenSessionAllocations: the figure of the design, held by a test since it does not depend on
// the machine.
func TestOpenSessionAllocations(t *testing.T) {
	keys := sealtest.Keys(t).Session
	values, _ := Seal(keys, newTestSession(t), "shop.example.no", "123456")
	got := testing.AllocsPerRun(100, func() { Open(keys, values, "shop.example.no", "123456") })
	if got > 10 {
		t.Errorf("opening a session takes %v allocations, at most 10 are allowed", got)
	}
	t.Logf("%v allocations", got)
}

// TestSessionFromTheFuture is none: its lifetime would not be one.
func TestSessionFromTheFuture(t *testing.T) {
	now := time.Now()
	if New(nil, now.Add(time.Hour), 12*time.Hour).Alive(now, 12*time.Hour, 0) {
		t.Error("alive")
	}
	if !New(nil, now.Add(time.Minute), 12*time.Hour).Alive(now, 12*time.Hour, 0) {
		t.Error("the clocks of two instances may differ")
	}
}
