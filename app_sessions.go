package vippslogin

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/revocation"
	"github.com/caddy-vipps/vippslogin/internal/session"
)

// followRevocations keeps the list of ended sessions up to date: what others have added comes in.
func (a *App) followRevocations(ctx context.Context) {
	working := true
	for ctx.Err() == nil {
		err := a.readRevocations(ctx)
		var lost revocation.ErrLost
		if errors.As(err, &lost) {
			a.logger.Error("the shared state has lost data: look at how its server keeps it", zap.Error(err))
			err = nil
		}
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

// pause waits, or until ctx ends.
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

// storeRevocations stores what could not be stored when it was added, until there is none.
func (a *App) storeRevocations(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, revocation.RefreshEvery)
		if err := a.flushRevocations(context.WithoutCancel(ctx)); err != nil && ctx.Err() != nil { // the last word of this instance
			a.logger.Error("sessions that were ended here are not ended at other instances: the shared state is away, and this instance stops",
				zap.Int("sessions", a.shared.revocations.Pending()), zap.Error(err))
		}
	}
}

func (a *App) flushRevocations(ctx context.Context) error {
	at, err := a.revocationAccess(ctx)
	if err != nil {
		return err
	}
	return a.shared.revocations.Flush(ctx, at)
}

func (a *App) revocationAccess(ctx context.Context) (revocation.Access, error) {
	keys, err := a.cookieKeys(ctx)
	return revocation.Access{Shared: a.storage, Keys: keys}, err
}

// endSessions ends sessions before their time, here at once and at every instance within seconds.
func (a *App) endSessions(ctx context.Context, entry revocation.Entry) error {
	at, err := a.revocationAccess(ctx)
	if err != nil {
		return err
	}
	return a.shared.revocations.Add(ctx, at, entry)
}

// sessionsUntilNow is a revocation of all sessions of a person or a merchant or everybody that have begun.
func (a *App) sessionsUntilNow(msn, sub string) revocation.Entry {
	now := time.Now()
	return revocation.Entry{MSN: msn, Sub: sub, Before: now.Unix(), Until: now.Add(session.MaxLifetime).Unix()}
}
