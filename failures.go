package vippslogin

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/pages"
	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/placement"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
	"github.com/caddy-vipps/vippslogin/state"
)

// errLoginRequired is an unauthenticated page view with on_unauthenticated deny.
var errLoginRequired = errors.New("a login is required")

// failure says how an error is answered, logged and counted.
type failure struct {
	is     error
	status int
	reason string // one fixed word, for logs, metrics and error routes
	level  zapcore.Level
	page   string // the key of the page in internal/pages
}

// failures is the one table from errors to answers. The first row that an error wraps counts. Failures that users cause are
// logged at INFO, those that an operator should look at as warnings, those that an operator must fix as errors.
var failures = []failure{
	{errLoginRequired, http.StatusUnauthorized, "login_required", zap.DebugLevel, "login_required"},
	{errMoreRequired, http.StatusUnauthorized, "more_required", zap.DebugLevel, "more_required"},
	{errLoop, http.StatusLoopDetected, "loop", zap.WarnLevel, "loop"},
	{errNoMerchant, http.StatusMisdirectedRequest, "no_merchant", zap.InfoLevel, "no_merchant"},
	{errBadCallback, http.StatusBadRequest, "bad_callback", zap.InfoLevel, "bad_link"},
	{errNoLogin, http.StatusBadRequest, "no_login", zap.InfoLevel, "session_lost"},
	{errOtherBrowser, http.StatusBadRequest, "other_browser", zap.InfoLevel, "other_browser"},
	{errTooLate, http.StatusBadRequest, "too_late", zap.InfoLevel, "too_late"},
	{login.ErrSpent, http.StatusBadRequest, "already_used", zap.InfoLevel, "already_used"},
	{login.ErrRedeemed, http.StatusBadRequest, "already_used", zap.WarnLevel, "already_used"},
	{errForeignCode, http.StatusBadRequest, "foreign_code", zap.ErrorLevel, "not_started_here"},
	{vipps.ErrCodeRefused, http.StatusBadRequest, "code_refused", zap.WarnLevel, "already_used"},
	{errTooManyCodes, http.StatusTooManyRequests, "too_many_codes", zap.WarnLevel, "busy"},
	{errCancelled, http.StatusForbidden, "cancelled", zap.InfoLevel, "cancelled"},
	{errOutdatedApp, http.StatusForbidden, "outdated_app", zap.InfoLevel, "outdated_app"},
	{errWrongChallenge, http.StatusForbidden, "wrong_challenge", zap.InfoLevel, "wrong_challenge"},
	{errOtherTab, http.StatusBadRequest, "other_tab", zap.InfoLevel, "session_lost"},
	{errRefused, http.StatusForbidden, "refused", zap.WarnLevel, "refused"},
	{errCrossSiteLogout, http.StatusForbidden, "cross_site_logout", zap.InfoLevel, "cross_site_logout"},
	{phone.ErrOtherNumber, http.StatusBadRequest, "other_number", zap.WarnLevel, "other_number"},
	{vipps.ErrNotConnected, http.StatusBadGateway, "not_connected", zap.ErrorLevel, "misconfigured"},
	{vipps.ErrKeysRefused, http.StatusBadGateway, "keys_refused", zap.ErrorLevel, "misconfigured"},
	{idtoken.ErrACR, http.StatusForbidden, "not_confirmed", zap.WarnLevel, "not_confirmed"},
	{idtoken.ErrInvalid, http.StatusBadGateway, "id_token", zap.ErrorLevel, "not_verified"},
	{idtoken.ErrSubMismatch, http.StatusBadGateway, "sub_mismatch", zap.ErrorLevel, "not_verified"},
	{errServerError, http.StatusBadGateway, "server_error", zap.WarnLevel, "provider_error"},
	{vipps.ErrBusy, http.StatusServiceUnavailable, "busy", zap.WarnLevel, "busy"},
	{vipps.ErrNoAnswer, http.StatusGatewayTimeout, "no_answer", zap.ErrorLevel, "no_answer"},
	{vipps.ErrBadAnswer, http.StatusBadGateway, "bad_answer", zap.ErrorLevel, "provider_error"},
	{vipps.ErrPending, http.StatusBadGateway, "bad_answer", zap.ErrorLevel, "provider_error"},
	{vipps.ErrSlowDown, http.StatusServiceUnavailable, "busy", zap.WarnLevel, "busy"},
	{vipps.ErrDenied, http.StatusForbidden, "denied", zap.InfoLevel, "cancelled"},
	{vipps.ErrExpired, http.StatusBadRequest, "expired", zap.InfoLevel, "too_late"},
	{errMatcher, http.StatusInternalServerError, "matcher", zap.WarnLevel, "misconfigured"},
	{placement.ErrTwice, http.StatusInternalServerError, "twice", zap.ErrorLevel, "misconfigured"},
	{state.ErrUnavailable, http.StatusServiceUnavailable, "storage", zap.ErrorLevel, "unavailable"},
}

