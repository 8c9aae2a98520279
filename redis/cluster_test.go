package redis

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/redistest"
	"github.com/caddy-vipps/vippslogin/state"
	"github.com/caddy-vipps/vippslogin/state/statetest"
)

// TestRedisCluster passes the tests of every engine on a Cluster of three: no script and no command reaches across slots.
func TestRedisCluster(t *testing.T) {
	const slots = 16384
	var nodes []*redistest.Server
	var addresses []string
	for range 3 {
		nodes = append(nodes, redistest.Start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--appendonly", "no"))
		addresses = append(addresses, nodes[len(nodes)-1].Address())
	}
	for i, node := range nodes {
		node.Do("CLUSTER", "ADDSLOTSRANGE", i*slots/3, (i+1)*slots/3-1)
		node.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	for _, address := range addresses[1:] {
		host, port, _ := strings.Cut(address, ":")
		nodes[0].Do("CLUSTER", "MEET", host, port)
	}
	for _, node := range nodes {
		waitFor(t, func() bool {
			info, err := node.Client.ClusterInfo(context.Background()).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	t.Run("all", func(t *testing.T) {
		statetest.Test(t, func(t *testing.T) (a, b state.Engine) {
			config := Redis{Address: addresses, KeyPrefix: t.Name()}
			return open(t, config), open(t, config)
		})
	})
	nodes[1].Kill()
	e := open(t, Redis{Address: addresses, Timeout: "300ms"})
	lost := 0
	for n := range 30 { // keys of all nodes
		if err := e.Put(t.Context(), "key/"+strings.Repeat("x", n+1), []byte("1"), time.Hour); err != nil {
			lost++
		}
	}
	if lost == 0 {
		t.Error("no key belonged to the node that was killed")
	}
}
