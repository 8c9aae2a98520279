// Package epoch tells whether the shared state is the one that it was, or has lost what was stored.
package epoch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-vipps/vippslogin/state"
)

// Key is where the epoch is in the shared state: always there, and another one once the state was lost. Its absence says that
// the state is new or lost.
const Key = "epoch"

// Epoch is what an instance knows of the state's past. Its zero value knows nothing.
type Epoch struct {
	// Begun is when the state began, as far as the instances can tell. Sessions from before may have been revoked without
	// anybody knowing.
	Begun time.Time

	// Made is when the state was last found empty. What was stored before is lost, unless an instance has stored it again.
	Made time.Time

	text string
}

// Known reports whether the epoch was read.
func (e Epoch) Known() bool { return e.text != "" }

// Is reports whether nothing has changed between two epochs.
func (e Epoch) Is(other Epoch) bool { return e.text == other.text }

// Read returns the epoch, and makes one if there is none.
func Read(ctx context.Context, shared state.Engine) (Epoch, error) {
	for {
		text, err := shared.Get(ctx, Key)
		if err == nil {
			return parse(string(text)), nil
		}
		if !errors.Is(err, state.ErrNotFound) {
			return Epoch{}, err
		}
		now := time.Now()
		fresh := Epoch{Begun: now, Made: now}.withText()
		added, err := shared.Add(ctx, Key, []byte(fresh.text), state.ForEver)
		if err != nil {
			return Epoch{}, err
		}
		if added {
			return parse(fresh.text), nil
		}
		// another instance was faster
	}
}

// Continue says in the shared state that an instance that knew the epoch before has stored again what it knew. It returns the
// epoch that counts now. found is what Read has returned.
func Continue(ctx context.Context, shared state.Engine, found, before Epoch) (Epoch, error) {
	if !before.Begun.Before(found.Begun) {
		return found, nil
	}
	continued := Epoch{Begun: before.Begun, Made: found.Made}.withText()
	swapped, err := shared.Swap(ctx, Key, []byte(found.text), []byte(continued.text), state.ForEver)
	if err != nil || swapped {
		return parse(continued.text), err
	}
	current, err := Read(ctx, shared)
	if err == nil && !current.Made.Equal(found.Made) {
		err = fmt.Errorf("%w: it was lost once more", state.ErrUnavailable)
	}
	return current, err // of another instance, which was faster
}

// Renew says in the shared state that it has lost its latest data, whose epoch is still there: logins that were completed before
// may not be recorded any more. It returns the epoch that counts now.
func Renew(ctx context.Context, shared state.Engine, found Epoch) (Epoch, error) {
	renewed := Epoch{Begun: found.Begun, Made: time.Now()}.withText()
	swapped, err := shared.Swap(ctx, Key, []byte(found.text), []byte(renewed.text), state.ForEver)
	switch {
	case err != nil:
		return Epoch{}, err
	case swapped:
		return parse(renewed.text), nil
	}
	return found, nil // another instance was faster: the next reading finds its epoch
}

func (e Epoch) withText() Epoch {
	e.text = fmt.Sprintf("%d %d %s", e.Begun.UnixMilli(), e.Made.UnixMilli(), rand.Text())
	return e
}

// parse reads an epoch. One in another form has begun before everything.
func parse(text string) Epoch {
	var begun, made int64
	if n, _ := fmt.Sscanf(text, "%d %d", &begun, &made); n != 2 {
		begun, made = 0, 0
	}
	return Epoch{Begun: time.UnixMilli(begun), Made: time.UnixMilli(made), text: text}
}
