package simulator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// failures are the error codes that Vipps MobilePay documents for the redirect,
// and one it does not: undocumented ones will come, and a site must bear them.
var failures = []string{
	"access_denied", "server_error", "login_required", "outdated_app_version",
	"wrong_challenge", "invalid_app_callback_uri", "app_callback_uri_not_registered",
	"unknown_reject_reason", "some_undocumented_error",
	"error", "request_forbidden", // ORY Hydra's own
}

// tabCookie says which tab of a browser came to the login page last.
const tabCookie = "simulator_tab"

// consentKey is a user at a merchant.
type consentKey struct{ msn, phoneNumber string }

// authorizationCode is what a code stands for.
type authorizationCode struct {
	login
	redirectURI string
	pkce        challenge
}

// showConsent shows the consent page for a new transaction.
//
// The form that it posts back to /_simulator/consent, and that tests may post
// without looking at the page's text, has the fields
//
//	transaction  the hidden field's value
//	answer       approve, cancel or fail
//	user         the phone number of who logs in; used with approve
//	error        one of the error codes offered; used with fail
func (s *Simulator) showConsent(w http.ResponseWriter, t transaction) {
	page := consentPage{
		Brand:     brandOf(t.market, time.Now()),
		Merchant:  t.merchant,
		Scopes:    scopeTexts(t.scopes),
		Dropped:   t.dropped,
		Users:     s.users,
		Failures:  failures,
		Action:    consentPath,
		StylePath: stylePath,
	}
	page.Transaction = s.transactions.add(32, t)
	// Browsers hold the redirect that answers the form against form-action too.
	s.render(w, http.StatusOK, "consent.html", originOf(t.redirectURI), page)
}

// originOf is scheme, host and port of a registered redirect URI.
func originOf(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// consent takes the person's answer. A transaction is answered once: it is
// spent even when the answer cannot be used.
func (s *Simulator) consent(w http.ResponseWriter, r *http.Request) {
	form, problem := readForm(w, r)
	if problem != nil {
		s.errorPage(w, problem.status, problem.description)
		return
	}
	t, ok := s.transactions.take(form.Get("transaction"))
	if !ok {
		s.errorPage(w, http.StatusBadRequest, "This login is over, or too old. Go back to the merchant and start again.")
		return
	}
	if cookie, err := r.Cookie(tabCookie); t.tab != "" && (err != nil || cookie.Value != t.tab) {
		redirectBack(w, r, http.StatusSeeOther, t.redirectURI, url.Values{
			"error":             {"request_forbidden"},
			"error_description": {"The request is not allowed. Another tab of this browser has come to the login page since."},
			"state":             {t.state},
		})
		return
	}
	switch form.Get("answer") {
	case "approve":
		s.approve(w, r, t, form.Get("user"))
	case "cancel":
		s.reject(w, r, t, "access_denied")
	case "fail":
		s.reject(w, r, t, form.Get("error"))
	default:
		s.errorPage(w, http.StatusBadRequest, "The answer must be approve, cancel or fail.")
	}
}

// approve sends the user back with an authorization code.
func (s *Simulator) approve(w http.ResponseWriter, r *http.Request, t transaction, phoneNumber string) {
	user := s.userByPhone(phoneNumber)
	if user == nil {
		s.errorPage(w, http.StatusBadRequest, "No user has this phone number.")
		return
	}
	t.user = user
	t.approvedAt = time.Now()
	t.firstTime = s.firstConsent(t.merchant, user)
	if s.manners.has(hydraOldKID) {
		t.kid = s.keys.list()[0].kid
	}
	code := s.codes.add(32, authorizationCode{login: t.login, redirectURI: t.redirectURI, pkce: t.pkce})
	redirectBack(w, r, http.StatusSeeOther, t.redirectURI, url.Values{
		"code":  {code},
		"state": {t.state},
		"scope": {strings.Join(t.scopes, " ")},
	})
}

// reject sends the user back with an error.
func (s *Simulator) reject(w http.ResponseWriter, r *http.Request, t transaction, code string) {
	if !slices.Contains(failures, code) {
		s.errorPage(w, http.StatusBadRequest, "The error must be one of "+strings.Join(failures, ", ")+".")
		return
	}
	redirectBack(w, r, http.StatusSeeOther, t.redirectURI, url.Values{
		"error":             {code},
		"error_description": {"The simulator was asked to fail with " + code + "."},
		"state":             {t.state},
	})
}

// firstConsent says whether user has not approved a login at merchant before.
func (s *Simulator) firstConsent(merchant *Merchant, user *User) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := consentKey{merchant.MSN, user.PhoneNumber}
	first := !s.asked[key]
	s.asked[key] = true
	return first
}
