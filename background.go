package vippslogin

import (
	"context"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/revocation"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/state"
)

// sweep removes what has expired from memory and from Caddy's storage, now and every ten minutes.
func (a *App) sweep(ctx context.Context) {
	ticker := time.NewTicker(login.Life)
	defer ticker.Stop()
	for ctx.Err() == nil {
		a.shared.deleteExpired()
		if a.sweeps && a.caddyStorage != nil {
			if err := a.caddyStorage.Sweep(ctx, sweptFolders(), time.Now()); err != nil && ctx.Err() == nil {
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

// storeRevocations stores what could not be stored at once, again and again, and at last before the instance stops.
func (a *App) storeRevocations(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, revocation.RefreshEvery)
		_ = a.flushRevocations() // whoever revoked them was told
	}
	err := a.flushRevocations()
	for deadline := time.Now().Add(a.stopWaits() - time.Second); err != nil && caddy.Exiting() && time.Now().Before(deadline); {
		pause(context.Background(), 500*time.Millisecond)
		err = a.flushRevocations()
	}
	if err != nil && caddy.Exiting() {
		a.logger.Error("sessions were ended here that other instances do not know of: they go on there, and here after a restart",
			zap.Int("sessions", a.shared.revocations.Pending()), zap.Error(err))
	}
}

func (a *App) flushRevocations() error {
	if a.shared.revocations.Pending() == 0 {
		return nil
	}
	ctx := context.Background()
	at, err := a.revocationAccess(ctx)
	if err != nil {
		return err
	}
	return a.shared.revocations.Flush(ctx, at)
}

// examineAgain is how long it takes until a storage that was away is tried out again.
const examineAgain = 10 * time.Second

// examineStorage tries Caddy's storage out before it is used, and goes on in the background where it is away.
func (a *App) examineStorage(ctx context.Context) {
	if a.caddyStorage == nil {
		a.background.Go(func() { a.examineServer(ctx) })
		return
	}
	if err := a.examine(ctx, a.caddyStorage.Examine); err != nil {
		a.logger.Warn("the storage cannot be used yet", zap.Error(err))
		a.background.Go(func() { a.examineUntilDone(ctx, a.caddyStorage.Examine) })
	}
	if a.sweeps {
		a.background.Go(func() { a.examineUntilDone(ctx, a.caddyStorage.ExamineLock) }) // which takes a moment
	}
}

// examine tries something out, but not for long: a storage that hangs must not keep Caddy from starting.
func (a *App) examine(ctx context.Context, try func(context.Context) (problem string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	problem, err := try(ctx)
	a.logUnfit(problem)
	return err
}

// examineUntilDone tries something out until the storage has answered: it may be away when Caddy starts, and unfit
// nevertheless.
func (a *App) examineUntilDone(ctx context.Context, try func(context.Context) (problem string, err error)) {
	for logged := false; ctx.Err() == nil; {
		problem, err := try(ctx)
		a.logUnfit(problem)
		if err == nil || problem != "" {
			return
		}
		if !logged && ctx.Err() == nil {
			a.logger.Warn("the storage could not be tried out: this is tried again", zap.Error(err))
			logged = true
		}
		pause(ctx, examineAgain)
	}
}

// examineServer looks at the settings of the shared state's server, once it answers.
func (a *App) examineServer(ctx context.Context) {
	server, ok := a.storage.(state.Examiner)
	for ok && ctx.Err() == nil {
		problem, err := server.Examine(ctx)
		if problem != "" {
			a.logger.Error("the server of the shared state is not set up as it must be", zap.String("problem", problem))
		}
		if err == nil {
			return
		}
		pause(ctx, examineAgain)
	}
}

func (a *App) logUnfit(problem string) {
	if problem != "" {
		a.logger.Error("the storage module is unfit: logins from phone numbers and return_in_any_browser are refused", zap.String("problem", problem))
	}
}

// revocationAccess returns how the list of revoked sessions is reached. It tells of a loss of the shared state.
func (a *App) revocationAccess(ctx context.Context) (revocation.Access, error) {
	keys, err := a.cookieKeys(ctx)
	return revocation.Access{
		Shared: a.storage, Keys: keys, Place: a.stateName, KeepSessions: a.keepSessions,
		Restore: func() { a.settleSecret(ctx, a.restoreSecret) },
		Older:   func() { a.settleSecret(ctx, a.adoptSecret) },
		Lost: func(entries int) {
			a.settleSecret(ctx, a.restoreSecret)
			counted.stateLost.Inc()
			a.logger.Error("the shared state is not the one that it was, or it has lost what was stored: the ended sessions that this instance knows are stored again; phone logins in progress are gone", zap.Int("ended_sessions", entries))
		},
	}, err
}

// Stop ends the goroutines of Start. It waits for what this instance has not stored yet.
func (a *App) Stop() error {
	if a.stop == nil {
		return nil
	}
	a.stop()
	ended := make(chan struct{})
	go func() { a.background.Wait(); close(ended) }()
	timer := time.NewTimer(a.stopWaits())
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return nil
		case <-ended:
			if !caddy.Exiting() || a.shared.phones.Unstored() == 0 { // a reload keeps what is not stored
				return nil
			}
			pause(context.Background(), 50*time.Millisecond)
		}
	}
}

func (a *App) stopWaits() time.Duration {
	if !caddy.Exiting() {
		return stopWaits
	}
	if app, err := a.ctx.AppIfConfigured("http"); err == nil {
		if grace := app.(*caddyhttp.App).GracePeriod; grace > 0 {
			return time.Duration(grace)
		}
	}
	return exitWaits
}

// sweptFolders returns the folders with records that expire, in Caddy's storage.
func sweptFolders() (folders []string) {
	for _, key := range append([]string{login.RedeemedKey}, phone.Keys...) {
		folders = append(folders, store.Prefix+"/"+strings.TrimSuffix(key, "/"))
	}
	return folders
}
