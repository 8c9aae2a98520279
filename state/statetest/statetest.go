package statetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/state"
)

// instances are two engines on one state, as two instances of Caddy have them.
type instances struct{ a, b state.Engine }

// Test tests engines. open returns two of them, as two instances have them, on one state that is empty. It is called
// once for each test.
func Test(t *testing.T, open func(t *testing.T) (a, b state.Engine)) {
	for name, test := range map[string]func(*testing.T, instances){
		"Get": testGet, "Expiry": testExpiry, "Add": testAdd, "AddAtOnce": testAddAtOnce, "Swap": testSwap, "SwapAtOnce": testSwapAtOnce,
		"Take": testTake, "TakeAtOnce": testTakeAtOnce, "Count": testCount, "CountAtOnce": testCountAtOnce,
		"Feed": testFeed, "FeedWaits": testFeedWaits, "LongFeed": testLongFeed, "Watch": testWatch, "Context": testContext,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := open(t)
			test(t, instances{a, b})
		})
	}
}

// TestAway tests an engine whose server does not answer: every call fails in time, and none says that there is
// nothing.
func TestAway(t *testing.T, e state.Engine, within time.Duration) {
	for name, call := range calls(e) {
		began := time.Now()
		err := call(t.Context())
		if err == nil || errors.Is(err, state.ErrNotFound) || errors.Is(err, state.ErrLost) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > within {
			t.Errorf("%s took %s", name, took)
		}
	}
}

// calls are all that an engine can be asked for that can fail.
func calls(e state.Engine) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Get": func(ctx context.Context) error { _, err := e.Get(ctx, "calls/get"); return err },
		"Put": func(ctx context.Context) error { return e.Put(ctx, "calls/put", []byte("x"), time.Hour) },
		"Add": func(ctx context.Context) error { _, err := e.Add(ctx, "calls/add", []byte("x"), time.Hour); return err },
		"Swap": func(ctx context.Context) error {
			_, err := e.Swap(ctx, "calls/swap", []byte("x"), []byte("y"), 0)
			return err
		},
		"Take":   func(ctx context.Context) error { _, err := e.Take(ctx, "calls/take"); return err },
		"Count":  func(ctx context.Context) error { _, err := e.Count(ctx, "calls/count", 1, time.Hour); return err },
		"Append": func(ctx context.Context) error { return e.Append(ctx, "calls", time.Hour, []byte("x")) },
		"Next":   func(ctx context.Context) error { _, _, err := e.Next(ctx, "calls", nil, time.Second); return err },
	}
}

func (i instances) each(do func(name string, e state.Engine)) {
	do("a", i.a)
	do("b", i.b)
}

// wantValue fails unless the value is there at both instances; nil is none.
func (i instances) wantValue(t *testing.T, key string, want []byte) {
	t.Helper()
	i.each(func(name string, e state.Engine) {
		got, err := e.Get(t.Context(), key)
		switch {
		case want == nil && !errors.Is(err, state.ErrNotFound):
			t.Errorf("%s at %s: %q %v, want ErrNotFound", key, name, got, err)
		case want != nil && (err != nil || !bytes.Equal(got, want)):
			t.Errorf("%s at %s: %q %v, want %q", key, name, got, err, want)
		}
	})
}

// waitGone waits until there is no value.
func waitGone(t *testing.T, e state.Engine, key string) {
	t.Helper()
	waitFor(t, func() bool {
		_, err := e.Get(t.Context(), key)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			t.Fatal(err)
		}
		return err != nil
	})
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never happens")
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testGet(t *testing.T, i instances) {
	i.wantValue(t, "get/none", nil)
	binary := make([]byte, 256)
	for n := range binary {
		binary[n] = byte(n)
	}
	for key, value := range map[string][]byte{
		"get/text": []byte("text"), "get/empty": {}, "get/binary": binary, "get/lines": []byte("1\r\n2\n\n"), "get/long": bytes.Repeat([]byte("0123456789abcdef"), 4096),
		"get/text2": []byte("begins as another key"), "get/-_Az09": []byte("all that keys are made of"), "get/deeper/still": []byte("three segments"), "alone": []byte("one segment"),
	} {
		must(t, i.a.Put(t.Context(), key, value, time.Hour))
		i.wantValue(t, key, value)
	}
	must(t, i.b.Put(t.Context(), "get/text", []byte("another"), state.ForEver))
	i.wantValue(t, "get/text", []byte("another"))
	got, err := i.a.Get(t.Context(), "get/text")
	must(t, err)
	clear(got)
	i.wantValue(t, "get/text", []byte("another"))
	given := []byte("given")
	must(t, i.a.Put(t.Context(), "get/text", given, time.Hour))
	clear(given)
	i.wantValue(t, "get/text", []byte("given"))
}

