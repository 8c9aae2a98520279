package vippslogin

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/epoch"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/state"
)

// secretName is where the generated secret is in the shared state.
const secretName = "cookie_secret"

// storedSecret returns the secret that all instances share, and stores fresh if there is none.
func storedSecret(ctx context.Context, shared state.Engine, fresh string) (string, error) {
	for {
		stored, err := shared.Get(ctx, secretName)
		switch {
		case err == nil && len(stored) < seal.MinSecretBytes: // generating another would log everybody out
			return "", fmt.Errorf("%s in the shared state is too short: delete it to have a new one made", secretName)
		case !errors.Is(err, state.ErrNotFound):
			return string(stored), err
		}
		if added, err := shared.Add(ctx, secretName, []byte(fresh), state.ForEver); added || err != nil {
			return fresh, err
		}
		// another instance was faster
	}
}

// generatedSecret returns the secret that all instances share, where none is configured. The one of the config before serves while
// the shared state is away. keysLock is held.
func (a *App) generatedSecret(ctx context.Context) (secret string, err error) {
	known := cmp.Or(a.generated, a.shared.generated.get(a.stateName))
	if known == "" {
		err = doubtWithoutSecret(ctx, a.storage)
	}
	if err == nil {
		secret, err = storedSecret(ctx, a.storage, cmp.Or(known, newSecret()))
	}
	if errors.Is(err, state.ErrUnavailable) && known != "" && !a.localState {
		return known, nil
	}
	return secret, err
}

// doubtWithoutSecret has the instances that know the secret store it again, if it is gone: an engine may lose single values, and
// one that is made now would split the instances.
func doubtWithoutSecret(ctx context.Context, shared state.Engine) error {
	_, err := shared.Get(ctx, secretName)
	if errors.Is(err, state.ErrNotFound) {
		return epoch.Doubt(ctx, shared)
	}
	return err
}

// setGenerated notes the secret. keysLock is held.
func (a *App) setGenerated(secret string) {
	a.generated = secret
	a.shared.generated.set(a.stateName, secret)
}

// settleSecret restores or adopts the generated secret, if there is one.
func (a *App) settleSecret(ctx context.Context, do func(context.Context) error) {
	a.keysLock.Lock()
	defer a.keysLock.Unlock()
	if a.generated == "" {
		return // it is configured
	}
	if err := do(ctx); err != nil {
		a.logger.Error("the cookie secret could not be stored again", zap.Error(err))
	}
}

// restoreSecret stores the generated secret again in a state that has lost it. An instance that has started since may have
// generated another, under which there are few sessions: it adopts this one.
func (a *App) restoreSecret(ctx context.Context) error {
	stored, err := storedSecret(ctx, a.storage, a.generated)
	if err == nil && stored != a.generated {
		_, err = a.storage.Swap(ctx, secretName, []byte(stored), []byte(a.generated), state.ForEver)
	}
	return err
}

// adoptSecret takes over the secret that an instance from before the loss has stored again. Sessions under the own one stay
// valid here.
func (a *App) adoptSecret(ctx context.Context) error {
	stored, err := storedSecret(ctx, a.storage, a.generated)
	if err != nil || stored == a.generated {
		return err
	}
	keys, err := seal.NewKeys(a.shared.client.Base, []string{stored, a.generated})
	if err == nil {
		a.setGenerated(stored)
		a.keys.Store(keys)
		a.useKeys(keys)
	}
	return err
}
