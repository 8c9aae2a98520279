package vipps

import (
	"time"

	gocache "github.com/patrickmn/go-cache"
)

// refusals remembers for which sales units Vipps MobilePay refuses even a partner token that is new. One such unit
// must not have the token of all the others replaced with each of its logins.
type refusals struct{ msns *gocache.Cache }

const (
	// refusalKept is how long the token is not replaced for such a unit.
	refusalKept = time.Minute
	// maxRefusals bounds the memory. Past it the oldest knowledge goes.
	maxRefusals = 10_000
)

func newRefusals() refusals { return refusals{gocache.New(refusalKept, 0)} }

func (r refusals) isRefused(msn string) bool {
	_, found := r.msns.Get(msn)
	return found
}

func (r refusals) refused(msn string) {
	if r.msns.DeleteExpired(); r.msns.ItemCount() >= maxRefusals {
		r.msns.Flush()
	}
	r.msns.SetDefault(msn, struct{}{})
}