// short is a life that ends within the test, and not before what is written with it was looked at.
const short = 1500 * time.Millisecond

func testExpiry(t *testing.T, i instances) {
	ctx := t.Context()
	for _, key := range []string{"expiry/put", "expiry/swap", "expiry/longer", "expiry/for-ever"} {
		must(t, i.a.Put(ctx, key, []byte("1"), short))
	}
	if added, err := i.a.Add(ctx, "expiry/add", []byte("1"), short); err != nil || !added {
		t.Fatal(added, err)
	}
	if swapped, err := i.b.Swap(ctx, "expiry/swap", []byte("1"), []byte("2"), short); err != nil || !swapped {
		t.Fatal(swapped, err)
	}
	if swapped, err := i.b.Swap(ctx, "expiry/longer", []byte("1"), []byte("2"), time.Hour); err != nil || !swapped {
		t.Fatal(swapped, err)
	}
	must(t, i.b.Put(ctx, "expiry/for-ever", []byte("2"), state.ForEver))
	i.wantValue(t, "expiry/put", []byte("1"))
	for _, key := range []string{"expiry/put", "expiry/add", "expiry/swap"} {
		waitGone(t, i.a, key)
		waitGone(t, i.b, key)
	}
	i.wantValue(t, "expiry/longer", []byte("2"))
	i.wantValue(t, "expiry/for-ever", []byte("2"))
	// What is over is not in the way of anything.
	if swapped, err := i.a.Swap(ctx, "expiry/swap", []byte("2"), []byte("3"), time.Hour); err != nil || swapped {
		t.Errorf("swapped what is over: %v", err)
	}
	if _, err := i.a.Take(ctx, "expiry/put"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("took what is over: %v", err)
	}
	if added, err := i.a.Add(ctx, "expiry/add", []byte("2"), time.Hour); err != nil || !added {
		t.Errorf("not added: %v", err)
	}
	i.wantValue(t, "expiry/add", []byte("2"))
}

func testAdd(t *testing.T, i instances) {
	for _, step := range []struct {
		e     state.Engine
		value string
		want  bool
	}{{i.a, "first", true}, {i.b, "second", false}, {i.a, "third", false}, {i.a, "first", true}} { // the last: its answer was lost
		if added, err := step.e.Add(t.Context(), "add/one", []byte(step.value), time.Hour); err != nil || added != step.want {
			t.Errorf("%s: %t %v", step.value, added, err)
		}
		i.wantValue(t, "add/one", []byte("first"))
	}
	if added, err := i.b.Add(t.Context(), "add/for-ever", []byte("x"), state.ForEver); err != nil || !added {
		t.Error(added, err)
	}
}

// atOnce calls from both instances at once, each call with a text of its own, and returns how many calls said yes.
func (i instances) atOnce(t *testing.T, each int, call func(e state.Engine, own string) (bool, error)) int {
	t.Helper()
	var all sync.WaitGroup
	var yes atomic.Int32
	i.each(func(name string, e state.Engine) {
		for n := range each {
			all.Go(func() {
				ok, err := call(e, fmt.Sprint(name, n))
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if ok {
					yes.Add(1)
				}
			})
		}
	})
	all.Wait()
	return int(yes.Load())
}

func testAddAtOnce(t *testing.T, i instances) {
	if n := i.atOnce(t, 8, func(e state.Engine, own string) (bool, error) {
		return e.Add(t.Context(), "add/at-once", []byte(own), time.Hour)
	}); n != 1 {
		t.Errorf("%d of 16 were the first", n)
	}
}

