package vippslogin

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// errLoginRequired is a navigation that on_unauthenticated deny turns away.
var errLoginRequired = errors.New("a login is required")

// failure is what an error means to the person and to the log.
type failure struct {
	is     error
	status int
	reason string // a fixed word, for the log
	level  zapcore.Level
	title  string
	text   string
}

// failures is the one table from errors to answers. The first row that an error wraps counts.
var failures = []failure{
	{errLoginRequired, http.StatusUnauthorized, "login_required", zap.DebugLevel,
		"Please log in", "This page is for people who have logged in."},
	{errNoMerchant, http.StatusMisdirectedRequest, "no_merchant", zap.InfoLevel,
		"This address cannot be logged in to", "No shop is set up for login at this address. Check the address, or ask the shop."},
	{errBadCallback, http.StatusBadRequest, "bad_callback", zap.InfoLevel,
		"The login could not be completed", "The link is not complete, or was changed on its way. Please log in again."},
	{errNoLogin, http.StatusBadRequest, "no_login", zap.InfoLevel,
		"The login could not be completed", "It took too long, was completed before, or was started in another browser. Please log in again."},
	{errForeignCode, http.StatusBadRequest, "foreign_code", zap.ErrorLevel,
		"The login could not be completed", "It was not started here. Please start again."},
	{errRedeemed, http.StatusBadRequest, "redeemed", zap.WarnLevel,
		"The login could not be completed", "This login was completed before. Please log in again."},
	{errCodeRefused, http.StatusBadRequest, "code_refused", zap.WarnLevel,
		"The login could not be completed", "It took too long, or was completed before. Please log in again."},
	{errCancelled, http.StatusForbidden, "cancelled", zap.InfoLevel,
		"You cancelled the login", "Nothing was shared. You can log in whenever you like."},
	{errRefused, http.StatusForbidden, "refused", zap.WarnLevel,
		"The login was not approved", "Vipps MobilePay did not approve the login. Please try again."},
	{errCrossSiteLogout, http.StatusForbidden, "cross_site_logout", zap.InfoLevel,
		"You are still logged in", "Another site asked for the logout. If you want to log out, do it on the site itself."},
	{errOtherNumber, http.StatusBadRequest, "other_number", zap.WarnLevel,
		"The login could not be completed", "Somebody else than the person who was asked has answered. Please start again."},
	{errKeysRefused, http.StatusBadGateway, "keys_refused", zap.ErrorLevel,
		"The login does not work right now", "The shop's connection to Vipps MobilePay is not set up correctly. Please tell the shop."},
	{errIDToken, http.StatusBadGateway, "id_token", zap.ErrorLevel,
		"The login could not be verified", "The answer from Vipps MobilePay could not be verified. Please try again."},
	{errSubMismatch, http.StatusBadGateway, "sub_mismatch", zap.ErrorLevel,
		"The login could not be verified", "The answer from Vipps MobilePay could not be verified. Please try again."},
	{errServerError, http.StatusBadGateway, "server_error", zap.WarnLevel,
		"The login does not work right now", "Vipps MobilePay had a problem. Please try again in a moment."},
	{errBusy, http.StatusServiceUnavailable, "busy", zap.WarnLevel,
		"The login is busy", "Vipps MobilePay asks to come back a little later. Please try again in a moment."},
	{errNoAnswer, http.StatusGatewayTimeout, "no_answer", zap.ErrorLevel,
		"The login does not answer", "Vipps MobilePay did not answer. Please try again in a moment."},
	{errBadAnswer, http.StatusBadGateway, "bad_answer", zap.ErrorLevel,
		"The login does not work right now", "Vipps MobilePay had a problem. Please try again in a moment."},
	{errPending, http.StatusBadGateway, "bad_answer", zap.ErrorLevel,
		"The login does not work right now", "Vipps MobilePay had a problem. Please try again in a moment."},
	{errSlowDown, http.StatusServiceUnavailable, "busy", zap.WarnLevel,
		"The login is busy", "Vipps MobilePay asks to come back a little later. Please try again in a moment."},
	{errDenied, http.StatusForbidden, "denied", zap.InfoLevel,
		"You said no to the login", "Nothing was shared. You can log in whenever you like."},
	{errExpired, http.StatusBadRequest, "expired", zap.InfoLevel,
		"The login could not be completed", "It took too long. Please start again."},
	{errTwice, http.StatusInternalServerError, "twice", zap.ErrorLevel,
		"The login does not work right now", "The shop's login is not set up correctly. Please tell the shop."},
	{errStorage, http.StatusServiceUnavailable, "storage", zap.ErrorLevel,
		"The login does not work right now", "Please try again in a moment."},
}

