package vippslogin

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-vipps/vippslogin/internal/identity"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/placement"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// Values of on_unauthenticated.
const (
	unauthenticatedRedirect = "redirect"
	unauthenticatedDeny     = "deny"
	unauthenticatedPass     = "pass"
)

// Provision sets up the handler. It computes everything that does not depend on a request.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	app, err := ctx.App("vipps_login")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	h.sessionResults = counted.sessionResults("")
	h.browserStarts = counted.started.WithLabelValues(flowBrowser, "")
	if err := h.provisionMatchers(ctx); err != nil {
		return err
	}
	if err := h.resolvePlaceholders(); err != nil {
		return err
	}
	h.setDefaults()
	for _, check := range []func() error{
		h.checkChoices, h.provisionSession, h.checkHeaders, h.checkBasePath, h.checkLogout, h.provisionHeaderLimit, h.provisionAssertion, h.provisionSiteSession,
		func() error { return h.checkClaims(h.Claims) },
		func() error { return checkScopes("scope", h.Scopes) },
		func() error { return h.provisionRequire(ctx) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	h.scope = scopeParameter(h.Scopes)
	if err := h.provisionHosts(ctx); err != nil {
		return err
	}
	h.app.sharedHosts.Add(h.hosts.Load)
	if err := h.provisionOrigins(ctx); err != nil {
		return err
	}
	h.identity = identity.New(h.HeaderPrefix, h.HeaderEncoding, h.Headers, h.assertionField())
	h.paths = newEndpointPaths(strings.TrimRight(h.BasePath, "/"))
	if err := h.provisionEndpoints(ctx); err != nil {
		return err
	}
	h.app.sweeps = h.app.sweeps || h.Phone != nil || h.ReturnInAnyBrowser
	self := placement.Directive{Hosts: h.hosts.Load().Sample(sampledHosts), Endpoints: slices.Sorted(maps.Keys(h.endpoints)), Callback: h.paths.callback}
	return placement.Check(ctx, self)
}

// sampledHosts is how many hosts of a site are tried, at most.
const sampledHosts = 100

// provisionEndpoints sets up the endpoints, and the secrets that they need.
func (h *Handler) provisionEndpoints(ctx caddy.Context) error {
	if err := h.provisionPhone(ctx); err != nil {
		return err
	}
	if err := h.provisionConsentWebhook(); err != nil {
		return err
	}
	h.newLogins = h.asksForNewLogins(ctx)
	h.endpoints = h.newEndpoints()
	h.phoneLogin = h.phoneAPI(h.servePhoneLogin, http.MethodGet, http.MethodDelete)
	return nil
}

func (h *Handler) provisionMatchers(ctx caddy.Context) error {
	matchers, err := ctx.LoadModule(h, "Match")
	if err != nil {
		return fmt.Errorf("match: %w", err)
	}
	return h.matchers.FromInterface(matchers)
}

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
	if len(h.Phone.Countries) == 0 {
		h.Phone.Countries = phone.Countries
	}
	for _, code := range h.Phone.Countries {
		if len(code) > 3 || code[0] == '0' || strings.Trim(code, "0123456789") != "" {
			return fmt.Errorf("phone: countries: %q is not a country code: write digits such as 47", code)
		}
	}
	var err error
	if h.phoneConfig.apiKeys, err = hashedKeys("phone: api_key", h.Phone.APIKeys); err != nil {
		return err
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

func (h *Handler) provisionConsentWebhook() (err error) {
	h.consentSecrets, err = hashedKeys("consent_webhook_secret", h.ConsentWebhookSecrets)
	return err
}

// watchShutdown makes requests that wait for a phone login return when a server shuts down, which waits for them.
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
	setDefault(&h.HeaderEncoding, identity.UTF8)
	setDefault(&h.ErrorPages, "on")
	h.headerLimit = defaultHeaderLimit
	if len(h.Scopes) == 0 {
		h.Scopes = []string{"openid", "name"}
	}
}

func (h *Handler) checkChoices() error {
	for _, choice := range []struct {
		name, value string
		of          []string
	}{
		{"on_unauthenticated", h.OnUnauthenticated, []string{unauthenticatedRedirect, unauthenticatedDeny, unauthenticatedPass}},
		{"header_encoding", h.HeaderEncoding, []string{identity.UTF8, identity.Percent, identity.Base64URL}},
		{"error_pages", h.ErrorPages, []string{"on", "off"}},
		{"market", h.Market, markets},
	} {
		if err := oneOf(choice.name, choice.value, choice.of); err != nil {
			return err
		}
	}
	return nil
}

// markets are those of Vipps MobilePay. With an empty one it chooses.
var markets = []string{"", "NO", "DK", "FI", "SE"}

func oneOf(name, value string, of []string) error {
	if slices.Contains(of, value) {
		return nil
	}
	return fmt.Errorf("%s: %q is not known: use one of %s", name, value, strings.TrimSpace(strings.Join(of, " ")))
}

func (h *Handler) provisionSession() (err error) {
	if h.lifetime, err = h.Session.Lifetime.resolve("session: lifetime", 12*time.Hour); err != nil {
		return err
	}
	if h.idleTimeout, err = h.Session.IdleTimeout.resolveOrOff("session: idle_timeout"); err != nil {
		return err
	}
	const least = time.Second // the resolution of a session's times
	if h.lifetime < least || h.idleTimeout != 0 && h.idleTimeout < least {
		return errors.New("session: lifetime and idle_timeout must be positive durations of a second or more, such as 12h and 30m")
	}
	if h.lifetime > session.MaxLifetime {
		return errors.New("session: lifetime: browsers keep cookies for 400 days at most: use a shorter one")
	}
	return nil
}

// framingFields cannot carry a claim: they control how the request is read.
var framingFields = []string{
	"connection", "content-length", "content-type", "cookie", "expect", "host", "keep-alive", "te", "trailer",
	"transfer-encoding", "upgrade",
	// and these: we decide by them, or the proxy sets them
	"accept", "origin", "proxy-authorization", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "sec-purpose",
	"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-requested-with",
}

// othersFields has one field of each family that a header_prefix could remove along with our own.
var othersFields = []string{
	"accept-encoding", "access-control-request-method", "cache-control", "content-type", "if-none-match",
	"proxy-authorization", "sec-fetch-mode", "transfer-encoding", "upgrade-insecure-requests", "user-agent",
	"x-forwarded-for", "x-requested-with",
}

func (h *Handler) checkHeaders() error {
	takesOthers := slices.ContainsFunc(othersFields, func(field string) bool { return identity.HasFoldedPrefix(field, identity.Fold(h.HeaderPrefix)) })
	if takesOthers || !strings.HasSuffix(h.HeaderPrefix, "-") || len(h.HeaderPrefix) < 3 || !httpguts.ValidHeaderFieldName(h.HeaderPrefix) {
		return fmt.Errorf(`header_prefix: %q would take other headers with it: write the start of a field name that ends in "-", such as X-Vipps-`, h.HeaderPrefix)
	}
	seen := make(map[string]bool)
	for _, field := range slices.Sorted(maps.Keys(h.Headers)) { // in order, so that a config always has the same error
		claim, folded := h.Headers[field], identity.Fold(field)
		switch {
		case !httpguts.ValidHeaderFieldName(field) || slices.Contains(framingFields, folded):
			return fmt.Errorf("header: %q cannot be set: choose another field name, such as Remote-User", field)
		case h.checkAuthorization("header", folded) != nil:
			return h.checkAuthorization("header", folded)
		case folded == identity.Fold(h.HeaderPrefix)+"msn" || folded == identity.Fold(h.HeaderPrefix)+"sub":
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

// checkClaims refuses a header for a claim that sessions do not keep: it would never be there.
func (h *Handler) checkClaims(claims []string) error {
	if len(claims) == 0 {
		return nil
	}
	for _, claim := range claims {
		if claim == "" || !userinfo.IsPlain(claim) || strings.ContainsAny(claim, ", ") {
			return fmt.Errorf("claims: %q is not a claim: write names such as sub name email", claim)
		}
	}
	for _, field := range slices.Sorted(maps.Keys(h.Headers)) {
		claim := h.Headers[field]
		if !slices.Contains([]string{"sub", "msn", "new_login"}, claim) && !slices.Contains(claims, claim) {
			return fmt.Errorf("header: %q shows %s, which claims does not keep: add it there, or leave the header out", field, claim)
		}
	}
	return h.checkAssertedClaims(claims)
}

func (h *Handler) checkLogout() error {
	if to := h.Logout.ReturnTo; to != "" && (incoming.SafeReturn(to) != to || strings.HasPrefix(to, "//")) {
		return fmt.Errorf("logout: return_to: %q is not a path of this site: write one such as /goodbye", to)
	}
	for _, data := range h.Logout.ClearSiteData {
		if err := oneOf("logout: clear_site_data", data, []string{"cache", "cookies", "storage", "executionContexts", "*"}); err != nil {
			return err
		}
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

// checkScopes accepts scope tokens (RFC 6749 section 3.3) without a comma: a comma is always a list with the wrong separator.
func checkScopes(name string, scopes []string) error {
	for _, scope := range scopes {
		if scope == "" || !userinfo.IsPlain(scope) || strings.ContainsAny(scope, ` ",\`) {
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
