package vippslogin

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-vipps/vippslogin/internal/session"
)

// requirement is a RequireConfig, ready to be asked.
type requirement struct {
	matchers caddyhttp.MatcherSets
	need     session.Need
	scopes   []string // of need, in the order of the config
}

// provisionRequire loads the matchers of requirements and checks what they say.
func (h *Handler) provisionRequire(ctx caddy.Context) error {
	var all session.Scopes
	for i := range h.Require {
		config := &h.Require[i]
		var r requirement
		loaded, err := ctx.LoadModule(config, "Match")
		if err != nil {
			return fmt.Errorf("require %d: match: %w", i+1, err)
		}
		if err := r.matchers.FromInterface(loaded); err != nil {
			return fmt.Errorf("require %d: match: %w", i+1, err)
		}
		if r.need, err = config.need(); err != nil {
			return fmt.Errorf("require %d: %w", i+1, err)
		}
		r.scopes = config.Scopes
		h.requirements = append(h.requirements, r)
		all = all.With(r.need.Scopes)
	}
	for _, config := range h.Require {
		for _, scope := range config.Scopes {
			if !all.Has(scope) {
				return fmt.Errorf("require: scope: the names are too long together: those that Vipps MobilePay does not document may have %d characters", session.MaxOtherScopes)
			}
		}
	}
	return nil
}

// need resolves what a requirement says.
func (c *RequireConfig) need() (n session.Need, err error) {
	if err := errors.Join(resolveWords("scope", &c.Scopes), checkScopes("scope", c.Scopes)); err != nil {
		return n, err
	}
	if n.MaxAge, err = c.MaxAge.resolve("max_age", 0); err != nil {
		return n, err
	}
	if n.MaxAge < 0 || n.MaxAge == 0 && strings.TrimSpace(string(c.MaxAge)) != "" || n.MaxAge > 0 && n.MaxAge < time.Second {
		return n, errors.New("max_age must be a positive duration of a second or more, such as 10m")
	}
	n.Scopes, n.Confirmed = session.ScopesOf(c.Scopes...), c.AppConfirmation
	if n.IsZero() {
		return n, errors.New("nothing is required: write max_age, scope (in JSON scopes) or app_confirmation")
	}
	return n, nil
}
