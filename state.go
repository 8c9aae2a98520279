package vippslogin

import (
	"context"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-vipps/vippslogin/internal/guard"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/state"
)

func init() { caddy.RegisterModule(new(CaddyStorage)) }

// stateNamespace is where engines of shared state are registered.
const stateNamespace = "vipps_login.state"

// CaddyStorage keeps what instances share in Caddy's own storage, whatever module provides that. It is the engine where
// none is configured.
type CaddyStorage struct{ engine state.Engine }

// CaddyModule returns the Caddy module information.
func (*CaddyStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: stateNamespace + ".caddy_storage", New: func() caddy.Module { return new(CaddyStorage) }}
}

// Provision finds the storage.
func (s *CaddyStorage) Provision(ctx caddy.Context) error {
	s.engine = store.New(ctx.Storage())
	return nil
}

// Engine implements state.Provider.
func (s *CaddyStorage) Engine() state.Engine { return s.engine }

// UnmarshalCaddyfile sets up the engine from Caddyfile tokens. Syntax:
//
//	state caddy_storage
func (s *CaddyStorage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the engine's name
	if d.NextArg() || d.NextBlock(0) {
		return d.Err("state caddy_storage takes nothing more: the storage is the global option of that name")
	}
	return nil
}

// provisionState loads the engine.
func (a *App) provisionState(ctx caddy.Context) error {
	if a.StateRaw == nil {
		a.StateRaw = caddyconfig.JSONModuleObject(new(CaddyStorage), "engine", "caddy_storage", nil)
	}
	module, err := ctx.LoadModule(a, "StateRaw")
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	provider, ok := module.(state.Provider)
	if !ok {
		return fmt.Errorf("state: %T is no engine", module)
	}
	engine := provider.Engine()
	a.storage = guard.Guarded{Engine: engine}
	a.sweeper, _ = engine.(sweeper)
	return nil
}

// sweeper is an engine whose values do not expire by themselves.
type sweeper interface {
	Sweep(ctx context.Context, folders []string, now time.Time) error
}

func (a *App) unmarshalState(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("state takes the name of an engine, such as caddy_storage or redis")
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, stateNamespace+"."+name)
	if err != nil {
		if _, unknown := caddy.GetModule(stateNamespace + "." + name); unknown != nil && name == "redis" {
			err = fmt.Errorf("%w: this Caddy was built without it: xcaddy build --with github.com/caddy-vipps/vippslogin/redis", err)
		}
		return err
	}
	a.StateRaw = caddyconfig.JSONModuleObject(module, "engine", name, nil)
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*CaddyStorage)(nil)
	_ caddyfile.Unmarshaler = (*CaddyStorage)(nil)
	_ state.Provider        = (*CaddyStorage)(nil)
)
