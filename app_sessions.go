package vippslogin

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/revocation"
	"github.com/caddy-vipps/vippslogin/internal/session"
)

// followRevocations keeps the list of ended sessions up to date: what others have added comes in, and
// what could not be stored goes out.
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
			_ = a.exchangeRevocations(context.WithoutCancel(ctx)) // the last word of this instance
			return
		case <-ticker.C:
		}
	}
}

func (a *App) exchangeRevocations(ctx context.Context) error {
	keys, err := a.cookieKeys(ctx)
	if err != nil {
		return err
	}
	at := revocation.Access{Shared: a.storage, Keys: keys}
	return errors.Join(a.shared.revocations.Flush(ctx, at), a.shared.revocations.Refresh(ctx, at))
}

// endSessions ends sessions before their time, here at once and at every instance within seconds.
func (a *App) endSessions(ctx context.Context, entry revocation.Entry) error {
	keys, err := a.cookieKeys(ctx)
	if err != nil {
		return err
	}
	return a.shared.revocations.Add(ctx, revocation.Access{Shared: a.storage, Keys: keys}, entry)
}

// sessionsUntilNow is a revocation of all sessions of a person or a merchant or everybody that have begun.
func (a *App) sessionsUntilNow(msn, sub string) revocation.Entry {
	now := time.Now()
	return revocation.Entry{MSN: msn, Sub: sub, Before: now.Unix(), Until: now.Add(session.MaxLifetime).Unix()}
}
