package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/revocation"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/state"
)

const secret = "a-cookie-secret-of-the-load-test-of-32-bytes-and-more"

func accessOf(engine state.Engine) (revocation.Access, error) {
	keys, err := seal.NewKeys("https://api.vipps.no", []string{secret})
	return revocation.Access{Shared: engine, Keys: keys, Place: "bench"}, err
}

// logout is what a logout adds: the id of a session that would have lasted twelve hours.
func logout(id []byte, began time.Time) revocation.Entry {
	return revocation.Entry{Session: base64.RawURLEncoding.EncodeToString(id), Before: began.Unix(), Until: began.Add(12 * time.Hour).Unix()}
}

// measureEnded ends n sessions at the first instance, 200 at the same time, and reads them at all.
func measureEnded(s shared, n int) error {
	engines := s.engines()
	lists, accesses := make([]*revocation.List, len(engines)), make([]revocation.Access, len(engines))
	for i, engine := range engines {
		var err error
		if accesses[i], err = accessOf(engine); err != nil {
			return err
		}
		lists[i] = revocation.NewList()
	}
	ctx := context.Background()
	if err := lists[0].Loaded(ctx, accesses[0]); err != nil {
		return err
	}
	before, err := s.usage()
	if err != nil {
		return err
	}
	began := time.Now()
	err = each(n, 200, func(int) error { return lists[0].Add(ctx, accesses[0], logout(seal.RandomBytes(12), began)) })
	if err != nil {
		return err
	}
	after, err := s.usage()
	if err != nil {
		return err
	}
	report(fmt.Sprintf("%d sessions ended, in %s", n, time.Since(began).Round(time.Millisecond)), n, before, after)
	return readEnded(s, lists, accesses, n)
}

// readEnded lets every instance read the list, as one does that starts.
func readEnded(s shared, lists []*revocation.List, accesses []revocation.Access, n int) error {
	ctx := context.Background()
	for i := range lists { // the first one anew as well: its memory counts like the others'
		lists[i] = revocation.NewList()
	}
	before, err := s.usage()
	if err != nil {
		return err
	}
	empty, began := heap(), time.Now()
	for i := range lists {
		if err := lists[i].Loaded(ctx, accesses[i]); err != nil {
			return err
		}
		if lists[i].Now.Len() != n {
			return fmt.Errorf("instance %d knows %d ended sessions, want %d", i, lists[i].Now.Len(), n)
		}
	}
	took, used := time.Since(began), heap()-empty
	after, err := s.usage()
	if err != nil {
		return err
	}
	report(fmt.Sprintf("%d instances have read them, in %s each; heap %.1f MiB each, %.0f bytes for each session", len(lists), (took/time.Duration(len(lists))).Round(time.Millisecond),
		float64(used)/float64(len(lists))/(1<<20), float64(used)/float64(len(lists))/float64(n)), n*len(lists), before, after)
	return followEnded(s, lists, accesses)
}

// followEnded lets all instances follow the list for a minute, and then ends sessions, one after the other.
func followEnded(s shared, lists []*revocation.List, accesses []revocation.Access) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range lists {
		go func() {
			for ctx.Err() == nil {
				_ = lists[i].Follow(ctx, accesses[i], revocation.RefreshEvery)
			}
		}()
	}
	time.Sleep(15 * time.Second) // all wait
	before, err := s.usage()
	if err != nil {
		return err
	}
	time.Sleep(time.Minute)
	after, err := s.usage()
	if err != nil {
		return err
	}
	report(fmt.Sprintf("a minute of %d idle instances", len(lists)), len(lists), before, after)
	var times []time.Duration
	for range 20 {
		id, began := seal.RandomBytes(12), time.Now()
		if err := lists[0].Add(ctx, accesses[0], logout(id, began)); err != nil {
			return err
		}
		for _, list := range lists {
			for !list.Now.Has(&session.Session{ID: string(id), Issued: began}, "123456") {
				time.Sleep(time.Millisecond)
			}
		}
		times = append(times, time.Since(began).Round(time.Millisecond))
	}
	slices.Sort(times)
	fmt.Printf("a session that has ended is so at all %d instances after %s (median of %d; at most %s)\n", len(lists), times[len(times)/2], len(times), times[len(times)-1])
	return nil
}
