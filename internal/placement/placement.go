// Package placement tells where in a config the directive is: at which hosts its site is, whether requests for its
// endpoints reach it, and whether routes use one of its placeholders. Caddy tells a handler none of this, so it reads
// the routes that are being loaded.
package placement

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ErrTwice says that a request passes two of the directives.
var ErrTwice = errors.New("vipps_login stands twice on the way of one request: write it once in a site, with a matcher for all that needs a login")

// name is the handler's name in Caddy's JSON.
const name = "vipps_login"

// Directive is the handler that is being provisioned.
type Directive struct {
	Hosts     []string // to try requests with
	Endpoints []string // their paths, in the order they are tried
	Callback  string   // the endpoint that a site cannot replace with an answer of its own
}

// Check refuses a directive that requests for its own endpoints cannot reach: inside a handle block for
// other paths, behind a handler that answers first, or behind another vipps_login. Users would be sent to Vipps MobilePay and
// return to a callback that another handler answers.
//
// It refuses only what is certain: a matcher that depends on more than method, host and path may match.
func Check(ctx caddy.Context, d Directive) error {
	var refusal error
	for _, place := range findPlaces(ctx) {
		if refusal = d.checkPlace(place); refusal == nil {
			return nil
		}
	}
	return refusal
}

func (d Directive) checkPlace(place place) error {
	if err := place.checkSiblings(); err != nil {
		return err
	}
	served := false
	var never error
	for _, host := range d.Hosts {
		reached, barrier := newProbe(place, host, "").walk()
		if reached == no {
			// Either another site's host, in a list of merchants that several sites share, or a host that is
			// redirected. It is a mistake only if no host at all reaches the directive.
			if barrier.answers() {
				never = barrier.refusal(host, "/")
			}
			continue
		}
		served = true
		for _, path := range d.Endpoints {
			if err := d.checkEndpoint(place, host, path); err != nil {
				return err
			}
		}
	}
	if served {
		return nil
	}
	return never
}

func (d Directive) checkEndpoint(place place, host, path string) error {
	reached, barrier := newProbe(place, host, path).walk()
	switch {
	case barrier.twice:
		return ErrTwice
	case reached != no:
		return nil
	case barrier.deliberate() && path != d.Callback:
		return nil
	}
	return barrier.refusal(host, path)
}

// barrier is the reason why a request does not reach the directive.
type barrier struct {
	handler string // the handler that answers first; "" where a block around the directive does not match
	twice   bool   // another vipps_login is in the way
}

// answers reports whether another handler answers the request, rather than the block around the directive not matching.
func (b barrier) answers() bool { return b.handler != "" || b.twice }

// deliberate reports whether a site replaces an endpoint with an answer of its own, as in `respond /vipps/userinfo 404`.
func (b barrier) deliberate() bool { return b.handler == "static_response" || b.handler == "error" }

func (b barrier) refusal(host, path string) error {
	switch {
	case b.twice:
		return ErrTwice
	case b.handler != "":
		return fmt.Errorf("%s%s never comes to vipps_login: %s answers before it: write vipps_login at the top of the site, outside handle and route, and leave its order as it is (before basic_auth)", host, path, directiveNames.of(b.handler))
	}
	return fmt.Errorf("%s%s never comes to vipps_login: the block around it takes other requests: write vipps_login at the top of the site, outside handle, handle_path and route, with what needs a login as its matcher, as in `vipps_login /account/* 123456`", host, path)
}

// names maps handlers to directives, where their names differ.
type names map[string]string

var directiveNames = names{"static_response": "respond", "subroute": "another block"}

func (n names) of(handler string) string {
	if name, ok := n[handler]; ok {
		return name
	}
	return handler
}

// place is the position of a handler in a server's routes, from the outside in.
type place struct {
	server *caddyhttp.Server
	levels []level
}

// level is one list of routes; current is the index of the one that Caddy is loading.
type level struct {
	routes  caddyhttp.RouteList
	current int
}

