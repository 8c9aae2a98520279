package simulator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// maxRequestURI: longer requests fail with 502 at Vipps, about there.
	maxRequestURI = 2000
	// minStateLength is what Vipps documents for state.
	minStateLength = 8

	acrAppAuth    = "urn:vipps:acr:app_auth"
	flowAnyReturn = "automatic_return_from_vipps_app"
)

// login is one login of a user at a merchant, whatever way it began. It is what
// the ID token and userinfo are made of.
type login struct {
	merchant  *Merchant
	user      *User
	scopes    []string // what the merchant gets
	nonce     string
	acr       string
	sid       string
	authReqID string // of a login from a phone number only
	code      string // that was redeemed for it, in the browser
	kid       string // with old_kid: of the key when the user approved

	requestedAt time.Time
	approvedAt  time.Time
	// firstTime: the user has just consented at this merchant, rather than
	// come back. delegatedConsents are given this once.
	firstTime bool
}

// transaction is a login that waits for the person on the consent page.
type transaction struct {
	login
	redirectURI string
	state       string
	market      string
	dropped     []string // scopes asked for outside the merchant's plan
	pkce        challenge
	tab         string // with Faults.LastTabOnly: what the browser's cookie must be
}

// authorize is the authorization endpoint (RFC 6749, section 4.1.1).
//
// A partner names the merchant by msn, and is redirected to the same endpoint
// with the merchant's client_id in its place. Until merchant and redirect URI
// are known to be right, errors are pages for the person: redirecting to an
// address that nobody registered would make this an open redirector.
func (s *Simulator) authorize(w http.ResponseWriter, r *http.Request) {
	if len(r.RequestURI) > maxRequestURI {
		s.errorPage(w, http.StatusBadGateway, "The request is longer than 2000 characters.")
		return
	}
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		s.errorPage(w, http.StatusBadRequest, "The query cannot be read.")
		return
	}
	merchant, problem := s.namedMerchant(params)
	if problem != "" {
		s.refuseLogin(w, r, "invalid_client", problem)
		return
	}
	if params.Has("msn") {
		target := s.base(r) + authorizePath + "?" + replaceMSN(r.URL.RawQuery, merchant.ClientID)
		http.Redirect(w, r, target, http.StatusFound)
		return
	}
	if len(params["redirect_uri"]) != 1 || !slices.Contains(merchant.RedirectURIs, params.Get("redirect_uri")) {
		s.refuseLogin(w, r, "invalid_request",
			"The redirect_uri is not registered for this merchant. It must be the same to the last character.")
		return
	}
	if failure := checkAuthorization(params); failure != nil {
		redirectBack(w, r, http.StatusFound, params.Get("redirect_uri"), url.Values{
			"error":             {failure.code},
			"error_description": {failure.description},
			"state":             singleValue(params["state"]),
		})
		return
	}
	t := newTransaction(merchant, params)
	if s.currentFaults().LastTabOnly || s.manners.has(hydraLastTab) {
		t.tab = randomText(16)
		http.SetCookie(w, &http.Cookie{Name: tabCookie, Value: t.tab, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	s.showConsent(w, t)
}

// refuseLogin tells the person what is wrong, on a page that ORY Hydra has at an
// address of its own.
func (s *Simulator) refuseLogin(w http.ResponseWriter, r *http.Request, code, problem string) {
	if s.manners.has(hydraErrorRedirect) {
		query := url.Values{"error": {code}, "error_description": {problem}}
		http.Redirect(w, r, s.base(r)+failedPath+"?"+query.Encode(), http.StatusFound)
		return
	}
	s.errorPage(w, http.StatusBadRequest, problem)
}

// failed is that page.
func (s *Simulator) failed(w http.ResponseWriter, r *http.Request) {
	s.errorPage(w, http.StatusOK, r.URL.Query().Get("error_description"))
}

// namedMerchant finds the merchant by msn or client_id, or says what is wrong.
func (s *Simulator) namedMerchant(params url.Values) (merchant *Merchant, problem string) {
	msn, id := params["msn"], params["client_id"]
	switch {
	case len(msn)+len(id) == 0:
		return nil, "Neither msn nor client_id says which merchant this login is for."
	case len(msn)+len(id) > 1:
		return nil, "One msn or one client_id says which merchant this login is for; here are more."
	case len(msn) == 1:
		if merchant = s.merchantByMSN(msn[0]); merchant == nil || merchant.Inactive || merchant.WithoutLogin {
			problem = "No merchant that can log people in has this msn."
		}
	default:
		if merchant = s.merchantByClientID(id[0]); merchant == nil || merchant.Inactive || merchant.WithoutLogin {
			problem = "No merchant has this client_id."
		}
	}
	return merchant, problem
}

// replaceMSN leaves all other parameters as they are, byte for byte.
func replaceMSN(rawQuery, clientID string) string {
	pairs := strings.Split(rawQuery, "&")
	for i, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(name); err == nil && name == "msn" {
			pairs[i] = "client_id=" + url.QueryEscape(clientID)
		}
	}
	return strings.Join(pairs, "&")
}

// oneOf are the parameters that take one of a few values, or are left out.
var oneOf = []struct {
	name   string
	values []string
}{
	{"response_mode", []string{"query"}},
	{"market", []string{"NO", "DK", "FI", "SE"}},
	{"acr_values", []string{acrAppAuth}},
	{"requested_flow", []string{flowAnyReturn}},
}

// checkAuthorization finds what is wrong with a request whose merchant and
// redirect URI are right. The codes are those of RFC 6749, section 4.1.2.1.
// Parameters that are not known are ignored, as section 3.1 demands.
func checkAuthorization(params url.Values) *oauthError {
	if name := repeated(params); name != "" {
		return badRequest("invalid_request", "The parameter %s is there more than once.", name)
	}
	switch {
	case !params.Has("response_type"):
		return badRequest("invalid_request", "The parameter response_type is missing.")
	case params.Get("response_type") != "code":
		return badRequest("unsupported_response_type", "The response_type must be code.")
	case !slices.Contains(strings.Fields(params.Get("scope")), "openid"):
		return badRequest("invalid_scope", "The scope must contain openid.")
	case len(params.Get("state")) < minStateLength:
		return badRequest("invalid_state", "The state must have at least %d characters.", minStateLength)
	}
	for _, p := range oneOf {
		if params.Has(p.name) && !slices.Contains(p.values, params.Get(p.name)) {
			return badRequest("invalid_request", "The %s must be one of %s.", p.name, strings.Join(p.values, ", "))
		}
	}
	return checkChallenge(params)
}

// newTransaction is a login as it was asked for.
func newTransaction(merchant *Merchant, params url.Values) transaction {
	granted, dropped := merchant.inPlan(params.Get("scope"))
	return transaction{
		login: login{
			merchant:    merchant,
			scopes:      granted,
			nonce:       params.Get("nonce"),
			acr:         params.Get("acr_values"),
			sid:         randomUUID(),
			requestedAt: time.Now(),
		},
		redirectURI: params.Get("redirect_uri"),
		state:       params.Get("state"),
		market:      params.Get("market"),
		dropped:     dropped,
		pkce:        newChallenge(params),
	}
}

// inPlan drops scopes outside the merchant's plan in silence.
func (m *Merchant) inPlan(scope string) (granted, dropped []string) {
	for _, name := range strings.Fields(scope) {
		switch {
		case slices.Contains(granted, name) || slices.Contains(dropped, name):
		case slices.Contains(m.Scopes, name):
			granted = append(granted, name)
		default:
			dropped = append(dropped, name)
		}
	}
	return granted, dropped
}

// redirectBack sends the browser to the merchant. A registered redirect URI has
// no query of its own.
func redirectBack(w http.ResponseWriter, r *http.Request, status int, redirectURI string, params url.Values) {
	for name, values := range params {
		if len(values) == 0 {
			delete(params, name)
		}
	}
	http.Redirect(w, r, redirectURI+"?"+params.Encode(), status)
}

// singleValue is values, if it is one: which of several states to give back is
// anybody's guess.
func singleValue(values []string) []string {
	if len(values) == 1 {
		return values
	}
	return nil
}