var errInternal = errors.New("internal error")

// unknownFailure is a mistake of ours: an error that nobody put into the table.
var unknownFailure = failure{errInternal, http.StatusInternalServerError, "internal", zap.ErrorLevel,
	"The login does not work right now", "Please try again in a moment."}

func failureOf(err error) failure {
	for _, f := range failures {
		if errors.Is(err, f.is) {
			return f
		}
	}
	return unknownFailure
}

// fail is the one way a login ends without a session: a log line, and a page, or an error for the
// site's handle_errors. The button on the page tries again and keeps the page the person wanted.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, v *visit, err error, returnTo string) error {
	if h.isPhoneAPI(originalPath(r)) {
		return h.failPhone(w, v, err)
	}
	f := failureOf(err)
	reference := newReference()
	if c := h.logger.Check(f.level, "no login"); c != nil {
		c.Write(zap.String("reason", f.reason), zap.Int("status", f.status), zap.String("reference", reference),
			zap.String("msn", v.msn), zap.String("host", v.host), zap.Error(err))
	}
	w.Header().Set("Cache-Control", "no-store")
	if h.ErrorPages == "off" {
		return h.handOver(w, r, f)
	}
	p := page{Title: f.title, Text: f.text, Reference: reference, TryAgain: h.loginURL(returnTo), Button: "Try again"}
	switch f.is {
	case errNoMerchant:
		p.TryAgain = ""
	case errLoginRequired:
		p.Button = "Log in"
	case errCrossSiteLogout:
		p.TryAgain, p.Button = v.url(safeReturn(returnTo)), "Back to the site"
	}
	return p.write(w, r, f.status)
}

// handOver hands an error to the site's error routes. On the way through Caddy an error is logged with
// the request's URL: for a callback, whose URL holds the authorization code, we run the error routes
// ourselves. The site is told what kind of error it is; the details are in our own log line.
func (h *Handler) handOver(w http.ResponseWriter, r *http.Request, f failure) error {
	if w.Header().Get("Content-Security-Policy") != "" { // ours; the site's page has styles and images
		w.Header().Set("Content-Security-Policy", "frame-ancestors 'none'")
	}
	handlerError := caddyhttp.Error(f.status, f.is)
	if path := originalPath(r); path != h.paths.callback && path != h.paths.phoneCallback {
		return handlerError
	}
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Errors == nil || len(server.Errors.Routes) == 0 {
		w.WriteHeader(f.status)
		return nil
	}
	r = server.Errors.WithError(asSent(r), handlerError)
	routes := server.Errors.Routes.Compile(caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(f.status)
		return nil
	}))
	if routes.ServeHTTP(w, r) != nil {
		w.WriteHeader(f.status)
	}
	return nil
}

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

// authorizationError sorts the error codes of the redirect. Undocumented ones will come, and mean that
// there is no login.
func authorizationError(code string) error {
	switch code {
	case "access_denied":
		return errCancelled
	case "server_error":
		return errServerError
	case "temporarily_unavailable":
		return errBusy
	}
	if !isErrorCode(code) {
		code = "unreadable code"
	}
	return wrapped{code, errRefused}
}