// findPlaces finds the handler that is being provisioned: one place for each server that may be its own, and none where the
// place is unknown, as in error routes, named routes and routes of other modules.
//
// Caddy loads a list of routes in order, clears the raw handlers of each once they are loaded, and loads all matchers of a
// list before its handlers. So the current route of a list is the first that still has raw handlers.
func findPlaces(ctx caddy.Context) []place {
	var app *caddyhttp.App
	var inner []level
	ancestors := ctx.Modules()
	for _, ancestor := range ancestors[:len(ancestors)-1] { // the last is the handler itself
		switch module := ancestor.(type) {
		case *caddyhttp.App:
			app = module
		case *caddyhttp.Subroute:
			current := currentRoute(module.Routes)
			if current < 0 {
				return nil // in its error routes
			}
			inner = append(inner, level{module.Routes, current})
		default:
			return nil
		}
	}
	if app == nil {
		return nil
	}
	var places []place
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		switch current := currentRoute(server.Routes); {
		case current < 0 && hasPendingElsewhere(server):
			return nil
		case current >= 0 && slices.ContainsFunc(server.Routes[current].HandlersRaw, mentionsDirective):
			places = append(places, place{server, slices.Concat([]level{{server.Routes, current}}, inner)})
		}
	}
	return places
}

func currentRoute(routes caddyhttp.RouteList) int {
	return slices.IndexFunc(routes, func(route caddyhttp.Route) bool { return len(route.HandlersRaw) > 0 })
}

// hasPendingElsewhere reports whether a server whose routes are loaded still has error routes or named routes to load.
func hasPendingElsewhere(server *caddyhttp.Server) bool {
	if server.Errors != nil && currentRoute(server.Errors.Routes) >= 0 {
		return true
	}
	for _, route := range server.NamedRoutes {
		if len(route.HandlersRaw) > 0 {
			return true
		}
	}
	return false
}

func mentionsDirective(raw json.RawMessage) bool { return bytes.Contains(raw, []byte(`"`+name+`"`)) }

// checkSiblings refuses two vipps_login in one list of handlers: both would see every request.
func (p place) checkSiblings() error {
	for _, level := range p.levels {
		ours := 0
		for _, raw := range level.routes[level.current].HandlersRaw {
			if certainlyHolds(raw) {
				ours++
			}
		}
		if ours > 1 {
			return ErrTwice
		}
	}
	return nil
}

// certainlyHolds reports whether every request that reaches a handler reaches a vipps_login.
func certainlyHolds(raw json.RawMessage) bool {
	switch {
	case !mentionsDirective(raw):
		return false
	case handlerName(raw) == name:
		return true
	}
	return slices.ContainsFunc(rawRoutes(raw), func(route rawRoute) bool {
		return len(route.Match) == 0 && route.Group == "" && slices.ContainsFunc(route.Handle, certainlyHolds)
	})
}

// rawRoute is a route that is not loaded yet.
type rawRoute struct {
	Group  string            `json:"group"`
	Match  []json.RawMessage `json:"match"`
	Handle []json.RawMessage `json:"handle"`
}

func rawRoutes(subroute json.RawMessage) []rawRoute {
	var config struct {
		Routes []rawRoute `json:"routes"`
	}
	_ = json.Unmarshal(subroute, &config) // Caddy reports the mistake
	return config.Routes
}

// handlerName reads the name of a handler, and no more than it must: the handler may have 100,000 merchants.
func handlerName(raw json.RawMessage) string {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if _, err := decoder.Token(); err != nil {
		return ""
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return ""
		}
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return ""
		}
		if key == "handler" {
			var name string
			_ = json.Unmarshal(value, &name) // Caddy has read it
			return name
		}
	}
	return ""
}

// newProbe returns a probe for a path at a host, or for any path: then matchers of paths may match.
func newProbe(place place, host, path string) *probe {
	r, err := http.NewRequest(http.MethodGet, "http://"+host+path, nil)
	if err != nil {
		r, _ = http.NewRequest(http.MethodGet, "http://host.invalid"+path, nil)
	}
	p := &probe{place: place, anyPath: path == "", groups: make(map[string]certainty)}
	p.request = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, place.server)
	return p
}
