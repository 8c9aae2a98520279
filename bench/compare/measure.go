package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/caddy-vipps/vippslogin/bench/rig"
)

// figures are what one Caddy has done in a round.
type figures struct {
	rig.Result
	cpu                float64 // microseconds for a request, of the whole process
	allocations, bytes float64 // for a request
}

// round is one measurement of each side, right after one another.
type round [sideCount]figures

// drive sends the requests of a case to one side.
func (b *bench) drive(ctx context.Context, p plan, c sample, s side, duration time.Duration) (figures, error) {
	watch, err := rig.WatchOthers(b.with, b.bare, b.upstream)
	if err != nil {
		return figures{}, err
	}
	memory, err := rig.ReadMemory(s.admin)
	if err != nil {
		return figures{}, err
	}
	before, err := s.process.CPU()
	if err != nil {
		return figures{}, err
	}
	result, err := p.driver.Run(ctx, rig.Load{
		URL: s.url, Header: s.header, Connections: p.connections, Duration: duration, Status: c.status,
	})
	if err != nil {
		return figures{}, err
	}
	after, err := s.process.CPU()
	if err != nil {
		return figures{}, err
	}
	now, err := rig.ReadMemory(s.admin)
	if err != nil {
		return figures{}, err
	}
	others, err := watch.Share()
	if err == nil && others > p.others {
		err = fmt.Errorf("disturbed: other processes took %.1f %% of the machine, at most %.1f %% are allowed: try again when it is quiet", 100*others, 100*p.others)
	}
	n := float64(result.Requests)
	return figures{result, float64((after - before).Microseconds()) / n, float64(now.Mallocs-memory.Mallocs) / n, float64(now.TotalAlloc-memory.TotalAlloc) / n}, err
}

// measure drives the sides in turn, in one order and then in the other, so that what changes on the machine meanwhile falls on
// all of them.
func (b *bench) measure(ctx context.Context, p plan, c sample) ([]round, error) {
	sides := b.sides(c)
	var rounds []round
	for i := -1; i < p.rounds; i++ {
		duration := p.duration
		if i < 0 {
			duration = min(duration, time.Second) // to warm up: connections, the garbage collector, the processor
		}
		var now round
		for j := range sides {
			if i%2 == 0 {
				j = len(sides) - 1 - j
			}
			var err error
			if now[j], err = b.drive(ctx, p, c, sides[j], duration); err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", sideNames[j], i+1, err)
			}
		}
		if i >= 0 {
			rounds = append(rounds, now)
		}
	}
	return rounds, nil
}

var sideNames = [sideCount]string{"with the plugin", "bare", "bare, sent the headers"}

// profile writes what the Caddys compute meanwhile, if that was asked for.
func (b *bench) profile(ctx context.Context, p plan, c sample) error {
	if p.profiles == "" {
		return nil
	}
	for i, s := range b.sides(c) {
		file := filepath.Join(p.profiles, c.name+"-"+[]string{"with", "bare", "headers"}[i])
		written := make(chan error, 1)
		go func() {
			written <- rig.Profile(s.admin, file+".prof", p.duration)
		}()
		if _, err := b.drive(ctx, p, c, s, p.duration+time.Second); err != nil {
			return err
		}
		if err := errors.Join(<-written, rig.AllocationProfile(s.admin, file+".allocs.prof")); err != nil {
			return err
		}
	}
	return nil
}
