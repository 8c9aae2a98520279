// Command caddy is a Caddy with this plugin and its simulator, built the way
// Caddy documents for building without xcaddy.
//
// It stands for an xcaddy build in tests and in make demo. Nothing may depend
// on it: who deploys the plugin builds a Caddy of their own, without the
// simulator.
package main

import (
	_ "time/tzdata"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	// Plug in Caddy modules here.
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-vipps/vippslogin"
	_ "github.com/caddy-vipps/vippslogin/redis"
	_ "github.com/caddy-vipps/vippslogin/simulator"
)

func main() {
	caddycmd.Main()
}
