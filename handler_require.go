package vippslogin

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/pages"
	"github.com/caddy-vipps/vippslogin/internal/session"
)

// errMoreRequired is a request whose session, or the lack of one, does not meet what is required for it.
var errMoreRequired = errors.New("a login for more is required")

// findMissing adds up what is required for a request, and reports whether the visitor's session lacks some of it. The
// matchers of requirements are asked as the directive's own is: a path that a site may read as a protected one is one.
func (h *Handler) findMissing(r *http.Request, v *visit) (bool, error) {
	if len(h.requirements) == 0 {
		return false, nil
	}
	readings := incoming.Readings{Request: r}
	var which []int
	for i := range h.requirements {
		matched, err := readings.Match(h.requirements[i].matchers)
		if err != nil {
			return false, err
		}
		if matched {
			v.need = v.need.And(h.requirements[i].need)
			which = append(which, i)
		}
	}
	if v.missing = v.need.Missing(v.session, v.began); v.missing.IsZero() {
		return false, nil
	}
	v.require = requireParameter(which)
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
	w.Header().Set("WWW-Authenticate", v.missing.Challenge(idtoken.ACRAppAuth))
	if incoming.IsForPerson(r) {
		returnTo := v.PageOf(r)
		if incoming.IsNavigation(r) {
			returnTo = incoming.WantedPage(r)
		}
		return h.fail(w, r, v, errMoreRequired, returnTo)
	}
	h.recordFailure(v, flowBrowser, failureOf(errMoreRequired), errMoreRequired)
	v.clearInvalid(w, r)
	w.Header().Set("Cache-Control", "no-store")
	return pages.WriteProblem(w, pages.Problem{
		Status:   http.StatusUnauthorized,
		Title:    "More required",
		Detail:   "This request needs a login with what is in required. Open login_url in the browser's window.",
		LoginURL: h.loginURL(v, v.PageOf(r)),
		Required: &pages.Required{MaxAge: v.missing.Seconds(), Scope: v.missing.Scopes.Names(), AppConfirmation: v.missing.Confirmed},
	})
}

// requireParameter names requirements in the address of a login: by their numbers, so that nobody can ask for anything
// there that the config does not.
func requireParameter(which []int) string {
	names := make([]string, len(which))
	for i, number := range which {
		names[i] = strconv.Itoa(number)
	}
	return strings.Join(names, ".")
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
			v.need = v.need.And(h.requirements[i].need)
			which = append(which, i)
		}
	}
	v.missing, v.require = v.need.Missing(v.session, v.began), requireParameter(which)
}

// isStepUp reports whether a login is for what the visitor's session lacks.
func (v *visit) isStepUp() bool { return v.session != nil && !v.missing.IsZero() }

// scopesAsked returns what a login asks for, as Vipps MobilePay is asked: the scopes of the merchant, what is required, and
// where the login is for more what the session has asked for already, so that none of it is lost.
func (v *visit) scopesAsked() (parameter string, all session.Scopes) {
	required := v.need.Scopes
	if v.isStepUp() {
		required = required.With(v.session.Scopes)
	}
	site := strings.Fields(v.unit.Scope)
	own := session.ScopesOf(site...)
	more := required.Without(own)
	if more.IsEmpty() {
		return v.unit.Scope, own
	}
	// What is required comes first where not all can be remembered: it would be asked for again and again.
	return strings.Join(append(site, more.Names()...), " "), required.With(own)
}

// wait returns how long a browser must wait before it may begin a login. See session.History.
func (v *visit) wait(now time.Time) time.Duration { return v.history().Loops(now, v.isStepUp()) }
