// Package vippslogin is a Caddy plugin that logs visitors in with Vipps MobilePay before a site sees
// their requests, for all the merchants of a Vipps MobilePay partner. The site behind it is told who
// the user is in plain request headers.
//
// A request walks forward through the files: module.go decides what happens to it; visit.go finds out whose site it is for
// and which session it has; handler_auth.go sends unauthenticated visitors to Vipps MobilePay; handler_callback.go
// completes the login with what partnerclient.go fetches and idtoken.go checks. docs/code.md has the whole map.
package vippslogin

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/assertion"
	"github.com/caddy-vipps/vippslogin/internal/identity"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/pages"
	"github.com/caddy-vipps/vippslogin/internal/sitesession"
)

func init() { caddy.RegisterModule(new(Handler)) }

// Handler puts a login with Vipps MobilePay in front of a site. It must see every request of the site:
// it removes identity headers that clients send, and answers its endpoints, whatever Match says.
type Handler struct {
	// Match says which requests need a login. Default: all.
	Match caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// MSN is the Merchant Serial Number, 4 to 10 digits, that every host of the site belongs to. A
	// placeholder is resolved for each request. The site needs host names: those of the host matcher of
	// its top-level route.
	MSN string `json:"msn,omitempty"`

	// Merchants says which host belongs to which MSN.
	Merchants []Merchant `json:"merchants,omitempty"`

	// MerchantsFile is the path of a CSV file of merchants, relative to Caddy's working directory. Its first line is host,msn and
	// any of client_id, client_secret, scope, market, claims and audience, in any order; then one line for each host. Changes take
	// effect within seconds, without a reload; a version with a mistake is refused, and the previous one stays. Placeholders are
	// resolved when the config is loaded. Default: none.
	MerchantsFile string `json:"merchants_file,omitempty"`

	// Scopes are what a login asks for. "openid" is added if missing. Default: openid name.
	Scopes []string `json:"scopes,omitempty"`

	// Claims are the claims of userinfo that a session keeps and the site is told; sub and the MSN always are. Default: all.
	Claims []string `json:"claims,omitempty"`

	// Audience is what the ID token's aud must be, or contain: the sales unit's client_id, which a partner has no secret
	// for. Default: it is not checked with partner keys.
	Audience string `json:"audience,omitempty"`

	// OnUnauthenticated is what happens to a request that needs a login and has no session: "redirect"
	// to Vipps MobilePay, "deny" (401), or "pass" it on without identity headers. Default: redirect.
	OnUnauthenticated string `json:"on_unauthenticated,omitempty"`

	// BasePath is where the endpoints are. Default: /vipps.
	BasePath string `json:"base_path,omitempty"`

	// Session says how long a session lasts.
	Session SessionConfig `json:"session,omitzero"`

	// Logout says what a logout does besides ending the session.
	Logout LogoutConfig `json:"logout,omitzero"`

	// PublicOrigin is the scheme, host and port of redirect URIs, redirects and cookies, as browsers see them, such as
	// https://shop.example.no:8443. It overrides the listener and proxies. {http.request.host} stands for the request's host,
	// and is needed where the site has several. Other placeholders are resolved when the
	// config is loaded. Default: the origin of the request.
	PublicOrigin string `json:"public_origin,omitempty"`

	// Assertion adds a signed proof of who the user is to each request with a session, and an endpoint with its public keys.
	// Default: none.
	Assertion *AssertionConfig `json:"assertion,omitempty"`

	// SiteSession binds the site's own session cookies to the user they were set for. Default: none.
	SiteSession *SiteSessionConfig `json:"site_session,omitempty"`

	// HeaderPrefix starts the name of every identity header, and ends in "-". Default: X-Vipps-.
	HeaderPrefix string `json:"header_prefix,omitempty"`

	// Headers are further headers: field name to claim name. The claim "msn" is the MSN.
	Headers map[string]string `json:"headers,omitempty"`

	// HeaderLimit is how large all identity headers together may be, in bytes on the wire: the largest claims that do not
	// fit are left out at login. Sessions from before a change stay as they are. Default: 8KiB.
	HeaderLimit Size `json:"header_limit,omitempty"`

	// HeaderEncoding is how text that is not ASCII is written: "utf8", "percent" or "base64url".
	// Default: utf8.
	HeaderEncoding string `json:"header_encoding,omitempty"`

	// Market is NO, DK, FI or SE: whose words and colours the login shows. Default: Vipps MobilePay's
	// choice.
	Market string `json:"market,omitempty"`

	// Require says which requests need more than a session: a recent login, further scopes, a confirmation in the app.
	// Several that match a request add up. Default: none.
	Require []RequireConfig `json:"require,omitempty"`

	// RequireAppConfirmation requires that every login is confirmed in the app, even in a remembered browser.
	RequireAppConfirmation bool `json:"require_app_confirmation,omitempty"`

	// ReturnInAnyBrowser lets a login be completed in another browser than the one it began in. Login
	// CSRF is possible then: read the documentation first.
	ReturnInAnyBrowser bool `json:"return_in_any_browser,omitempty"`

	// ErrorPages is "on" for the built-in pages, or "off" to hand errors to the site's error routes.
	// Default: on.
	ErrorPages string `json:"error_pages,omitempty"`

	// Phone switches logins from a phone number on. Default: off.
	Phone *PhoneConfig `json:"phone,omitempty"`

	// ConsentWebhookSecrets are in the URL of Vipps MobilePay's webhook for consents that were revoked, at
	// least 32 characters each. Several make rotation possible. Placeholders are resolved when the config
	// is loaded. Default: none, and no webhook endpoint for it.
	ConsentWebhookSecrets []string `json:"consent_webhook_secrets,omitempty"`

	app                   *App
	logger                *zap.Logger
	matchers              caddyhttp.MatcherSets
	lifetime, idleTimeout time.Duration // of sessions; idleTimeout is 0 where there is none

	scope       string                         // Scopes as one parameter
	hosts       atomic.Pointer[merchant.Hosts] // replaced when a merchants file changes
	origins     incoming.Origins
	identity    *identity.Identity
	signer      *assertion.Signer    // nil: no assertions
	siteCookies *sitesession.Cookies // the site's own, which are bound; nil: none
	paths       endpointPaths
	endpoints   map[string]endpoint

	requirements []requirement
	headerLimit  int

	newLogins bool // the config asks which page view is the first of a login

	sessionResults sessionResults
	browserStarts  prometheus.Counter // without the label msn, looked up in advance
	strangeScheme  sync.Once

	consentSecrets [][sha256.Size]byte

	phoneConfig phoneSecrets
	phoneLogin  endpoint
	stopping    chan struct{} // closed when a server of the config shuts down
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.vipps_login", New: func() caddy.Module { return new(Handler) }}
}

