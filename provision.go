package vippslogin

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"
)

// What on_unauthenticated can be.
const (
	unauthenticatedRedirect = "redirect"
	unauthenticatedDeny     = "deny"
	unauthenticatedPass     = "pass"
)

// Provision sets the handler up. Everything that can be found out about a request's answer before the
// request is found out here.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	app, err := ctx.App("vipps_login")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	if err := h.provisionMatchers(ctx); err != nil {
		return err
	}
	h.setDefaults()
	for _, check := range []func() error{
		h.checkChoices, h.checkSession, h.checkHeaders, h.checkBasePath,
		func() error { return checkScopes("scope", h.Scopes) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	if err := h.provisionHosts(ctx); err != nil {
		return err
	}
	h.identity = newIdentity(h.HeaderPrefix, h.HeaderEncoding, h.Headers)
	h.paths = newEndpointPaths(strings.TrimRight(h.BasePath, "/"))
	if err := h.provisionPhone(ctx); err != nil {
		return err
	}
	h.endpoints = h.newEndpoints()
	h.phoneLogin = h.phoneAPI(h.servePhoneLogin, http.MethodGet, http.MethodDelete)
	h.app.sweeps = h.app.sweeps || h.Phone != nil || h.ReturnInAnyBrowser
	return nil
}

func (h *Handler) provisionMatchers(ctx caddy.Context) error {
	matchers, err := ctx.LoadModule(h, "Match")
	if err != nil {
		return fmt.Errorf("match: %w", err)
	}
	return h.matchers.FromInterface(matchers)
}

// minAPIKey is the least an API key may have, in characters.
const minAPIKey = 32

func (h *Handler) provisionPhone(ctx caddy.Context) error {
	if h.Phone == nil {
		return nil
	}
	h.watchShutdown(ctx)
	if len(h.Phone.APIKeys) == 0 {
		return errors.New("phone: no api_key: phone logins are paid for and ring people's phones, so give callers one of at least 32 characters")
	}
	if err := checkScopes("phone: scope", h.Phone.Scopes); err != nil {
		return err
	}
	for i, value := range h.Phone.APIKeys {
		key, err := resolveSecret(value)
		if err != nil {
			return fmt.Errorf("phone: api_key %d: %w", i+1, err)
		}
		if len(key) < minAPIKey {
			return fmt.Errorf("phone: api_key %d: it has %d characters and needs at least %d: make one with `openssl rand -hex 32`", i+1, len(key), minAPIKey)
		}
		h.phoneConfig.apiKeys = append(h.phoneConfig.apiKeys, sha256.Sum256([]byte(key)))
	}
	for i, value := range h.Phone.WebhookSecrets {
		secret, err := resolveSecret(value)
		if err != nil {
			return fmt.Errorf("phone: webhook_secret %d: %w", i+1, err)
		}
		h.phoneConfig.webhookSecrets = append(h.phoneConfig.webhookSecrets, secret)
	}
	return nil
}

// watchShutdown ends the waits for phone logins when a server shuts down: it waits for its requests.
func (h *Handler) watchShutdown(ctx caddy.Context) {
	h.stopping = make(chan struct{})
	stop := sync.OnceFunc(func() { close(h.stopping) })
	for _, ancestor := range ctx.Modules() {
		if app, ok := ancestor.(*caddyhttp.App); ok {
			for _, server := range app.Servers {
				server.RegisterOnShutdown(stop)
			}
		}
	}
}

func (h *Handler) setDefaults() {
	setDefault := func(value *string, to string) {
		if *value == "" {
			*value = to
		}
	}
	setDefault(&h.OnUnauthenticated, unauthenticatedRedirect)
	setDefault(&h.BasePath, "/vipps")
	setDefault(&h.HeaderPrefix, "X-Vipps-")
	setDefault(&h.HeaderEncoding, encodingUTF8)
	setDefault(&h.ErrorPages, "on")
	if len(h.Scopes) == 0 {
		h.Scopes = []string{"openid", "name"}
	}
	if h.Session.Lifetime == 0 {
		h.Session.Lifetime = caddy.Duration(12 * time.Hour)
	}
}

func (h *Handler) checkChoices() error {
	for _, choice := range []struct {
		name, value string
		of          []string
	}{
		{"on_unauthenticated", h.OnUnauthenticated, []string{unauthenticatedRedirect, unauthenticatedDeny, unauthenticatedPass}},
		{"header_encoding", h.HeaderEncoding, []string{encodingUTF8, encodingPercent, encodingBase64URL}},
		{"error_pages", h.ErrorPages, []string{"on", "off"}},
		{"market", h.Market, markets},
	} {
		if err := oneOf(choice.name, choice.value, choice.of); err != nil {
			return err
		}
	}
	return nil
}

// markets are those of Vipps MobilePay; none lets it choose.
var markets = []string{"", "NO", "DK", "FI", "SE"}

func oneOf(name, value string, of []string) error {
	if slices.Contains(of, value) {
		return nil
	}
	return fmt.Errorf("%s: %q is not known: use one of %s", name, value, strings.TrimSpace(strings.Join(of, " ")))
}

func (h *Handler) checkSession() error {
	const least = caddy.Duration(time.Second) // what a session counts in
	if h.Session.Lifetime < least || h.Session.IdleTimeout != 0 && h.Session.IdleTimeout < least {
		return errors.New("session: lifetime and idle_timeout must be positive durations of a second or more, such as 12h and 30m")
	}
	if h.Session.IdleTimeout > h.Session.Lifetime {
		return errors.New("session: idle_timeout is longer than lifetime and would never end a session: make it shorter, or lifetime longer")
	}
	// Browsers keep no cookie for longer than 400 days (RFC 6265bis section 5.5).
	if h.Session.Lifetime > caddy.Duration(400*24*time.Hour) {
		return errors.New("session: lifetime: browsers keep cookies for 400 days at most: use a shorter one")
	}
	return nil
}

// framingFields cannot carry a claim: they say how the request itself is read.
var framingFields = []string{
	"connection", "content-length", "content-type", "cookie", "expect", "host", "keep-alive", "te", "trailer",
	"transfer-encoding", "upgrade",
	// and these say what we decide by, or are the proxy's own
	"accept", "origin", "proxy-authorization", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "sec-purpose",
	"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-requested-with",
}

// othersFields are fields that a prefix could take away with our own: one of each family there is.
var othersFields = []string{
	"accept-encoding", "access-control-request-method", "cache-control", "content-type", "if-none-match",
	"proxy-authorization", "sec-fetch-mode", "transfer-encoding", "upgrade-insecure-requests", "user-agent",
	"x-forwarded-for", "x-requested-with",
}

func (h *Handler) checkHeaders() error {
	takesOthers := slices.ContainsFunc(othersFields, func(field string) bool { return hasFoldedPrefix(field, fold(h.HeaderPrefix)) })
	if takesOthers || !strings.HasSuffix(h.HeaderPrefix, "-") || len(h.HeaderPrefix) < 3 || !httpguts.ValidHeaderFieldName(h.HeaderPrefix) {
		return fmt.Errorf(`header_prefix: %q would take other headers with it: write the start of a field name that ends in "-", such as X-Vipps-`, h.HeaderPrefix)
	}
	seen := make(map[string]bool)
	for field, claim := range h.Headers {
		folded := fold(field)
		switch {
		case !httpguts.ValidHeaderFieldName(field) || slices.Contains(framingFields, folded):
			return fmt.Errorf("header: %q cannot be set: choose another field name, such as Remote-User", field)
		case folded == fold(h.HeaderPrefix)+"msn" || folded == fold(h.HeaderPrefix)+"sub":
			return fmt.Errorf("header: %q shows the claim of that name already: choose another field name", field)
		case claim == "":
			return fmt.Errorf("header: %q has no claim: write the name of one, such as sub", field)
		case seen[folded]:
			return fmt.Errorf("header: %q is set twice: upstreams may read both spellings as one, keep one of them", field)
		}
		seen[folded] = true
	}
	return nil
}

func (h *Handler) checkBasePath() error {
	u, err := url.ParseRequestURI(h.BasePath)
	if err != nil || !strings.HasPrefix(h.BasePath, "/") || strings.Contains(h.BasePath, "//") ||
		strings.ContainsAny(h.BasePath, "?#*{}") || u.EscapedPath() != u.Path ||
		strings.Contains(h.BasePath+"/", "/./") || strings.Contains(h.BasePath+"/", "/../") {
		return fmt.Errorf("base_path: %q is not a plain path: write one such as /vipps", h.BasePath)
	}
	return nil
}

// checkScopes accepts scope tokens (RFC 6749 section 3.3) but those with a comma, which is always a list
// that somebody wrote with the wrong separator.
func checkScopes(name string, scopes []string) error {
	for _, scope := range scopes {
		if scope == "" || !isPlain(scope) || strings.ContainsAny(scope, ` ",\`) {
			return fmt.Errorf("%s: %q is not a scope: write names such as openid name email", name, scope)
		}
	}
	return nil
}

func scopeParameter(scopes []string) string {
	if !slices.Contains(scopes, "openid") {
		scopes = append([]string{"openid"}, scopes...)
	}
	return strings.Join(scopes, " ")
}

// provisionHosts builds the host table from the merchants, and from the hosts of the site where one
// MSN stands for all of them.
func (h *Handler) provisionHosts(ctx caddy.Context) error {
	if h.MSN == "" && len(h.Merchants) == 0 {
		return errors.New("no merchant: write the MSN behind the directive, or say `merchant <msn> <host>...` in its block")
	}
	for i := range h.Merchants {
		unit, err := h.newSalesUnit(&h.Merchants[i])
		if err != nil {
			return fmt.Errorf("merchant %s: %w", h.Merchants[i].MSN, err)
		}
		if len(h.Merchants[i].Hosts) == 0 {
			return fmt.Errorf("merchant %s: no hosts: write the host names that belong to it", unit.msn)
		}
		for _, host := range h.Merchants[i].Hosts {
			if err := h.hosts.add(host, unit); err != nil {
				return fmt.Errorf("merchant %s: %w", unit.msn, err)
			}
		}
	}
	if h.MSN == "" {
		return nil
	}
	hosts, err := siteHosts(ctx, h.MSN)
	if err != nil {
		return err
	}
	return h.provisionSiteMSN(hosts)
}

func (h *Handler) newSalesUnit(m *Merchant) (*salesUnit, error) {
	unit := &salesUnit{scope: scopeParameter(h.Scopes), market: h.Market}
	if len(m.Scopes) > 0 {
		unit.scope = scopeParameter(m.Scopes)
	}
	if m.Market != "" {
		unit.market = m.Market
	}
	if err := errors.Join(checkScopes("scope", m.Scopes), oneOf("market", m.Market, markets)); err != nil {
		return nil, err
	}
	var err error
	if unit.msn, err = caddy.NewReplacer().ReplaceOrErr(m.MSN, true, true); err != nil || !isMSN(unit.msn) {
		return nil, fmt.Errorf("%q is not a Merchant Serial Number: write its 4 to 10 digits", m.MSN)
	}
	if m.ClientID == "" && m.ClientSecret == "" {
		return unit, h.needPartnerKeys()
	}
	if unit.clientID, err = resolveSecret(m.ClientID); err != nil {
		return nil, fmt.Errorf("client_id: %w", err)
	}
	if unit.clientSecret, err = resolveSecret(m.ClientSecret); err != nil {
		return nil, fmt.Errorf("client_secret: %w", err)
	}
	return unit, nil
}

func (h *Handler) needPartnerKeys() error {
	if h.app.partnerKeys == (partnerKeys{}) {
		return errors.New("no keys: set client_id, client_secret and subscription_key in the global option vipps_login, or client_id and client_secret of the merchant's own")
	}
	return nil
}

// provisionSiteMSN gives every host of the site to one MSN. Merchants of the map that stand beside a
// placeholder come first; beside a fixed MSN they would be a second MSN for the same host.
func (h *Handler) provisionSiteMSN(siteHosts []string) error {
	// What is the same for every request is known now, and what it lacks as well.
	msn, err := caddy.NewReplacer().ReplaceOrErr(h.MSN, true, false)
	if err != nil {
		return fmt.Errorf("MSN %s: %w: set the variable or write the 4 to 10 digits", h.MSN, err)
	}
	placeholder := strings.Contains(msn, "{")
	if !placeholder && !isMSN(msn) {
		return fmt.Errorf("%q is not a Merchant Serial Number: write its 4 to 10 digits", h.MSN)
	}
	if len(siteHosts) == 0 {
		return fmt.Errorf("MSN %s stands for every host of the site, and the site has no host names: give it host names, or say `merchant %s <host>...`", h.MSN, h.MSN)
	}
	unit := &salesUnit{msn: msn, scope: scopeParameter(h.Scopes), market: h.Market}
	for _, host := range siteHosts {
		canonical, _ := canonicalHost(strings.TrimPrefix(host, "*."))
		mapped := h.hosts.exact[canonical]
		if strings.HasPrefix(host, "*.") {
			mapped = h.hosts.wildcard[canonical]
		}
		if mapped != nil && (placeholder || mapped.msn == msn) {
			continue // the merchant block says more about the same
		}
		if err := h.hosts.add(host, unit); err != nil {
			return err
		}
		if err := h.needPartnerKeys(); err != nil {
			return err
		}
	}
	return nil
}

// siteHosts returns the host names of the site that is being provisioned: those of the host matcher of
// its top-level route, which a site block's addresses become.
//
// Caddy does not tell a handler which route it is in. It provisions routes in order and forgets their
// raw handlers one by one, so ours is the first of its server that still has them. Where several
// servers are, the one that holds a directive with our MSN is ours; where two hold one, their hosts
// belong to the same merchant.
func siteHosts(ctx caddy.Context, msn string) ([]string, error) {
	var hosts []string
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
			found := routeHosts(*route)
			if len(found) == 0 {
				return nil, nil // a site for every host
			}
			hosts = append(hosts, found...)
		}
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
		var name, its string
		_ = json.Unmarshal(object["handler"], &name) // other types are not ours
		_ = json.Unmarshal(object["msn"], &its)
		if name == "vipps_login" && its == msn {
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
