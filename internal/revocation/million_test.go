package revocation

import (
	"runtime"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/session"
)

// TestMillion: a revoked session takes at most 64 bytes of memory, however many there are, and expired ones take none.
func TestMillion(t *testing.T) {
	const n = 1_000_000
	now := time.Now()
	heap := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap()
	r := new(Ended)
	var last *session.Session
	for range n {
		last = session.New(nil, now, time.Hour)
		r.add(endOf(last), 1)
	}
	if each := (heap() - before) / n; each > 64 {
		t.Errorf("%d bytes for each session", each)
	} else {
		t.Logf("%d bytes for each session", each)
	}
	if !r.Has(last, "1") || r.Has(session.New(nil, now, time.Hour), "1") || r.Len() != n {
		t.Error("not the sessions that were revoked")
	}
	pass := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			r.DeleteExpired()
		}
	})
	t.Logf("a pass over all takes %s", time.Duration(pass.NsPerOp()))
}
