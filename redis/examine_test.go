package redis

import (
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/redistest"
)

// TestExamine: a server that deletes keys to make room is named, unless nothing limits its memory, or our user may not look.
func TestExamine(t *testing.T) {
	server := redistest.Start(t)
	config := Redis{Address: []string{server.Address()}}
	for _, c := range []struct{ policy, limit, want string }{
		{"allkeys-lru", "100mb", "allkeys-lru"},
		{"volatile-ttl", "100mb", "volatile-ttl"},
		{"noeviction", "100mb", ""},
		{"allkeys-lru", "0", ""},
	} {
		server.Do("CONFIG", "SET", "maxmemory", c.limit, "maxmemory-policy", c.policy)
		problem, err := open(t, config).Examine(t.Context())
		if err != nil || (c.want == "") != (problem == "") || !strings.Contains(problem, c.want) {
			t.Errorf("%s with maxmemory %s: %q, %v", c.policy, c.limit, problem, err)
		}
	}
	server.Do("CONFIG", "SET", "maxmemory", "100mb")
	server.Do("ACL", "SETUSER", "default", "-info")
	if problem, err := open(t, config).Examine(t.Context()); problem != "" || err != nil {
		t.Errorf("not allowed to look: %q, %v", problem, err)
	}
	server.Kill()
	if _, err := open(t, config).Examine(t.Context()); err == nil {
		t.Error("a server that is away has nothing to say")
	}
}

// TestExamineRights: each command that the user may not run is named before it is needed, and trying leaves nothing behind.
func TestExamineRights(t *testing.T) {
	server := redistest.Start(t)
	config := Redis{Address: []string{server.Address()}}
	for _, command := range []string{"GET", "SET", "GETDEL", "PTTL", "PEXPIRE", "TIME", "XADD", "XRANGE", "XREAD", "PUBLISH", "SUBSCRIBE"} {
		server.Do("ACL", "SETUSER", "limited", "reset", "on", ">secret", "~vipps_login:*", "&vipps_login:changed", "+@all", "-"+strings.ToLower(command))
		problem, err := open(t, Redis{Address: config.Address, Username: "limited", Password: "secret"}).Examine(t.Context())
		if err != nil || !strings.Contains(problem, " "+command+":") {
			t.Errorf("without %s: %q, %v", command, problem, err)
		}
	}
	if left := server.Do("KEYS", "*").([]any); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
