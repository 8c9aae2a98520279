package placement

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// certainty is how certain something is before there is a request.
type certainty int

const (
	no certainty = iota
	maybe
	yes
)

// probe is a made-up request on its way through the routes. It runs no handlers, and asks only those matchers that depend on
// nothing but method, host and path.
type probe struct {
	place   place
	request *http.Request
	anyPath bool                 // the path is not known
	groups  map[string]certainty // whether a route of the group has matched
	sure    bool                 // it certainly gets here
}

// walk returns whether the request reaches the directive, and what stops it.
func (p *probe) walk() (reached certainty, stopped barrier) {
	p.sure = true
	for i, level := range p.place.levels {
		for j := range level.routes[:level.current] {
			if ends, by := p.pass(&level.routes[j]); ends == yes {
				return no, by
			}
		}
		route := &level.routes[level.current]
		switch p.matches(route) {
		case no:
			return no, barrier{}
		case maybe:
			p.sure = false
		}
		if ends, by := p.passSiblings(route.HandlersRaw, i == len(p.place.levels)-1); ends == yes {
			return no, by
		}
	}
	if p.sure {
		return yes, barrier{}
	}
	return maybe, barrier{}
}

// pass sends the request through a route before ours. It returns yes where the request certainly ends there, and no where it
// certainly goes on.
func (p *probe) pass(route *caddyhttp.Route) (ends certainty, by barrier) {
	matches := p.matches(route)
	if matches == no {
		return no, by
	}
	before := p.sure
	p.sure = before && matches == yes
	ends, by = p.passHandlers(route.Handlers)
	if route.Terminal && ends != yes {
		ends, by = yes, barrier{handler: "subroute"}
	}
	ends = min(ends, matches)
	p.sure = before && ends == no
	return ends, by
}

func (p *probe) passHandlers(handlers []caddyhttp.MiddlewareHandler) (ends certainty, by barrier) {
	for _, handler := range handlers {
		end, by := p.passHandler(handler)
		if end == yes {
			return yes, by
		}
		ends = max(ends, end)
	}
	return ends, by
}

func (p *probe) passHandler(handler caddyhttp.MiddlewareHandler) (ends certainty, by barrier) {
	if subroute, ok := handler.(*caddyhttp.Subroute); ok {
		for i := range subroute.Routes {
			end, by := p.pass(&subroute.Routes[i])
			if end == yes {
				return yes, by
			}
			ends = max(ends, end)
		}
		return ends, by
	}
	its := moduleName(handler)
	switch {
	case its == name && p.sure:
		return yes, barrier{twice: true}
	case its == name:
		return maybe, by
	}
	raw, _ := json.Marshal(handler) // a handler that cannot be marshaled may answer
	return p.passNamed(its, raw)
}

// passSiblings sends the request through the handlers before ours in its own route, which are not loaded yet.
func (p *probe) passSiblings(handlers []json.RawMessage, innermost bool) (ends certainty, by barrier) {
	ours := slices.IndexFunc(handlers, func(raw json.RawMessage) bool {
		its := handlerName(raw)
		return innermost && its == name || !innermost && its == "subroute" && mentionsDirective(raw)
	})
	// Where several could be ours, only those before the first certainly come before it.
	return p.passRaw(handlers[:max(ours, 0)])
}

func (p *probe) passRaw(handlers []json.RawMessage) (ends certainty, by barrier) {
	for _, raw := range handlers {
		its := handlerName(raw)
		end, by := no, barrier{}
		switch {
		case its == name && p.sure:
			return yes, barrier{twice: true}
		case its == "subroute":
			end, by = p.passRawRoutes(raw)
		default:
			end, by = p.passNamed(its, raw)
		}
		if end == yes {
			return yes, by
		}
		ends = max(ends, end)
	}
	return ends, by
}

