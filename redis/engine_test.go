package redis

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/internal/redistest"
	"github.com/caddy-vipps/vippslogin/state"
	"github.com/caddy-vipps/vippslogin/state/statetest"
)

// open returns an engine with a config, as one instance has it.
func open(t *testing.T, config Redis) *engine {
	t.Helper()
	s, err := config.settings()
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(s)
	t.Cleanup(func() { _ = e.Destruct() })
	return e
}

// TestRedis passes the tests of every engine: each test has keys of its own on one server.
func TestRedis(t *testing.T) {
	server := redistest.Start(t, "--appendfsync", "everysec")
	t.Run("all", func(t *testing.T) {
		statetest.Test(t, func(t *testing.T) (a, b state.Engine) {
			config := Redis{Address: []string{server.Address()}, KeyPrefix: t.Name()}
			return open(t, config), open(t, config)
		})
	})
	for _, key := range server.Do("KEYS", "*").([]any) { // but for those of the tests of what lasts for ever
		const never = -1 // -2: it has expired by now
		if ttl := server.Do("PTTL", key).(int64); ttl == never && !isForEver(key.(string)) {
			t.Errorf("%s never expires", key)
		}
	}
}

func isForEver(key string) bool {
	for _, name := range []string{"get/text", "expiry/for-ever", "add/for-ever"} {
		if len(key) > len(name) && key[len(key)-len(name):] == name {
			return true
		}
	}
	return false
}

// TestRedisAway: a server that refuses, hangs or does not take the password is never taken for one that has nothing.
func TestRedisAway(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "secret")
	config := Redis{Address: []string{server.Address()}, Timeout: "300ms", Password: "secret"}
	away := func(name string, config Redis) {
		t.Run(name, func(t *testing.T) { statetest.TestAway(t, open(t, config), 3*time.Second) })
	}
	away("wrong password", Redis{Address: config.Address, Timeout: config.Timeout, Password: "other"})
	away("no password", Redis{Address: config.Address, Timeout: config.Timeout})
	used := open(t, config)
	if err := used.Put(t.Context(), "key", []byte("1"), time.Hour); err != nil {
		t.Fatal(err)
	}
	server.Hang()
	away("hangs", config)
	t.Run("hangs, and was used", func(t *testing.T) { statetest.TestAway(t, used, 3*time.Second) })
	server.Kill()
	away("refuses", config)
	t.Run("refuses, and was used", func(t *testing.T) { statetest.TestAway(t, used, 3*time.Second) })
	server.Run()
	for deadline := time.Now().Add(10 * time.Second); ; {
		got, err := used.Get(t.Context(), "key")
		if err == nil && string(got) == "1" {
			break
		}
		if !errors.Is(err, state.ErrUnavailable) || time.Now().After(deadline) {
			t.Fatalf("after it is back: %q %v", got, err)
		}
	}
}

// TestRedisLoses: who has read what a server has lost is told so, also where others have appended since.
func TestRedisLoses(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "no")
	config := Redis{Address: []string{server.Address()}}
	a, b := open(t, config), open(t, config)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(a.Append(ctx, "feed", time.Hour, []byte("1")))
	server.Do("SAVE")
	must(a.Append(ctx, "feed", time.Hour, []byte("2")))
	entries, position, err := b.Next(ctx, "feed", nil, 0)
	if err != nil || len(entries) != 2 {
		t.Fatal(entries, err)
	}
	server.Kill()
	server.Run()
	waitFor(t, func() bool { return a.Append(ctx, "feed", time.Hour, []byte("3")) == nil })
	waitFor(t, func() bool { // whatever it is that the client does about the connection
		entries, _, err := b.Next(ctx, "feed", position, time.Second)
		if err == nil {
			t.Fatalf("%q, want ErrLost", entries)
		}
		return errors.Is(err, state.ErrLost)
	})
	_, position, err = b.Next(ctx, "feed", nil, 0)
	must(err)
	if _, position, err = b.Next(ctx, "feed", position, 0); err != nil {
		t.Errorf("%v, although it is all there", err)
	}
	server.Do("DEL", "vipps_login:{feed}:1d") // as a server that evicts does, without a connection that breaks
	if _, _, err := b.Next(ctx, "feed", position, time.Minute); !errors.Is(err, state.ErrLost) {
		t.Errorf("%v, want ErrLost", err)
	}
}

// TestRedisNotifies at once: an entry and a change are known at another instance within 200 ms.
func TestRedisNotifies(t *testing.T) {
	server := redistest.Start(t)
	config := Redis{Address: []string{server.Address()}}
	a, b := open(t, config), open(t, config)
	ctx := t.Context()
	if err := a.Put(ctx, "key", []byte("0"), time.Hour); err != nil {
		t.Fatal(err)
	}
	changed, stop := b.Watch("key")
	defer stop()
	<-changed // subscribed
	var position state.Position
	for n := range 20 {
		if swapped, err := a.Swap(ctx, "key", fmt.Append(nil, n), fmt.Append(nil, n+1), time.Hour); err != nil || !swapped {
			t.Fatal(swapped, err)
		}
		began := time.Now()
		<-changed
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("a change was told after %s", took)
		}
		appended := make(chan time.Time, 1)
		go func() {
			appended <- time.Now()
			_ = a.Append(ctx, "feed", time.Hour, fmt.Append(nil, n))
		}()
		entries, next, err := b.Next(ctx, "feed", position, 20*time.Second)
		if err != nil || len(entries) == 0 {
			t.Fatal(entries, err)
		}
		position = next
		if took := time.Since(<-appended); took > 200*time.Millisecond {
			t.Errorf("an entry was told after %s", took)
		}
	}
}

// TestReloadKeepsConnections: the same config has the same engine.
func TestReloadKeepsConnections(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	first, second, other := &Redis{Password: "a"}, &Redis{Password: "a"}, &Redis{Password: "b"}
	for _, r := range []*Redis{first, second, other} {
		if err := r.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := r.Cleanup(); err != nil {
				t.Error(err)
			}
		}()
	}
	if first.Engine() != second.Engine() || first.Engine() == other.Engine() {
		t.Error("an engine is for one config")
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never happens")
		}
	}
}