var errInternal = errors.New("internal error")

// unknownFailure is for errors that are missing in the table, which is a bug.
var unknownFailure = failure{errInternal, http.StatusInternalServerError, "internal", zap.ErrorLevel, "unavailable"}

// stateAwayWait is the Retry-After of what the shared state cannot serve.
const stateAwayWait = 5 * time.Second

// setRetryAfter says when to come back, where the failure passes by itself.
func (f failure) setRetryAfter(w http.ResponseWriter) {
	if f.is == state.ErrUnavailable {
		setRetryAfter(w, stateAwayWait)
	}
}

func failureOf(err error) failure {
	for _, f := range failures {
		if errors.Is(err, f.is) {
			return f
		}
	}
	return unknownFailure
}

// fail is the one place where a login in a browser ends without a session: with a log line, a count, and a page, or an error
// for the site's handle_errors. The button on the page tries again and keeps the page that the user wanted.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, v *visit, err error, returnTo string) error {
	path := incoming.OriginalPath(r)
	if h.isPhoneAPI(path) {
		if path != h.paths.webhook && !h.validAPIKey(r) {
			return refuseAPIKey(w)
		}
		return h.failPhone(w, v, err)
	}
	f := failureOf(err)
	reference := ""
	switch {
	case f.is == errLoginRequired: // no failure
	case f.is == errNoMerchant && !incoming.IsForPerson(r):
		// A health probe or a scanner: no user wanted to log in.
		h.logger.Debug("no merchant", zap.String("host", v.asked))
	default:
		reference = h.recordFailure(v, h.flowAt(path), f, err)
	}
	return h.showFailure(w, r, v, f, reference, returnTo)
}

// showFailure answers with a failure that was recorded.
func (h *Handler) showFailure(w http.ResponseWriter, r *http.Request, v *visit, f failure, reference, returnTo string) error {
	keepUnstored(w.Header())
	f.setRetryAfter(w)
	v.refused = h.endpoint(incoming.OriginalPath(r)) == nil
	if h.ErrorPages == "off" {
		setErrorPlaceholders(r, f.reason, reference, h.loginURL(v, returnTo))
		return h.handOver(w, r, v, f)
	}
	v.clearInvalid(w, r)
	p := pages.Page{Kind: f.page, Link: h.loginURL(v, returnTo), Reference: reference}
	switch f.is {
	case errNoMerchant:
		p.Link = ""
	case errMoreRequired:
		if r.Method == http.MethodPost {
			p.Kind = "more_required_form"
		}
	case errCrossSiteLogout:
		p.Link = v.URL(incoming.SafeReturn(returnTo))
	}
	return p.Write(w, r, f.status, v.market(), incoming.IsInFrame(r))
}

// failAgain answers with an error that the site's error routes would show, and must not.
func (h *Handler) failAgain(w http.ResponseWriter, r *http.Request, v *visit) error {
	raised, _ := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	f := failureOf(raised)
	keepUnstored(w.Header())
	var others caddyhttp.HandlerError
	switch {
	case f.is == errInternal && errors.As(raised, &others) && others.StatusCode >= http.StatusBadRequest:
		w.WriteHeader(others.StatusCode) // from a handler before us: we have no page for it
		return nil
	case !incoming.IsForPerson(r):
		return pages.WriteProblem(w, pages.Problem{Status: f.status, Title: http.StatusText(f.status), LoginURL: h.loginURL(v, v.PageOf(r))})
	}
	p := pages.Page{Kind: f.page, Link: h.loginURL(v, incoming.WantedPage(r))}
	return p.Write(w, r, f.status, v.market(), incoming.IsInFrame(r))
}

