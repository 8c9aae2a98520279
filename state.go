package vippslogin

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-vipps/vippslogin/internal/guard"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/state"
)

func init() { caddy.RegisterModule(new(CaddyStorage)) }

// stateNamespace is where engines of shared state are registered.
const stateNamespace = "vipps_login.state"

// CaddyStorage keeps the shared state in Caddy's own storage, whatever module provides it. It is the default.
type CaddyStorage struct {
	engine state.Engine
	local  bool // in files of this machine
}

// CaddyModule returns the Caddy module information.
func (*CaddyStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: stateNamespace + ".caddy_storage", New: func() caddy.Module { return new(CaddyStorage) }}
}

// Provision finds the storage.
func (s *CaddyStorage) Provision(ctx caddy.Context) error {
	s.engine = store.New(ctx.Storage())
	_, s.local = ctx.Storage().(*certmagic.FileStorage)
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
		return d.Err("state caddy_storage takes nothing more: Caddy's global option storage says which storage that is")
	}
	return nil
}

// What becomes of sessions after the shared state was lost.
const (
	keepSessions   = "keep_sessions"
	refuseSessions = "refuse_sessions"
)

// provisionState loads the engine.
func (a *App) provisionState(ctx caddy.Context) error {
	if a.StateRaw == nil {
		a.StateRaw = caddyconfig.JSONModuleObject(new(CaddyStorage), "engine", "caddy_storage", nil)
	}
	a.stateName = string(a.StateRaw) // before LoadModule, which drops it
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
	if storage, ok := engine.(store.Store); ok {
		a.caddyStorage = &storage
	}
	local, ok := module.(*CaddyStorage)
	a.localState = ok && local.local
	return a.resolveStateLoss()
}

func (a *App) resolveStateLoss() error {
	after := a.AfterStateLoss
	if err := resolveText("after_state_loss", &after); err != nil {
		return err
	}
	switch after {
	case keepSessions:
		a.keepSessions = true
	case refuseSessions:
	case "":
		a.keepSessions = a.localState
	default:
		return fmt.Errorf("after_state_loss: %q: write %s or %s", after, refuseSessions, keepSessions)
	}
	return nil
}

func (a *App) unmarshalState(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("state takes the name of an engine, such as caddy_storage or redis")
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, stateNamespace+"."+name)
	if err != nil {
		if _, unknown := caddy.GetModule(stateNamespace + "." + name); unknown != nil && name == "redis" {
			err = fmt.Errorf("%w: this Caddy was built without it: xcaddy build --with github.com/caddy-vipps/vippslogin --with github.com/caddy-vipps/vippslogin/redis", err)
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
