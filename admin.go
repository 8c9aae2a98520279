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

// sweep removes what has expired from memory and from Caddy's storage, now and every ten minutes.
func (a *App) sweep(ctx context.Context) {
	ticker := time.NewTicker(login.Life)
	defer ticker.Stop()
	for ctx.Err() == nil {
		a.shared.deleteExpired()
		if a.sweeps && a.caddyStorage != nil {
			if err := a.caddyStorage.Sweep(ctx, sweptFolders, time.Now()); err != nil && ctx.Err() == nil {
				a.logger.Warn("could not clean up in storage", zap.Error(err))
			}
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// revocationsLoaded reads the list of revoked sessions if that was never done.
func (a *App) revocationsLoaded(ctx context.Context) error {
	if a.shared.revocations.IsLoaded() {
		return nil
	}
	at, err := a.revocationAccess(ctx)
	if err != nil {
		return err
	}
	return a.shared.revocations.Loaded(ctx, at)
}

// followRevocations keeps the list of revoked sessions up to date: it reads what other instances add.
func (a *App) followRevocations(ctx context.Context) {
	working := true
	for ctx.Err() == nil {
		err := a.readRevocations(ctx)
		if (err == nil) != working && ctx.Err() == nil { // once for each change
			working = err == nil
			if working {
				a.logger.Info("the list of ended sessions is up to date again")
			} else {
				a.logger.Error("the list of ended sessions cannot be brought up to date: sessions that other instances end go on here", zap.Error(err))
			}
		}
		if err != nil {
			pause(ctx, time.Second)
		}
	}
}

// pause waits, but not longer than ctx.
func pause(ctx context.Context, length time.Duration) {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (a *App) readRevocations(ctx context.Context) error {
	at, err := a.revocationAccess(ctx)
	if err != nil {
		return err
	}
	return a.shared.revocations.Follow(ctx, at, revocation.RefreshEvery)
}

// stopWaits is how long Stop waits for the shared state.
const stopWaits = 5 * time.Second

// storeRevocations stores what could not be stored at once, again and again, and once more when the instance stops.
func (a *App) storeRevocations(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, revocation.RefreshEvery)
		at, err := a.revocationAccess(context.WithoutCancel(ctx))
		if err == nil {
			err = a.shared.revocations.Flush(context.WithoutCancel(ctx), at)
		}
		if err != nil && ctx.Err() != nil {
			a.logger.Error("sessions were ended here that other instances do not know of: they go on there, and here after a restart",
				zap.Int("sessions", a.shared.revocations.Pending()), zap.Error(err))
		}
	}
}

// examineStorage tries Caddy's storage out before it is used.
func (a *App) examineStorage(ctx context.Context) {
	if a.caddyStorage == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // a storage that hangs must not keep Caddy from starting
	defer cancel()
	problem, err := a.caddyStorage.Examine(ctx)
	if err != nil {
		a.logger.Warn("the storage cannot be used yet", zap.Error(err))
	}
	a.logUnfit(problem)
}

// examineLocks tries the storage's locks out, which takes a moment.
func (a *App) examineLocks(ctx context.Context) {
	problem, err := a.caddyStorage.ExamineLock(ctx)
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

// revocationAccess returns how the list of revoked sessions is reached. It reports a loss of the shared state.
func (a *App) revocationAccess(ctx context.Context) (revocation.Access, error) {
	keys, err := a.cookieKeys(ctx)
	return revocation.Access{Shared: a.storage, Keys: keys, Place: a.stateName, KeepSessions: a.keepSessions, Lost: func(entries int) {
		if err := a.restoreSecret(ctx); err != nil {
			a.logger.Error("the cookie secret could not be stored again", zap.Error(err))
		}
		counted.stateLost.Inc()
		a.logger.Error("the shared state is not the one that it was, or it has lost what was stored: the ended sessions that this instance knows are stored again; phone logins in progress are gone", zap.Int("ended_sessions", entries))
	}}, err
}

// restoreSecret stores the generated secret again in a state that has lost it: an instance that starts later would generate
// another, and know no session.
func (a *App) restoreSecret(ctx context.Context) error {
	a.keysLock.Lock()
	defer a.keysLock.Unlock()
	if a.generated == "" {
		return nil // it is configured
	}
	stored, err := storedSecret(ctx, a.storage, a.generated)
	if err == nil && stored != a.generated {
		err = errors.New("the shared state has another cookie secret than this instance: restart it")
	}
	return err
}

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
