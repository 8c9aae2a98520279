package vippslogin

import (
	"hash/maphash"

	"golang.org/x/time/rate"
)

// tellings bounds how many lines of the log one client can cause, whoever it is: anybody can open bad
// callbacks all day. Clients share a fixed number of limiters by a hash that nobody outside knows, so that
// memory is bounded, and one who makes noise silences hardly anybody else.
type tellings struct {
	seed     maphash.Seed
	limiters [1024]*rate.Limiter
}

const (
	tellingsPerSecond = 5
	tellingsAtOnce    = 200
)

func newTellings() *tellings {
	t := &tellings{seed: maphash.MakeSeed()}
	for i := range t.limiters {
		t.limiters[i] = rate.NewLimiter(tellingsPerSecond, tellingsAtOnce)
	}
	return t
}

// allow reports whether something that this client caused may be logged now.
func (t *tellings) allow(client string) bool {
	return t.limiters[maphash.String(t.seed, client)%uint64(len(t.limiters))].Allow()
}
