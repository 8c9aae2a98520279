package vippslogin

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/pages"
)

// endpoint answers requests for one of our paths. The next handler is not among its arguments, so no request for one of our
// endpoints can reach the site (CVE-2025-31492).
type endpoint func(w http.ResponseWriter, r *http.Request, v *visit) error

// serveEndpoint calls e, but not for TLS early data, which anybody on the network can replay (RFC 8446 section 8): a login is
// spent once, and a phone must ring once. Browsers repeat the request on their own (RFC 8470 section 5.2).
func serveEndpoint(e endpoint, w http.ResponseWriter, r *http.Request, v *visit) error {
	if incoming.IsEarly(r) {
		return refuseEarly(w)
	}
	return e(w, r, v)
}

func refuseEarly(w http.ResponseWriter) error {
	return pages.WriteProblem(w, pages.Problem{Status: http.StatusTooEarly, Title: "Too early", Detail: "Send it again when the TLS handshake is over."})
}

// redirect sends the browser to an absolute URL.
func redirect(w http.ResponseWriter, status int, location string) error {
	w.Header().Set("Location", location)
	keepUnstored(w.Header())
	w.WriteHeader(status)
	return nil
}

// keepUnstored keeps an answer out of every cache.
func keepUnstored(header http.Header) {
	if said := header["Cache-Control"]; len(said) != 1 || said[0] != "no-store" {
		header.Set("Cache-Control", "no-store")
	}
}

// only answers 405 to other methods, and says which ones there are (RFC 9110 section 15.5.6).
func only(serve endpoint, methods ...string) endpoint {
	allow := strings.Join(methods, ", ")
	return func(w http.ResponseWriter, r *http.Request, v *visit) error {
		if slices.Contains(methods, r.Method) {
			return serve(w, r, v)
		}
		w.Header().Set("Allow", allow)
		return refuseWith(w, r, v, pages.Page{Kind: "bad_link", Link: v.URL("/")},
			pages.Problem{Status: http.StatusMethodNotAllowed, Title: "Method not allowed", Detail: "Use " + allow + "."})
	}
}

// endpointPaths are the exact paths of the endpoints.
type endpointPaths struct {
	login, callback, logout, userinfo string

	jwks string // with `assertion`

	// with `phone`:
	phone, phoneExists, phoneCallback string

	webhook string // with secrets for one
}

func newEndpointPaths(base string) endpointPaths {
	return endpointPaths{
		login: base + "/login", callback: base + "/callback", logout: base + "/logout", userinfo: base + "/userinfo", jwks: base + "/jwks.json",
		phone: base + "/phone", phoneExists: base + "/phone/exists", phoneCallback: base + "/phone/callback", webhook: base + "/webhook",
	}
}

func (h *Handler) newEndpoints() map[string]endpoint {
	endpoints := map[string]endpoint{
		h.paths.login:    only(h.serveLogin, http.MethodGet, http.MethodHead),
		h.paths.callback: only(h.serveCallback, http.MethodGet),
		h.paths.logout:   only(h.serveLogout, http.MethodGet, http.MethodPost),
		h.paths.userinfo: only(h.serveUserinfo, http.MethodGet, http.MethodHead),
	}
	if h.Assertion != nil {
		endpoints[h.paths.jwks] = only(h.servePublicKeys, http.MethodGet, http.MethodHead)
	}
	if h.Phone != nil {
		h.newPhoneEndpoints(endpoints)
	}
	if len(h.phoneConfig.webhookSecrets) > 0 || len(h.consentSecrets) > 0 {
		endpoints[h.paths.webhook] = only(h.serveWebhook, http.MethodPost)
	}
	return endpoints
}

// endpoint returns the endpoint of a path, or nil where the path is the site's.
func (h *Handler) endpoint(path string) endpoint {
	if endpoint := h.endpoints[path]; endpoint != nil || h.Phone == nil {
		return endpoint
	}
	id, ok := strings.CutPrefix(path, h.paths.phone+"/")
	if !ok || id == "" || strings.Contains(id, "/") {
		return nil
	}
	return h.phoneLogin
}