func testSwap(t *testing.T, i instances) {
	ctx := t.Context()
	swap := func(e state.Engine, old, value string, want bool) {
		t.Helper()
		if swapped, err := e.Swap(ctx, "swap/one", []byte(old), []byte(value), time.Hour); err != nil || swapped != want {
			t.Errorf("%q for %q: %t %v", value, old, swapped, err)
		}
	}
	swap(i.a, "1", "2", false)
	i.wantValue(t, "swap/one", nil)
	swap(i.a, "", "2", false) // nothing is not empty
	i.wantValue(t, "swap/one", nil)
	must(t, i.b.Put(ctx, "swap/one", []byte("1"), time.Hour))
	swap(i.a, "0", "2", false)
	i.wantValue(t, "swap/one", []byte("1"))
	swap(i.a, "1", "2", true)
	i.wantValue(t, "swap/one", []byte("2"))
	swap(i.a, "1", "2", true) // its answer was lost
	swap(i.b, "1", "3", false)
	swap(i.b, "2", "3", true)
	i.wantValue(t, "swap/one", []byte("3"))
}

func testSwapAtOnce(t *testing.T, i instances) {
	must(t, i.a.Put(t.Context(), "swap/at-once", []byte("|"), time.Hour))
	if n := i.atOnce(t, 4, func(e state.Engine, own string) (bool, error) {
		for { // each adds a word of its own
			old, err := e.Get(t.Context(), "swap/at-once")
			if err != nil {
				return false, err
			}
			swapped, err := e.Swap(t.Context(), "swap/at-once", old, fmt.Appendf(nil, "%s%s|", old, own), time.Hour)
			if swapped || err != nil {
				return swapped, err
			}
		}
	}); n != 8 {
		t.Errorf("%d swaps", n)
	}
	got, err := i.b.Get(t.Context(), "swap/at-once")
	if words := strings.Count(string(got), "|") - 1; err != nil || words != 8 {
		t.Errorf("%d of 8 changes are there: %q %v", words, got, err)
	}
}

func testTake(t *testing.T, i instances) {
	must(t, i.a.Put(t.Context(), "take/one", []byte("1"), time.Hour))
	if got, err := i.b.Take(t.Context(), "take/one"); err != nil || string(got) != "1" {
		t.Errorf("%q %v", got, err)
	}
	i.wantValue(t, "take/one", nil)
	if _, err := i.a.Take(t.Context(), "take/one"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("taken twice: %v", err)
	}
}

func testTakeAtOnce(t *testing.T, i instances) {
	must(t, i.a.Put(t.Context(), "take/at-once", []byte("1"), time.Hour))
	if n := i.atOnce(t, 8, func(e state.Engine, _ string) (bool, error) {
		_, err := e.Take(t.Context(), "take/at-once")
		if errors.Is(err, state.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	}); n != 1 {
		t.Errorf("%d of 16 took it", n)
	}
}

func testCount(t *testing.T, i instances) {
	const limit, window = 3, 4 * time.Second
	count := func(e state.Engine, key string) time.Duration {
		t.Helper()
		wait, err := e.Count(t.Context(), key, limit, window)
		must(t, err)
		return wait
	}
	began := time.Now()
	for n, e := range []state.Engine{i.a, i.b, i.a} {
		if wait := count(e, "count/one"); wait != 0 {
			t.Errorf("event %d: %s", n, wait)
		}
	}
	wait := count(i.b, "count/one")
	if wait <= 0 || wait > window {
		t.Errorf("the fourth waits for %s", wait)
	}
	if other := count(i.b, "count/other"); other != 0 {
		t.Errorf("another key waits for %s", other)
	}
	// Events that were not counted do not make it longer.
	waitFor(t, func() bool { return count(i.a, "count/one") == 0 })
	if took := time.Since(began); took < window-time.Second || took > 2*window {
		t.Errorf("counted again after %s, want %s", took, window)
	}
}

func testCountAtOnce(t *testing.T, i instances) {
	if n := i.atOnce(t, 8, func(e state.Engine, _ string) (bool, error) {
		wait, err := e.Count(t.Context(), "count/at-once", 5, time.Hour)
		return wait == 0, err
	}); n != 5 {
		t.Errorf("%d were counted, want 5", n)
	}
}
