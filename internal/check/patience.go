package check

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

const (
	maxTries    = 3                // if Vipps MobilePay is busy
	maxPatience = 10 * time.Second // between them
	// maxSilence is how many calls in a row may have no answer before no more are made.
	maxSilence = 10
)

// patiently repeats a call while Vipps MobilePay is busy, and counts calls without an answer.
func (c *Checker) patiently(ctx context.Context, call func() error) error {
	for try := 1; ; try++ {
		err := call()
		if errors.Is(err, vipps.ErrNoAnswer) {
			c.silence.Add(1)
			return err
		}
		c.silence.Store(0)
		if !errors.Is(err, vipps.ErrBusy) || try == maxTries {
			return err
		}
		var refused vipps.StatusError
		errors.As(err, &refused)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(min(max(refused.RetryAfter, time.Second), maxPatience)):
		}
	}
}

// givenUp returns why no more calls are made, or "".
func (c *Checker) givenUp(ctx context.Context) string {
	switch {
	case ctx.Err() != nil:
		return "the time for all checks is over: see --timeout"
	case c.noDoc:
		return "there is no discovery document"
	case c.silence.Load() >= maxSilence:
		return "Vipps MobilePay does not answer any more"
	}
	return ""
}
