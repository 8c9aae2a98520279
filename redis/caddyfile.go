package redis

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// UnmarshalCaddyfile sets up the engine from Caddyfile tokens. Syntax:
//
//	state redis {
//		address   <host:port>...
//		sentinel  <master> <host:port>...
//		sentinel_username <name>
//		sentinel_password <password>
//		username  <name>
//		password  <password>
//		db        <number>
//		key_prefix <prefix>
//		tls {
//			ca          <file>
//			client_auth <certificate_file> <key_file>
//			server_name <name>
//		}
//		timeout   <duration>
//		pool_size <number>
//	}
func (r *Redis) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the engine's name
	if d.NextArg() {
		return d.Err("state redis takes a block and no further argument")
	}
	seen := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if seen[name] {
			return d.Errf("%s is already set: keep one of them", name)
		}
		seen[name] = true
		if err := r.unmarshalLine(d, name); err != nil {
			return err
		}
	}
	return nil
}

func (r *Redis) unmarshalLine(d *caddyfile.Dispenser, name string) error {
	switch name {
	case "address":
		r.Address = d.RemainingArgs()
		return some(d, name, r.Address)
	case "sentinel":
		args := d.RemainingArgs()
		if len(args) < 2 || slices.Contains(args, "") {
			return d.Err("sentinel takes the name of the master, and the addresses of the sentinels")
		}
		r.sentinel().Master, r.sentinel().Address = args[0], args[1:]
		return nil
	case "sentinel_username":
		return one(d, name, &r.sentinel().Username)
	case "sentinel_password":
		return one(d, name, &r.sentinel().Password)
	case "username":
		return one(d, name, &r.Username)
	case "password":
		return one(d, name, &r.Password)
	case "db":
		return one(d, name, &r.DB)
	case "key_prefix":
		return one(d, name, &r.KeyPrefix)
	case "timeout":
		return one(d, name, &r.Timeout)
	case "pool_size":
		return one(d, name, &r.PoolSize)
	case "tls":
		return r.unmarshalTLS(d)
	}
	return d.Errf("unrecognized subdirective %q of state redis: use address, sentinel, sentinel_username, sentinel_password, username, password, db, key_prefix, tls, timeout or pool_size", name)
}

func (r *Redis) sentinel() *Sentinel {
	if r.Sentinel == nil {
		r.Sentinel = new(Sentinel)
	}
	return r.Sentinel
}

func (r *Redis) unmarshalTLS(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Err("tls takes a block, or nothing")
	}
	r.TLS = new(TLS)
	seen := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if seen[name] {
			return d.Errf("%s is already set: keep one of them", name)
		}
		seen[name] = true
		var err error
		switch name {
		case "ca":
			err = one(d, name, &r.TLS.CA)
		case "server_name":
			err = one(d, name, &r.TLS.ServerName)
		case "client_auth":
			if !d.AllArgs(&r.TLS.Certificate, &r.TLS.Key) {
				err = d.Err("client_auth takes a certificate file and a key file")
			}
		default:
			err = d.Errf("unrecognized subdirective %q of tls: use ca, client_auth or server_name", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// one and some name the subdirective in their errors, and never an argument: it may be a secret.
func one(d *caddyfile.Dispenser, name string, value *string) error {
	if !d.AllArgs(value) || *value == "" {
		return d.Errf("%s takes one argument, and not an empty one", name)
	}
	return nil
}

func some(d *caddyfile.Dispenser, name string, values []string) error {
	if len(values) == 0 || slices.Contains(values, "") {
		return d.Errf("%s takes one argument or more, and no empty one", name)
	}
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Redis)(nil)
