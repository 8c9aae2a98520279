package redis

import (
	"context"
	"fmt"
	"regexp"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-vipps/vippslogin/state"
)

// policyIn finds the policy in INFO, and limitIn the limit: 0 is none.
var (
	policyIn = regexp.MustCompile(`(?m)^maxmemory_policy:([a-z-]+)`)
	limitIn  = regexp.MustCompile(`(?m)^maxmemory:([0-9]+)`)
)

// Examine implements state.Examiner: a server that deletes keys to make room deletes revocations (https://redis.io/docs/latest/develop/reference/eviction/).
func (e *engine) Examine(ctx context.Context) (problem string, err error) {
	var info string
	err = e.call(ctx, func(ctx context.Context) error {
		info, err = e.client.Info(ctx, "memory").Result()
		return err
	})
	if err != nil && redis.HasErrorPrefix(err, "NOPERM") {
		return "", nil
	}
	policy, limit := policyIn.FindStringSubmatch(info), limitIn.FindStringSubmatch(info)
	if err != nil || policy == nil || limit == nil || policy[1] == "noeviction" || limit[1] == "0" {
		return "", err
	}
	return fmt.Sprintf("Redis may delete revocations and phone logins to make room: its maxmemory-policy is %s; set noeviction", policy[1]), nil
}

var _ state.Examiner = (*engine)(nil)
