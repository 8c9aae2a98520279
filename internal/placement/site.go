package placement

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// SiteHosts returns the host names of the site that is being provisioned: those of the host matcher of
// its top-level route, which a site block's addresses become.
//
// Caddy does not tell a handler which route it is in. It provisions routes in order and clears their raw handlers one by one,
// so ours is the first of its server that still has them. Of several servers, ours is the one with a directive with our MSN;
// if two have one, their hosts belong to the same merchant.
func SiteHosts(ctx caddy.Context, msn string) ([]string, error) {
	var hosts []string
	inSite := false
	for _, ancestor := range ctx.Modules() {
		app, ok := ancestor.(*caddyhttp.App)
		if !ok {
			continue
		}
		for _, server := range app.Servers {
			route := nextRoute(server)
			if route == nil || !slices.ContainsFunc(route.HandlersRaw, func(raw json.RawMessage) bool { return holdsDirective(raw, msn) }) {
				continue
			}
			inSite = true
			found := routeHosts(*route)
			if len(found) == 0 {
				return nil, nil // a site for every host
			}
			hosts = append(hosts, found...)
		}
	}
	if !inSite {
		return nil, fmt.Errorf("MSN %s stands for every host of the site around the directive, and a named route has no site around it: say `merchant %s <host>...` in its block", msn, msn)
	}
	return resolveHosts(hosts)
}

// nextRoute returns the route that Caddy is provisioning, or will next: error routes come last.
func nextRoute(server *caddyhttp.Server) *caddyhttp.Route {
	routes := server.Routes
	if server.Errors != nil {
		routes = slices.Concat(routes, server.Errors.Routes)
	}
	for i := range routes {
		if len(routes[i].HandlersRaw) > 0 {
			return &routes[i]
		}
	}
	return nil
}

// holdsDirective reports whether JSON of handlers holds, at any depth, our handler with that MSN.
func holdsDirective(raw json.RawMessage, msn string) bool {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) == nil {
		var handler, its string
		_ = json.Unmarshal(object["handler"], &handler) // other types are not ours
		_ = json.Unmarshal(object["msn"], &its)
		if handler == name && its == msn {
			return true
		}
		for _, value := range object {
			if holdsDirective(value, msn) {
				return true
			}
		}
	}
	var list []json.RawMessage
	return json.Unmarshal(raw, &list) == nil && slices.ContainsFunc(list, func(raw json.RawMessage) bool { return holdsDirective(raw, msn) })
}

func resolveHosts(hosts []string) ([]string, error) {
	for i, host := range hosts {
		resolved, err := caddy.NewReplacer().ReplaceOrErr(host, true, true)
		if err != nil {
			return nil, fmt.Errorf("the site's host name %q: %w", host, err)
		}
		hosts[i] = resolved
	}
	slices.Sort(hosts)
	return slices.Compact(hosts), nil
}

func routeHosts(route caddyhttp.Route) []string {
	var hosts []string
	for _, set := range route.MatcherSets {
		for _, matcher := range set {
			if host, ok := matcher.(*caddyhttp.MatchHost); ok {
				hosts = append(hosts, *host...)
			}
		}
	}
	return hosts
}

// Mentions reports whether a route of the config uses a placeholder.
func Mentions(ctx caddy.Context, placeholder string) bool {
	for _, ancestor := range ctx.Modules() {
		app, ok := ancestor.(*caddyhttp.App)
		if !ok {
			continue
		}
		for _, server := range app.Servers {
			routes := server.Routes
			if server.Errors != nil {
				routes = slices.Concat(routes, server.Errors.Routes)
			}
			for _, route := range server.NamedRoutes {
				routes = append(slices.Clone(routes), *route)
			}
			if routesMention(routes, placeholder) {
				return true
			}
		}
	}
	return false
}

// routesMention reports whether the config of routes has a text, whether they are loaded or not.
func routesMention(routes caddyhttp.RouteList, text string) bool {
	mentions := func(part any) bool {
		if subroute, ok := part.(*caddyhttp.Subroute); ok {
			return routesMention(subroute.Routes, text)
		}
		raw, err := json.Marshal(part)
		return err != nil || bytes.Contains(raw, []byte(text)) // a part that cannot be marshaled may have it
	}
	for i := range routes {
		if slices.ContainsFunc(routes[i].HandlersRaw, func(raw json.RawMessage) bool { return bytes.Contains(raw, []byte(text)) }) ||
			slices.ContainsFunc(routes[i].Handlers, func(handler caddyhttp.MiddlewareHandler) bool { return mentions(handler) }) {
			return true
		}
		for _, set := range routes[i].MatcherSets {
			if slices.ContainsFunc(set, mentions) {
				return true
			}
		}
	}
	return false
}
