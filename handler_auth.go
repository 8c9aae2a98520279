package vippslogin

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// serveUnauthenticated answers a request that needs a login and has none: a navigation goes to Vipps
// MobilePay, anything else gets 401, so that no script swallows the redirect and no form is lost in it.
func (h *Handler) serveUnauthenticated(w http.ResponseWriter, r *http.Request, v *visit) error {
	navigation := isNavigation(r)
	switch {
	case navigation && h.OnUnauthenticated == unauthenticatedDeny:
		return h.fail(w, r, v, errLoginRequired, safeReturn(requestTarget(r)))
	case navigation:
		return h.startLogin(w, r, v, safeReturn(requestTarget(r)))
	}
	return h.refuseScript(w, r, v)
}

// serveLogin is GET /vipps/login: it starts a login wherever the visitor is.
func (h *Handler) serveLogin(w http.ResponseWriter, r *http.Request, v *visit) error {
	if isPrefetch(r) {
		return h.refuseScript(w, r, v)
	}
	return h.startLogin(w, r, v, returnParameter(r))
}

// requestTarget is the path and query of r, byte for byte as they came.
func requestTarget(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI() // the absolute form (RFC 9112 section 3.2.2)
}

// returnParameter is the return_to of a request to an endpoint.
func returnParameter(r *http.Request) string {
	return safeReturn(r.URL.Query().Get("return_to"))
}

// startLogin sends the browser to Vipps MobilePay. The login waits in a cookie, so that it can be
// completed in this browser only, and in the state where return_in_any_browser is on.
func (h *Handler) startLogin(w http.ResponseWriter, r *http.Request, v *visit, returnTo string) error {
	doc, err := h.app.shared.client.discovery.get(r.Context())
	if err != nil {
		return h.fail(w, r, v, err, returnTo)
	}
	now := time.Now()
	l := newLogin(returnTo, now)
	state := l.id
	if h.ReturnInAnyBrowser {
		state = sealLogin(v.keys.state, l, v.host, v.msn, maxState)
	}
	setLoginCookie(w, r, v.keys.login, l, v.host, v.msn, v.secure(), now)
	if c := h.logger.Check(zapcore.DebugLevel, "login started"); c != nil {
		c.Write(zap.String("msn", v.msn))
	}
	return redirect(w, http.StatusFound, h.authorizationURL(doc.AuthorizationEndpoint, v, l, state))
}

// authorizationURL is the authentication request (OpenID Connect Core section 3.1.2.1). A partner puts
// the msn in the place of the client_id, which it does not know
// (https://developer.vippsmobilepay.com/docs/partner/partner-keys/).
func (h *Handler) authorizationURL(endpoint string, v *visit, l *login, state string) string {
	challenge := sha256.Sum256([]byte(l.verifier))
	query := url.Values{
		"response_type":         {"code"},
		"scope":                 {v.unit.scope},
		"state":                 {state},
		"nonce":                 {l.nonce},
		"redirect_uri":          {h.redirectURI(v)},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}
	if v.unit.hasOwnKeys() {
		query.Set("client_id", v.unit.clientID)
	} else {
		query.Set("msn", v.msn)
	}
	if v.unit.market != "" {
		query.Set("market", v.unit.market)
	}
	if h.RequireAppConfirmation {
		query.Set("acr_values", acrAppAuth)
	}
	if h.ReturnInAnyBrowser {
		query.Set("requested_flow", "automatic_return_from_vipps_app")
	}
	separator := "?"
	if strings.Contains(endpoint, "?") {
		separator = "&"
	}
	return endpoint + separator + strings.ReplaceAll(query.Encode(), "+", "%20")
}

// redirectURI must equal, byte for byte, one that is registered for the sales unit.
func (h *Handler) redirectURI(v *visit) string { return v.url(h.paths.callback) }

// refuseScript answers 401 with the address of the login, for a script to offer.
func (h *Handler) refuseScript(w http.ResponseWriter, r *http.Request, v *visit) error {
	w.Header().Set("Cache-Control", "no-store")
	return writeProblem(w, problem{
		Status:   http.StatusUnauthorized,
		Title:    "Login required",
		Detail:   "This request needs a login. Open login_url in the browser's window.",
		LoginURL: h.loginURL(v.pageOf(r)),
	})
}

// loginURL is where a login that comes back to returnTo starts.
func (h *Handler) loginURL(returnTo string) string {
	return h.paths.login + "?return_to=" + url.QueryEscape(returnTo)
}

// pageOf is the page that a script's request came from, as far as it is ours: the person wants to come
// back to that, not to what the script asked for.
func (v *visit) pageOf(r *http.Request) string {
	page, ok := strings.CutPrefix(r.Header.Get("Referer"), v.url("/"))
	if !ok {
		return "/"
	}
	return safeReturn("/" + page)
}

// isNavigation reports whether the request is somebody opening a page in a window: browsers say so
// (Fetch Metadata, https://www.w3.org/TR/fetch-metadata/), older ones ask for HTML.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || isPrefetch(r) {
		return false
	}
	if r.Header.Get("X-Requested-With") != "" || r.Header.Get("Upgrade") != "" {
		return false
	}
	mode, destination := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
	if mode != "" || destination != "" {
		return mode == "navigate" && destination == "document"
	}
	return slices.ContainsFunc(r.Header["Accept"], acceptsHTML)
}

// acceptsHTML reports whether an Accept line names text/html.
func acceptsHTML(accept string) bool {
	for mediaRange := range strings.SplitSeq(accept, ",") {
		mediaType, _, _ := strings.Cut(mediaRange, ";")
		if strings.EqualFold(strings.TrimSpace(mediaType), "text/html") {
			return true
		}
	}
	return false
}

// isPrefetch reports whether the browser only guesses that the person may come here.
func isPrefetch(r *http.Request) bool {
	return r.Header.Get("Sec-Purpose") != "" || r.Header.Get("Purpose") == "prefetch"
}
