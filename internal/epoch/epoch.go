// Package epoch tells whether the shared state is the one that it was, or has lost what was stored.
package epoch

import (
	"cmp"
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

	generation string // of the feed of revoked sessions
	text       string
}

// Known reports whether the epoch was read.
func (e Epoch) Known() bool { return e.text != "" }

// Is reports whether nothing has changed between two epochs.
func (e Epoch) Is(other Epoch) bool { return e.text == other.text }

// Feed is the feed whose loss is one of the whole state: that of the revoked sessions.
const Feed = "revoked"

// unnamed stands for the generation of an engine that does not name any.
const unnamed = "-"

// generation returns what the engine says of the feed.
func generation(ctx context.Context, shared state.Engine) (name string, err error) {
	if e, ok := shared.(state.Generational); ok {
		name, err = e.Generation(ctx, Feed)
	}
	return cmp.Or(name, unnamed), err
}

// Read returns the epoch, and makes one if there is none, or if the feed was lost since it was made.
func Read(ctx context.Context, shared state.Engine) (Epoch, error) {
	for {
		text, err := shared.Get(ctx, Key)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return Epoch{}, err
		}
		feed, failed := generation(ctx, shared) // after the epoch: a loss in between is seen
		if failed != nil {
			return Epoch{}, failed
		}
		if found := parse(string(text)); err == nil && found.generation == feed {
			return found, nil
		}
		now := time.Now()
		fresh := Epoch{Begun: now, Made: now, generation: feed}.withText()
		var stored bool
		if err == nil {
			stored, err = shared.Swap(ctx, Key, text, []byte(fresh.text), state.ForEver)
		} else {
			stored, err = shared.Add(ctx, Key, []byte(fresh.text), state.ForEver)
		}
		if err != nil {
			return Epoch{}, err
		}
		if stored {
			return parse(fresh.text), nil
		}
		// another instance was faster
	}
}

// young is the age up to which a state may be one that begins, whose values are not there yet.
const young = 2 * time.Second

// Doubt makes another epoch, unless this one is young: a value is gone that is always there. So the instances that know the
// state store again what they know.
func Doubt(ctx context.Context, shared state.Engine) error {
	found, err := Read(ctx, shared)
	if err != nil || time.Since(found.Made) < young {
		return err
	}
	now := time.Now()
	fresh := Epoch{Begun: now, Made: now, generation: found.generation}.withText()
	_, err = shared.Swap(ctx, Key, []byte(found.text), []byte(fresh.text), state.ForEver)
	return err
}

// Continue says in the shared state that an instance that knew the epoch before has stored again what it knew. It returns the
// epoch that counts now. found is what Read has returned.
func Continue(ctx context.Context, shared state.Engine, found, before Epoch) (Epoch, error) {
	if !before.Begun.Before(found.Begun) {
		return found, nil
	}
	continued := Epoch{Begun: before.Begun, Made: found.Made, generation: found.generation}.withText()
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
	renewed := Epoch{Begun: found.Begun, Made: time.Now(), generation: found.generation}.withText()
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
	e.text = fmt.Sprintf("%d %d %s %s", e.Begun.UnixMilli(), e.Made.UnixMilli(), e.generation, rand.Text())
	return e
}

// parse reads an epoch. One in another form has begun before everything, and is of no generation, so that an engine that names them
// gets another. An empty one is none: it is replaced.
func parse(text string) Epoch {
	var begun, made int64
	feed, random := unnamed, ""
	if n, _ := fmt.Sscanf(text, "%d %d %s %s", &begun, &made, &feed, &random); n != 4 {
		feed = unnamed
		if n < 2 {
			begun, made = 0, 0
		}
		if text == "" {
			feed = ""
		}
	}
	return Epoch{Begun: time.UnixMilli(begun), Made: time.UnixMilli(made), generation: feed, text: text}
}
