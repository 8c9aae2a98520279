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

	"github.com/caddy-vipps/vippslogin/internal/login"
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

// sweep removes what has expired from memory and storage, now and every ten minutes.
func (a *App) sweep(ctx context.Context) {
	ticker := time.NewTicker(login.Life)
	defer ticker.Stop()
	for ctx.Err() == nil {
		a.shared.deleteExpired()
		if a.sweeps {
			if err := a.storage.Sweep(ctx, sweptFolders, time.Now()); err != nil && ctx.Err() == nil {
				a.logger.Warn("could not clean up in storage", zap.Error(err))
			}
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// followRevocations keeps the list of ended sessions up to date: it reads what other instances have added, and stores what
// could not be stored before.
func (a *App) followRevocations(ctx context.Context) {
	ticker := time.NewTicker(revocation.RefreshEvery)
	defer ticker.Stop()
	working := true
	for {
		err := a.exchangeRevocations(ctx)
		if (err == nil) != working && ctx.Err() == nil { // once for each change
			working = err == nil
			if working {
				a.logger.Info("the list of ended sessions is up to date again")
			} else {
				a.logger.Error("the list of ended sessions cannot be brought up to date: sessions that other instances end go on here", zap.Error(err))
			}
		}
		select {
		case <-ctx.Done():
			a.storeRevocations(context.WithoutCancel(ctx))
			return
		case <-ticker.C:
		}
	}
}

// stopWaits is how long Stop waits for the storage.
const stopWaits = 5 * time.Second

// storeRevocations stores whatever this instance has not stored yet. It is the last thing that it does.
func (a *App) storeRevocations(ctx context.Context) {
	keys, err := a.cookieKeys(ctx)
	if err == nil {
		err = a.shared.revocations.Flush(ctx, revocation.Access{Shared: a.storage, Keys: keys})
	}
	if err != nil {
		a.logger.Error("sessions were ended here that other instances do not know of: they go on there, and here after a restart", zap.Error(err))
	}
}

// examineStorage tries the storage out before it is used, and writes its epoch. Without storage, the first pass over ended
// sessions writes that.
func (a *App) examineStorage(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // a storage that hangs must not keep Caddy from starting
	defer cancel()
	problem, err := a.storage.Examine(ctx)
	if err != nil {
		a.logger.Warn("the storage cannot be used yet", zap.Error(err))
	}
	a.logUnfit(problem)
}

// examineLocks tries the storage's locks out, which takes a moment.
func (a *App) examineLocks(ctx context.Context) {
	problem, err := a.storage.ExamineLock(ctx)
	if err != nil && ctx.Err() == nil {
		a.logger.Warn("the storage's locks could not be tried out", zap.Error(err))
	}
	a.logUnfit(problem)
}

func (a *App) logUnfit(problem string) {
	if problem != "" {
		a.logger.Error("the storage module is unfit: logins from phone numbers and return_in_any_browser are refused", zap.String("problem", problem))
	}
}

func (a *App) exchangeRevocations(ctx context.Context) error {
	keys, err := a.cookieKeys(ctx)
	if err != nil {
		return err
	}
	at := revocation.Access{Shared: a.storage, Keys: keys, Lost: func(entries int) {
		if err := a.restoreSecret(ctx); err != nil {
			a.logger.Error("the cookie secret could not be stored again", zap.Error(err))
		}
		a.logger.Error("the storage is not the one that it was, or it has lost what was stored: the ended sessions that this instance knows are stored again; phone logins in progress are gone", zap.Int("ended_sessions", entries))
	}}
	return errors.Join(a.shared.revocations.Flush(ctx, at), a.shared.revocations.Refresh(ctx, at))
}

// restoreSecret stores the generated secret again in a storage that has lost it: an instance that starts later would generate
// another, and know no session.
func (a *App) restoreSecret(ctx context.Context) error {
	a.keysLock.Lock()
	defer a.keysLock.Unlock()
	if a.generated == "" {
		return nil // it is configured
	}
	stored, err := storedSecret(ctx, a.storage, a.generated)
	if err == nil && stored != a.generated {
		err = errors.New("the storage has another cookie secret than this instance: restart it")
	}
	return err
}

// endSessions ends sessions before their time, here at once and at every instance within seconds.
func (a *App) endSessions(ctx context.Context, entry revocation.Entry) error {
	keys, err := a.cookieKeys(ctx)
	if err != nil {
		return err
	}
	return a.shared.revocations.Add(ctx, revocation.Access{Shared: a.storage, Keys: keys}, entry)
}

// sessionsUntilNow returns a revocation of all present sessions of a user, of a merchant, or of everybody.
func (a *App) sessionsUntilNow(msn, sub string) revocation.Entry {
	now := time.Now()
	return revocation.Entry{MSN: msn, Sub: sub, Before: now.Unix(), Until: now.Add(session.MaxLifetime).Unix()}
}
