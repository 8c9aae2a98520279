package vippslogin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage" // the storage of a check

	"github.com/caddy-vipps/vippslogin/internal/check"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/store"
)

// readTargets reads a config file, and returns what there is to check in it.
func readTargets(file, adapter string) (*App, []*check.Target, error) {
	config, err := readConfig(file, adapter)
	if err != nil {
		return nil, nil, err
	}
	return findTargets(config)
}

// readConfig reads and adapts a config file as `caddy validate` does.
func readConfig(file, adapter string) (*caddy.Config, error) {
	if file == "" && adapter != "" {
		file = "Caddyfile" // the default, which LoadConfig uses only without an adapter
	}
	input, _, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, err
	}
	if input == nil {
		return nil, errors.New("no config: name one with --config, or run this where the Caddyfile is")
	}
	var config *caddy.Config
	if err := caddy.StrictUnmarshalJSON(caddy.RemoveMetaFields(input), &config); err != nil {
		return nil, fmt.Errorf("decoding config: %w", err)
	}
	if config == nil {
		return nil, errors.New("the config is empty")
	}
	return config, nil
}

// findTargets provisions a config, so that the code that serves requests decides what there is to check. It starts
// nothing and leaves nothing behind: storage is a temporary folder (a check generates no cookie secret and no
// certificate authority), log files are not opened, and the certificates' keys need not be readable.
func findTargets(config *caddy.Config) (*App, []*check.Target, error) {
	folder, err := os.MkdirTemp("", "vipps-login-check-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(folder)
	proxied := serversBehindProxies(config.AppsRaw["http"]) // provisioning clears it
	delete(config.AppsRaw, "tls")
	config.Admin = nil
	storage := config.StorageRaw
	config.StorageRaw, _ = json.Marshal(map[string]string{"module": "file_system", "root": folder})
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}}
	ctx, err := caddy.ProvisionContext(config)
	if err != nil {
		return nil, nil, err
	}
	app, err := ctx.AppIfConfigured("vipps_login")
	if err != nil {
		return nil, nil, errors.New("there is no vipps_login in this config: nothing to check")
	}
	app.(*App).checkedStorage = storage
	web, err := ctx.AppIfConfigured("http")
	if err != nil {
		return app.(*App), nil, nil
	}
	return app.(*App), targetsOf(web.(*caddyhttp.App), proxied), nil
}

// checkState tries the shared state where it is on a server. Files are not tried: they may belong to another user.
func (a *App) checkState(ctx context.Context) []check.Finding {
	if a.caddyStorage == nil {
		return []check.Finding{check.SharedState(ctx, "state "+a.engineName(), a.storage, check.StateFails)}
	}
	var module struct {
		Name string `json:"module"`
	}
	if json.Unmarshal(a.checkedStorage, &module) != nil || module.Name == "" || module.Name == "file_system" {
		return nil
	}
	name := "storage " + module.Name
	loaded, err := a.ctx.LoadModuleByID("caddy.storage."+module.Name, withoutModule(a.checkedStorage))
	if err != nil {
		return []check.Finding{check.StateAway(name, err)}
	}
	converter, ok := loaded.(caddy.StorageConverter)
	if !ok {
		return []check.Finding{check.StateAway(name, err)}
	}
	storage, err := converter.CertMagicStorage()
	if err != nil {
		return []check.Finding{check.StateAway(name, err)}
	}
	shared := store.New(storage)
	for _, examine := range []func(context.Context) (string, error){shared.Examine, shared.ExamineLock} {
		switch problem, err := examine(ctx); {
		case problem != "":
			return []check.Finding{check.StateProblem(name, problem)}
		case err != nil:
			return []check.Finding{check.StateAway(name, err)}
		}
	}
	return []check.Finding{check.SharedState(ctx, name, shared, check.StateAway)}
}

// withoutModule removes the name of a module from its config, as Caddy does.
func withoutModule(raw json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return raw
	}
	delete(fields, "module")
	without, err := json.Marshal(fields)
	if err != nil {
		return raw
	}
	return without
}

// engineName returns the name of the engine of shared state, from its config.
func (a *App) engineName() string {
	var config struct {
		Engine string `json:"engine"`
	}
	_ = json.Unmarshal([]byte(a.stateName), &config)
	return config.Engine
}

// serversBehindProxies returns the names of the servers that trust a proxy to tell the client's address.
func serversBehindProxies(app json.RawMessage) map[string]bool {
	var raw struct {
		Servers map[string]struct {
			TrustedProxies json.RawMessage `json:"trusted_proxies"`
		} `json:"servers"`
	}
	_ = json.Unmarshal(app, &raw) // a mistake fails when the config is provisioned
	proxied := make(map[string]bool)
	for name, server := range raw.Servers {
		proxied[name] = len(server.TrustedProxies) > 0
	}
	return proxied
}