// passRawRoutes looks into a subroute that is not loaded: a route with a matcher may match.
func (p *probe) passRawRoutes(raw json.RawMessage) (ends certainty, by barrier) {
	routes := rawRoutes(raw)
	for _, route := range routes {
		if len(route.Match) > 0 || route.Group != "" && len(routes) > 1 {
			p.sure, ends = false, maybe
			continue
		}
		end, by := p.passRaw(route.Handle)
		if end == yes {
			return yes, by
		}
		ends = max(ends, end)
	}
	return ends, by
}

// passNamed sends the request through a handler with this name and config.
func (p *probe) passNamed(handler string, raw json.RawMessage) (ends certainty, by barrier) {
	ends = alwaysAnswers(handler, raw)
	p.sure = p.sure && ends == no
	p.anyPath = p.anyPath || handler == "rewrite"
	return ends, barrier{handler: handler}
}

// transparent are the handlers of Caddy that pass every request on.
var transparent = []string{"encode", "headers", "log_append", "map", "request_body", "rewrite", "templates", "tracing", "vars"}

// alwaysAnswers returns whether a handler of Caddy answers every request.
func alwaysAnswers(handler string, raw json.RawMessage) certainty {
	var config struct {
		HandleResponse json.RawMessage     `json:"handle_response"` // forward_auth passes some on
		PassThru       bool                `json:"pass_thru"`
		Headers        map[string][]string `json:"headers"`
	}
	readable := json.Unmarshal(raw, &config) == nil
	switch handler {
	case "error":
		return yes
	case "file_server":
		if readable && !config.PassThru {
			return yes
		}
	case "reverse_proxy":
		if readable && len(config.HandleResponse) == 0 {
			return yes
		}
	case "static_response":
		// A redirect of a whole site is deliberate: from an old name to a new one, or away from a closed site.
		if readable && len(config.Headers["Location"]) == 0 {
			return yes
		}
	default:
		if slices.Contains(transparent, handler) {
			return no
		}
	}
	return maybe
}

func moduleName(module any) string {
	id := caddy.GetModuleID(module)
	return id[strings.LastIndexByte(id, '.')+1:]
}

// matches asks the matchers of a route. In a group of routes only the first that matches is run.
func (p *probe) matches(route *caddyhttp.Route) certainty {
	result := no
	if len(route.MatcherSets) == 0 {
		result = yes
	}
	for _, set := range route.MatcherSets {
		result = max(result, p.setMatches(set))
	}
	if route.Group == "" {
		return result
	}
	taken := p.groups[route.Group]
	p.groups[route.Group] = max(taken, result)
	return min(result, yes-taken)
}

func (p *probe) setMatches(set caddyhttp.MatcherSet) certainty {
	result := yes
	for _, matcher := range set {
		result = min(result, p.matcherMatches(matcher))
	}
	return result
}

func (p *probe) matcherMatches(matcher any) certainty {
	switch matcher := matcher.(type) {
	case *caddyhttp.MatchHost:
		return p.ask(matcher, *matcher, true)
	case *caddyhttp.MatchPath:
		return p.ask(matcher, *matcher, !p.anyPath)
	case *caddyhttp.MatchPathRE:
		return p.ask(matcher, []string{matcher.Pattern}, !p.anyPath)
	case *caddyhttp.MatchNot:
		result := yes
		for _, set := range matcher.MatcherSets {
			result = min(result, yes-p.setMatches(set))
		}
		return result
	}
	return maybe
}

// ask asks a matcher, if its answer can be known before a request: no pattern may have a placeholder.
func (p *probe) ask(matcher caddyhttp.RequestMatcherWithError, patterns []string, known bool) certainty {
	if !known || slices.ContainsFunc(patterns, func(pattern string) bool { return strings.Contains(pattern, "{") }) {
		return maybe
	}
	switch matches, err := matcher.MatchWithError(p.request); {
	case err != nil:
		return maybe
	case matches:
		return yes
	}
	return no
}