// ServeHTTP handles every request of the site.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	path := incoming.OriginalPath(r)
	if path == h.paths.callback || path == h.paths.phoneCallback || path == h.paths.webhook {
		// The access log would have the authorization code, or the secret: our own line replaces it. Even where the
		// endpoint is off, a request for it may have one.
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
	h.identity.Strip(r)
	if r.Context().Value(caddyhttp.ErrorCtxKey) != nil {
		return h.serveErrorRoute(w, r, next)
	}
	endpoint := h.endpoint(path)
	if endpoint != nil {
		pages.SetHeaders(w)
	}
	v, err := h.visitOnce(r)
	setPlaceholders(r, v)
	if err != nil {
		return h.fail(w, r, v, err, "/")
	}
	if incoming.IsMisspelt(r, v.asked) && v.asked == v.Host && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		return redirect(w, http.StatusPermanentRedirect, v.URL(incoming.Target(incoming.AsSent(r))))
	}
	if endpoint != nil {
		return serveEndpoint(endpoint, w, incoming.AsSent(r), v)
	}
	if missing, err := h.findMissing(r, v); missing || err != nil {
		return h.serveMoreRequired(w, r, v, err)
	}
	if v.session != nil {
		return h.serveUser(w, r, v, next)
	}
	needed, err := incoming.Matches(h.matchers, r)
	switch {
	case incoming.IsTooEarly(err):
		return refuseEarly(w)
	case err != nil:
		return h.fail(w, incoming.AsSent(r), v, errMatcher, incoming.WantedPage(incoming.AsSent(r)))
	case needed && h.OnUnauthenticated != unauthenticatedPass:
		return h.serveUnauthenticated(w, incoming.AsSent(r), v)
	}
	return h.serveSite(w, r, v, h.takeCookies(r, v), next)
}

// serveUser hands a request with a session to the site.
func (h *Handler) serveUser(w http.ResponseWriter, r *http.Request, v *visit, next caddyhttp.Handler) error {
	h.renewSession(w, v)
	if v.newLogin = h.newLogins && isNewLogin(r, v); v.newLogin {
		w = spendNewLogin(w, v)
	}
	proof, err := h.assertionFor(r, v)
	if err != nil {
		return h.fail(w, incoming.AsSent(r), v, err, incoming.WantedPage(incoming.AsSent(r)))
	}
	found := h.takeCookies(r, v)
	h.identity.Present(r, v.session, v.msn, v.newLogin, proof)
	return h.serveSite(w, r, v, found, next)
}

// serveErrorRoute handles a failed request in the site's handle_errors: identity headers are removed and set as always, but
// no login begins, and no endpoint fails a second time.
func (h *Handler) serveErrorRoute(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	v, ok := caddyhttp.GetVar(r.Context(), visitedVar).(*visit)
	if !ok {
		v, _ = h.visit(r) // a handler before us failed; a host without a merchant has no session
		needed, err := incoming.Matches(h.matchers, r)
		v.refused = v.session == nil && (needed && h.OnUnauthenticated != unauthenticatedPass || err != nil)
		if missing, err := h.findMissing(r, v); missing || err != nil {
			v.refused = true
		}
	}
	setPlaceholders(r, v)
	if v.refused && incoming.SameAddress(r) {
		// The site would answer with the page that was refused (CVE-2025-31492).
		return h.failAgain(w, incoming.AsSent(r), v)
	}
	found := h.takeCookies(r, v)
	if v.session == nil {
		return h.serveSite(w, r, v, found, next)
	}
	if proof, err := h.assertionFor(r, v); err == nil { // else no identity is presented: never without the assertion
		h.identity.Present(r, v.session, v.msn, false, proof)
	}
	return h.serveSite(w, r, v, found, next)
}

// errMatcher does not wrap the matcher's error, which may quote the request.
var errMatcher = errors.New("the directive's matcher failed: whether a login is needed is not known")

var errNoMerchant = errors.New("this host belongs to no merchant")

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
