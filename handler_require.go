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

// errMoreRequired is a request whose session, or the lack of one, does not meet what is required for it.
var errMoreRequired = errors.New("a login for more is required")

// demand is what is required for a request, or for what a login returns to.
type demand struct {
	need    session.Need // all of it
	missing session.Need // what the visitor's session lacks of it
	scopes  []string     // those of need, in the order of the config
	which   string       // the requirements, as the address of a login names them
}

// demandOf adds up requirements, which are named by their numbers: so nobody can ask for anything in an address that the
// config does not.
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

// findMissing finds what is required for a request, and reports whether the visitor's session lacks some of it. The
// matchers of requirements are asked as the directive's own is: a path that a site may read as a protected one is one.
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

// serveMoreRequired answers a request whose session lacks something: a page view goes to Vipps MobilePay for it, anything
// else gets 401. Where nobody is sent to a login unasked, nobody is for more either.
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

// refuseMore answers 401 with what is missing (RFC 9470): to a person with a page whose button leads to a login for it, to
// a script with the address of that login.
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
	w.Header().Set("Cache-Control", "no-store")
	return pages.WriteProblem(w, pages.Problem{
		Status:   http.StatusUnauthorized,
		Title:    "More required",
		Detail:   "This request needs a login with what is in required. Open login_url in the browser's window.",
		LoginURL: h.loginURL(v, v.PageOf(r)),
		Required: &pages.Required{MaxAge: missing.Seconds(), Scope: lacks, AppConfirmation: missing.Confirmed},
	})
}

// maxRequire is how many characters of a require parameter are read.
const maxRequire = 256

// wantMore finds what a login is for that its address leads to: the requirements that it names, and those of the page that
// it returns to, so that a link to a login is not followed by a second one.
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

// needs returns what is required.
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

// scopesAsked returns what a login asks for, as Vipps MobilePay is asked: the scopes of the merchant, what is required, and
// where the login is for more what the session has asked for already, so that none of it is lost.
func (v *visit) scopesAsked() (parameter string, all session.Scopes) {
	names := strings.Fields(v.unit.Scope)
	own := session.ScopesOf(names...)
	if v.demand == nil {
		return v.unit.Scope, own
	}
	// What is required comes first where not all can be remembered: it would be asked for again and again.
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

// wait returns how long a browser must wait before it may begin a login. See session.History.
func (v *visit) wait(now time.Time) time.Duration { return v.history().Loops(now, v.isStepUp()) }

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