// targetsOf lists the hosts of all merchants, each address once, by MSN and host.
func targetsOf(app *caddyhttp.App, proxied map[string]bool) []*check.Target {
	var targets []*check.Target
	seen := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		origins := []incoming.Origin{{Scheme: "https"}} // the origin that a proxy is assumed to have
		if !proxied[name] {
			origins = serverOrigins(app, server)
		}
		for _, handler := range handlersOf(server) {
			for _, t := range handler.checkTargets(origins) {
				key := t.Unit.MSN + " " + t.Unit.ClientID + " " + t.RedirectURI
				if !seen[key] {
					seen[key] = true
					targets = append(targets, t)
				}
			}
		}
	}
	slices.SortStableFunc(targets, func(a, b *check.Target) int {
		return cmp.Or(cmp.Compare(len(a.Unit.MSN), len(b.Unit.MSN)), strings.Compare(a.Unit.MSN, b.Unit.MSN),
			strings.Compare(a.Origin.Host, b.Origin.Host))
	})
	return targets
}

// serverOrigins returns the schemes and ports that a server listens on, as requests would have them. Caddy serves TLS on
// every port but the HTTP port if there is a connection policy.
func serverOrigins(app *caddyhttp.App, server *caddyhttp.Server) []incoming.Origin {
	httpPort := uint(cmp.Or(app.HTTPPort, caddyhttp.DefaultHTTPPort))
	var origins []incoming.Origin
	for _, listen := range server.Listen {
		address, err := caddy.ParseNetworkAddress(listen)
		if err != nil {
			continue // Caddy will not start with it
		}
		for port := address.StartPort; port <= address.EndPort; port++ {
			o := incoming.Origin{Scheme: "http"}
			if len(server.TLSConnPolicies) > 0 && port != httpPort {
				o.Scheme = "https"
			}
			if port != 0 && !(o.Scheme == "http" && port == 80) && !(o.Scheme == "https" && port == 443) {
				o.Port = strconv.FormatUint(uint64(port), 10)
			}
			if !slices.Contains(origins, o) {
				origins = append(origins, o)
			}
		}
	}
	return origins
}

// handlersOf finds our handlers among a server's routes, at any depth. In error routes no login begins.
func handlersOf(server *caddyhttp.Server) []*Handler {
	var found []*Handler
	var walk func(routes caddyhttp.RouteList)
	walk = func(routes caddyhttp.RouteList) {
		for i := range routes {
			for _, handler := range routes[i].Handlers {
				switch handler := handler.(type) {
				case *Handler:
					found = append(found, handler)
				case *caddyhttp.Subroute:
					walk(handler.Routes)
				}
			}
		}
	}
	walk(server.Routes)
	for _, name := range slices.Sorted(maps.Keys(server.NamedRoutes)) {
		walk(caddyhttp.RouteList{*server.NamedRoutes[name]})
	}
	return found
}

// checkTargets returns the hosts of a handler, at each of the origins.
func (h *Handler) checkTargets(origins []incoming.Origin) []*check.Target {
	var targets []*check.Target
	add := func(pattern string, unit *merchant.Unit, unchecked string) {
		if !merchant.IsMSN(unit.MSN) {
			unchecked = "the MSN comes from a placeholder, and is not known before a request"
		}
		for _, o := range origins {
			if o.Host == "" {
				o.Host = pattern
			}
			targets = append(targets, h.checkTarget(unit, o, unchecked))
		}
	}
	if h.origins.Public != nil {
		origins = []incoming.Origin{*h.origins.Public}
	}
	hosts := h.hosts.Load()
	for host, unit := range hosts.Exact {
		add(host, unit, "")
	}
	for parent, unit := range hosts.Wildcard {
		add("*."+parent, unit, "a wildcard has no redirect URI of its own: each host under it that people log in at needs one")
	}
	return targets
}

func (h *Handler) checkTarget(unit *merchant.Unit, o incoming.Origin, unchecked string) *check.Target {
	target := &check.Target{
		Unit: unit, Origin: o, RedirectURI: o.URL(h.paths.callback),
		AppAuth: h.RequireAppConfirmation, AnyBrowser: h.ReturnInAnyBrowser, Unchecked: unchecked,
	}
	if h.Phone != nil {
		target.PhoneRedirectURI = o.URL(h.paths.phoneCallback)
	}
	if len(h.phoneConfig.webhookSecrets) > 0 {
		target.WebhookURL = o.URL(h.paths.webhook)
	}
	return target
}
