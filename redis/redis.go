// Package redis is an engine of shared state for the plugin: a Redis or Valkey server, alone, with Sentinel, or a
// Cluster. It is part of a build that names it:
//
//	xcaddy build --with github.com/caddy-vipps/vippslogin/redis
package redis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	_ "github.com/caddy-vipps/vippslogin" // whose state it is
	"github.com/caddy-vipps/vippslogin/state"
)

func init() { caddy.RegisterModule(new(Redis)) }

// Redis keeps what instances share in Redis 7 or later, or in Valkey.
type Redis struct {
	// Address is where the server is, as host:port; several are nodes of one Cluster. Default: localhost:6379. Placeholders
	// are resolved when the config is loaded, here and in all fields.
	Address []string `json:"address,omitempty"`

	// Sentinel finds the server, in place of Address.
	Sentinel *Sentinel `json:"sentinel,omitempty"`

	// Username is that of an ACL user. Default: the server's default user.
	Username string `json:"username,omitempty"`

	// Password is the user's. Default: none.
	Password string `json:"password,omitempty"`

	// DB is the number of the database. A Cluster has 0 alone. Default: 0.
	DB string `json:"db,omitempty"`

	// KeyPrefix begins every key, with a colon behind it. Default: vipps_login.
	KeyPrefix string `json:"key_prefix,omitempty"`

	// TLS is how the connections are encrypted. Default: they are not.
	TLS *TLS `json:"tls,omitempty"`

	// Timeout is how long anything may take: a connection, a command and its answer. Default: 2s.
	Timeout string `json:"timeout,omitempty"`

	// PoolSize is how many connections there are to a server at most. Default: 10 for each processor.
	PoolSize string `json:"pool_size,omitempty"`

	engine  *engine
	poolKey string
}

// Sentinel is the set-up of Redis Sentinel.
type Sentinel struct {
	// Master is the name that the sentinels have for the server.
	Master string `json:"master"`

	// Address is where the sentinels are, as host:port.
	Address []string `json:"address"`

	// Username and Password are those at the sentinels. Default: none.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

// TLS is how connections are encrypted.
type TLS struct {
	// CA is a PEM file with the certificates of the authorities that are trusted. Default: the system's.
	CA string `json:"ca,omitempty"`

	// Certificate and Key are PEM files with a client certificate. They are read for each connection, so that they can be
	// renewed. Default: none.
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`

	// ServerName is the name in the server's certificate. Default: the host of its address.
	ServerName string `json:"server_name,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Redis) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "vipps_login.state.redis", New: func() caddy.Module { return new(Redis) }}
}

// pool holds engines by all that they are made of: a reload with the same config goes on with the same connections.
var pool = caddy.NewUsagePool()

// Provision resolves the config. It does no network.
func (r *Redis) Provision(caddy.Context) error {
	s, err := r.settings()
	if err != nil {
		return err
	}
	content, err := json.Marshal(s)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	r.poolKey = hex.EncodeToString(sum[:])
	value, _, _ := pool.LoadOrNew(r.poolKey, func() (caddy.Destructor, error) { return newEngine(s), nil }) // cannot fail
	r.engine = value.(*engine)
	return nil
}

// Cleanup gives back what Provision took.
func (r *Redis) Cleanup() error {
	if r.poolKey == "" {
		return nil
	}
	_, err := pool.Delete(r.poolKey)
	return err
}

// Engine implements state.Provider.
func (r *Redis) Engine() state.Engine { return r.engine }

// Destruct ends the connections. Caddy calls it when the last config that uses them is gone.
func (e *engine) Destruct() error {
	e.stop()
	return e.client.Close()
}

// available names an error of the server.
func available(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", ended, err)
	}
	return fmt.Errorf("%w: redis: %w", state.ErrUnavailable, err)
}

// Interface guards
var (
	_ caddy.Provisioner  = (*Redis)(nil)
	_ caddy.CleanerUpper = (*Redis)(nil)
	_ state.Provider     = (*Redis)(nil)
)