// flowAt returns the flow that a path belongs to.
func (h *Handler) flowAt(path string) string {
	if path == h.paths.phoneCallback {
		return phone.FlowBrowser
	}
	return flowBrowser
}

// handOver hands an error to the site's error routes. Caddy logs an error with the request's URL, which holds the
// authorization code in a callback: there we run the error routes ourselves. The site gets the reason; the details are in our
// own log line.
func (h *Handler) handOver(w http.ResponseWriter, r *http.Request, v *visit, f failure) error {
	if w.Header().Get("Content-Security-Policy") != "" { // ours: the site's page has styles and images
		w.Header().Set("Content-Security-Policy", "frame-ancestors 'none'")
	}
	h.takeCookies(r, v) // handle_errors may proxy to the site as well
	pages.Challenge(w, f.status)
	handlerError := caddyhttp.Error(f.status, f.is)
	if path := incoming.OriginalPath(r); path != h.paths.callback && path != h.paths.phoneCallback {
		return handlerError
	}
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Errors == nil || len(server.Errors.Routes) == 0 {
		w.WriteHeader(f.status)
		return nil
	}
	r = server.Errors.WithError(incoming.AsSent(r), handlerError)
	routes := server.Errors.Routes.Compile(caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(f.status)
		return nil
	}))
	if routes.ServeHTTP(w, r) != nil {
		w.WriteHeader(f.status)
	}
	return nil
}

// refuse answers 401 to an unauthenticated request that cannot begin a login. Browsers get a page that leads back to the page
// with the form or frame, scripts get the address of a login.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, v *visit) error {
	v.clearInvalid(w, r)
	if h.ErrorPages == "off" && incoming.IsForPerson(r) {
		return h.fail(w, r, v, errLoginRequired, v.PageOf(r))
	}
	kind := "login_required"
	if r.Method == http.MethodPost {
		kind = "form_not_sent"
	}
	return refuseWith(w, r, v, pages.Page{Kind: kind, Link: h.loginURL(v, v.PageOf(r))}, h.loginRequired(r, v))
}

// loginRequired returns the answer to an unauthenticated request of a script.
func (h *Handler) loginRequired(r *http.Request, v *visit) pages.Problem {
	return pages.Problem{
		Status:   http.StatusUnauthorized,
		Title:    "Login required",
		Detail:   "This request needs a login. Open login_url in the browser's window.",
		LoginURL: h.loginURL(v, v.PageOf(r)),
	}
}

// refuseWith refuses a request with a page for browsers, and with the problem for scripts.
func refuseWith(w http.ResponseWriter, r *http.Request, v *visit, p pages.Page, forScripts pages.Problem) error {
	keepUnstored(w.Header())
	if incoming.IsForPerson(r) {
		return p.Write(w, r, forScripts.Status, v.market(), incoming.IsInFrame(r))
	}
	return pages.WriteProblem(w, forScripts)
}

// loginURL returns the address of a login that returns to a page, and that meets what the request requires.
func (h *Handler) loginURL(v *visit, returnTo string) string {
	address := h.paths.login + "?return_to=" + url.QueryEscape(returnTo)
	if v.demand != nil && v.demand.which != "" {
		address += "&require=" + v.demand.which
	}
	return address
}

// authorizationError sorts the error codes of the authorization response. Unknown ones mean that the login was refused.
func authorizationError(code string) error {
	switch code {
	case "access_denied":
		return errCancelled
	case "outdated_app_version":
		return errOutdatedApp
	case "wrong_challenge":
		return errWrongChallenge
	case "server_error", "error": // ORY Hydra's code for its own faults
		return errServerError
	case "request_forbidden":
		// ORY Hydra, with two tabs on its login page: only the tab that began last can succeed.
		return errOtherTab
	case "temporarily_unavailable":
		return vipps.ErrBusy
	}
	if !vipps.IsErrorCode(code) {
		code = "unreadable code"
	}
	return fmt.Errorf("%w: %s", errRefused, code)
}
