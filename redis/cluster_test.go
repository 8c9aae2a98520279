package redis

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/internal/redistest"
	"github.com/caddy-vipps/vippslogin/state"
	"github.com/caddy-vipps/vippslogin/state/statetest"
)

// TestRedisCluster passes the tests of every engine on a Cluster of three: no script and no command reaches across slots.
func TestRedisCluster(t *testing.T) {
	const slots = 16384
	var nodes []*redistest.Server
	var addresses []string
	var buses []int // the ports on which the nodes talk; 10,000 more than the other one may be taken
	for i := range 3 {
		buses = append(buses, freeport.New(t))
		nodes = append(nodes, redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(buses[i]), "--cluster-node-timeout", "2000", "--appendonly", "no"))
		addresses = append(addresses, nodes[i].Address())
	}
	for i, node := range nodes {
		node.Do("CLUSTER", "ADDSLOTSRANGE", i*slots/3, (i+1)*slots/3-1)
		node.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	for i, node := range nodes[1:] {
		nodes[0].Do("CLUSTER", "MEET", "127.0.0.1", node.Port, buses[1+i])
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
