package vippslogin

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/revocation"
	"github.com/caddy-vipps/vippslogin/internal/session"
)

func init() { caddy.RegisterModule(new(adminAPI)) }

// adminAPI lets operators end sessions, at Caddy's admin endpoint:
//
//	DELETE /vipps_login/sessions?session=<id>         one session; its id is in the line of its login
//	DELETE /vipps_login/sessions?sub=<sub>[&msn=<msn>] all of a user
//	DELETE /vipps_login/sessions?msn=<msn>            all of a merchant
//	DELETE /vipps_login/sessions?all=true             all
//
// It answers 204 when the revocation is stored; every instance knows of it within seconds. Sessions that begin later are
// not affected.
type adminAPI struct {
	ctx    caddy.Context
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.vipps_login", New: func() caddy.Module { return new(adminAPI) }}
}

// Provision keeps the config's context.
func (a *adminAPI) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.logger = caddy.Log().Named("vipps_login.admin") // an admin module has no name of its own
	return nil
}

// Routes implements caddy.AdminRouter.
func (a *adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/vipps_login/sessions", Handler: caddy.AdminHandlerFunc(a.serveSessions)}}
}

func (a *adminAPI) serveSessions(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodDelete {
		w.Header().Set("Allow", http.MethodDelete)
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("use DELETE")}
	}
	// Not at Provision: without the global option, it is the directive that loads the app, later.
	configured, err := a.ctx.AppIfConfigured("vipps_login")
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("vipps_login is not configured")}
	}
	app := configured.(*App)
	entry, err := app.sessionsIn(r.URL.RawQuery)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	if err := app.endSessions(r.Context(), entry); err != nil {
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	}
	a.logger.Info("sessions ended", zap.String("msn", entry.MSN), zap.String("sub", entry.Sub), zap.String("session", entry.Session))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

var errWhichSessions = errors.New("say which sessions: session=<id>, or sub=<sub> with msn=<msn> or without, or msn=<msn>, or all=true")

// sessionsIn reads which sessions a query names. Unknown, repeated and empty parameters are errors: a typo must not end more
// sessions than intended.
func (a *App) sessionsIn(query string) (revocation.Entry, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return revocation.Entry{}, errWhichSessions
	}
	for name, given := range values {
		if len(given) != 1 || given[0] == "" || name != "session" && name != "sub" && name != "msn" && name != "all" {
			return revocation.Entry{}, errWhichSessions
		}
	}
	s, sub, msn, all := values.Get("session"), values.Get("sub"), values.Get("msn"), values.Get("all")
	entry := a.sessionsUntilNow(msn, sub)
	switch {
	case all == "true" && len(values) == 1:
	case s != "" && len(values) == 1:
		if id, err := base64.RawURLEncoding.Strict().DecodeString(s); err != nil || len(id) != session.IDBytes {
			return revocation.Entry{}, errors.New("session: this is not the id of a session")
		}
		entry.Session = s
	case msn != "" && !merchant.IsMSN(msn):
		return revocation.Entry{}, errors.New("msn: 4 to 10 digits")
	case (sub != "" || msn != "") && all == "" && s == "":
	default:
		return revocation.Entry{}, errWhichSessions
	}
	return entry, nil
}

// Interface guards
var (
	_ caddy.AdminRouter = (*adminAPI)(nil)
	_ caddy.Provisioner = (*adminAPI)(nil)
)

// endSessions ends sessions before their time, here at once and at every instance within seconds.
func (a *App) endSessions(ctx context.Context, entry revocation.Entry) error {
	at, err := a.revocationAccess(ctx)
	if err != nil {
		return err
	}
	return a.shared.revocations.Add(ctx, at, entry)
}

// sessionsUntilNow returns a revocation of all present sessions of a user, of a merchant, or of everybody.
func (a *App) sessionsUntilNow(msn, sub string) revocation.Entry {
	now := time.Now()
	return revocation.Entry{MSN: msn, Sub: sub, Before: now.Unix(), Until: now.Add(session.MaxLifetime).Unix()}
}
