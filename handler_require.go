package vippslogin

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/pages"
	"github.com/caddy-vipps/vippslogin/internal/session"
)

// errMoreRequired says that the session does not meet a requirement, or that there is no session.
var errMoreRequired = errors.New("a login for more is required")

// demand adds up the requirements for a request, or for the page that a login returns to.
type demand struct {
	need    session.Need // all of it
	missing session.Need // what the visitor's session lacks of it
	scopes  []string     // those of need, in the order of the config
	which   string       // the requirements, as the address of a login names them
}

// demandOf adds up requirements. Addresses name them by their numbers, so that nobody can ask for anything that the config
// does not have.
func (h *Handler) demandOf(which []int, v *visit) *demand {
	d := new(demand)
	names := make([]string, len(which))
	for i, number := range which {
		d.need = d.need.And(h.requirements[number].need)
		d.scopes = append(d.scopes, h.requirements[number].scopes...)
		names[i] = strconv.Itoa(number)
	}
	d.missing, d.which = d.need.Missing(v.session, v.began), strings.Join(names, ".")
	return d
}

// findMissing adds up the requirements for a request, and reports whether the session lacks some of it. Like the directive's
// own matcher, theirs see a path in all the ways in which sites may read it.
func (h *Handler) findMissing(r *http.Request, v *visit) (bool, error) {
	if len(h.requirements) == 0 {
		return false, nil
	}
	readings := incoming.Readings{Request: r}
	var need session.Need
	var which []int
	for i := range h.requirements {
		matched, err := readings.Match(h.requirements[i].matchers)
		if err != nil {
			return false, err
		}
		if matched {
			need = need.And(h.requirements[i].need)
			which = append(which, i)
		}
	}
	if need.Missing(v.session, v.began).IsZero() {
		return false, nil
	}
	v.demand = h.demandOf(which, v)
	return true, nil
}

// serveMoreRequired answers a request whose session lacks something: a page view is sent to Vipps MobilePay, anything else
// gets 401. With on_unauthenticated deny or pass, a page view gets 401 as well.
func (h *Handler) serveMoreRequired(w http.ResponseWriter, r *http.Request, v *visit, err error) error {
	sent := incoming.AsSent(r)
	switch {
	case incoming.IsTooEarly(err):
		return refuseEarly(w)
	case err != nil:
		return h.fail(w, sent, v, errMatcher, incoming.WantedPage(sent))
	case incoming.IsNavigation(sent) && h.OnUnauthenticated == unauthenticatedRedirect:
		return h.startLogin(w, sent, v, incoming.WantedPage(sent))
	}
	return h.refuseMore(w, sent, v)
}

// refuseMore answers 401 with what is missing (RFC 9470). Browsers get a page whose button leads to a login for it, scripts
// get the address of that login.
func (h *Handler) refuseMore(w http.ResponseWriter, r *http.Request, v *visit) error {
	w.Header().Set("WWW-Authenticate", v.demand.missing.Challenge(idtoken.ACRAppAuth))
	if incoming.IsForPerson(r) {
		returnTo := v.PageOf(r)
		if incoming.IsNavigation(r) {
			returnTo = incoming.WantedPage(r)
		}
		return h.fail(w, r, v, errMoreRequired, returnTo)
	}
	missing := v.demand.missing
	lacks := slices.DeleteFunc(distinct(v.demand.scopes), func(scope string) bool { return !missing.Scopes.Has(scope) })
	h.recordFailure(v, flowBrowser, failureOf(errMoreRequired), errMoreRequired)
	v.clearInvalid(w, r)
	keepUnstored(w.Header())
	return pages.WriteProblem(w, pages.Problem{
		Status:   http.StatusUnauthorized,
		Title:    "More required",
		Detail:   "This request needs a login with what is in required. Open login_url in the browser's window.",
		LoginURL: h.loginURL(v, v.PageOf(r)),
		Required: &pages.Required{MaxAge: missing.Seconds(), Scope: lacks, AppConfirmation: missing.Confirmed},
	})
}

// maxRequire is the longest require parameter, in characters.
const maxRequire = 256

// wantMore adds up the requirements for a login: those that its address names, and those of the page that it returns to, so
// that no second login follows.
func (h *Handler) wantMore(r *http.Request, v *visit, returnTo string) {
	if len(h.requirements) == 0 {
		return
	}
	named := r.URL.Query().Get("require")
	numbers := strings.Split(named[:min(len(named), maxRequire)], ".")
	var which []int
	for i := range h.requirements {
		if slices.Contains(numbers, strconv.Itoa(i)) || incoming.MatchesPage(h.requirements[i].matchers, r, returnTo) {
			which = append(which, i)
		}
	}
	v.demand = h.demandOf(which, v)
}

// needs returns all that is required.
func (v *visit) needs() session.Need {
	if v.demand == nil {
		return session.Need{}
	}
	return v.demand.need
}

// isStepUp reports whether a login is for what the visitor's session lacks.
func (v *visit) isStepUp() bool {
	return v.session != nil && v.demand != nil && !v.demand.missing.IsZero()
}

// scopesAsked returns the scope parameter of a login: the merchant's scopes, the required ones, and in a step-up those that
// the session has asked for already, so that none of its claims is lost.
func (v *visit) scopesAsked() (parameter string, all session.Scopes) {
	own := session.ScopesIn(v.unit.Scope)
	if v.demand == nil {
		return v.unit.Scope, own
	}
	names := strings.Fields(v.unit.Scope)
	// Required scopes come first, in case not all can be remembered: a forgotten one would be asked for again and again.
	all = v.demand.need.Scopes.With(own)
	names = append(names, v.demand.scopes...)
	if v.isStepUp() {
		all = all.With(v.session.Scopes)
		names = append(names, v.session.Scopes.Names()...)
	}
	return strings.Join(distinct(names), " "), all
}

// distinct returns the names in their order, each once.
func distinct(names []string) (once []string) {
	for _, name := range names {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once
}

// wait returns how long the browser must wait before it may begin another login. See session.History.
func (v *visit) wait(now time.Time) time.Duration { return v.history().Loops(now, v.isStepUp()) }

// requirement is a RequireConfig that is provisioned.
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

// need returns the requirement, with its placeholders resolved.
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
