package redis

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-vipps/vippslogin/state"
)

// policyIn finds the policy in INFO, and limitIn the limit: 0 is none.
var (
	policyIn = regexp.MustCompile(`(?m)^maxmemory_policy:([a-z-]+)`)
	limitIn  = regexp.MustCompile(`(?m)^maxmemory:([0-9]+)`)
)

// Examine implements state.Examiner: the user needs rights, and a server that deletes keys to make room deletes revocations
// (https://redis.io/docs/latest/develop/reference/eviction/).
func (e *engine) Examine(ctx context.Context) (problem string, err error) {
	if problem, err = e.missingRights(ctx); err != nil || problem != "" {
		return problem, err
	}
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

// rightsScript returns which commands the user may not run. None of them changes anything: there is no KEYS[1].
var rightsScript = redis.NewScript(`
local refused = {}
local function try(...)
	local answer = redis.pcall(...)
	if type(answer) == 'table' and answer.err and string.find(answer.err, 'user executing the script', 1, true) then
		refused[#refused + 1] = (...)
	end
end
local key = KEYS[1]
try('GET', key)
try('SET', key, '', 'XX')
try('GETDEL', key)
try('PTTL', key)
try('PEXPIRE', key, 1)
try('TIME')
try('XADD', key, 'NOMKSTREAM', '*', 'e', '')
try('XRANGE', key, '-', '+', 'COUNT', 1)
try('XREAD', 'COUNT', 1, 'STREAMS', key, '0-0')
try('PUBLISH', ARGV[1], ARGV[2])
return table.concat(refused, ', ')
`)

// missingRights names the commands that the user may not run. One that is seldom needed would not be missed for long: without
// XADD, no revocation is stored, and without SUBSCRIBE, no till that waits is woken.
func (e *engine) missingRights(ctx context.Context) (problem string, err error) {
	var refused string
	err = e.call(ctx, func(ctx context.Context) error {
		refused, err = rightsScript.Run(ctx, e.client, []string{e.prefix + "self_test"}, e.channel(), e.message("self_test")).Text()
		return err
	})
	if err != nil {
		return "", err
	}
	err = e.call(ctx, func(ctx context.Context) error {
		subscription := e.client.Subscribe(ctx, e.channel())
		defer subscription.Close()
		_, err := subscription.Receive(ctx)
		return err
	})
	if err != nil && redis.HasErrorPrefix(err, "NOPERM") {
		refused, err = strings.TrimPrefix(refused+", SUBSCRIBE", ", "), nil
	}
	if err != nil || refused == "" {
		return "", err
	}
	return fmt.Sprintf("Redis refuses the user %s: give it the rights of examples/redis/users.acl, with key_prefix %s", refused, strings.TrimSuffix(e.prefix, ":")), nil
}

var _ state.Examiner = (*engine)(nil)
