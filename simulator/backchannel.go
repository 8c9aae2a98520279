package simulator

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Lifetime of a login from a phone number, as Vipps documents it.
const (
	minExpiry     = 60 * time.Second
	defaultExpiry = 600 * time.Second
	maxExpiry     = 900 * time.Second
)

const (
	flowToWebpage = "login_to_webpage"

	hintPhoneNumber   = "urn:msisdn:"
	hintCustomerToken = "urn:customer-token:"

	// maxWaiting is how many logins of one user may wait at once. Vipps refuses
	// too many, and does not say how many that is.
	maxWaiting = 3
)

var (
	bindingMessagePattern = regexp.MustCompile(`^[A-Z0-9-]{5,8}$`)
	// servedPattern are the numbers of the countries that Vipps MobilePay serves, and Greenland's.
	servedPattern  = regexp.MustCompile(`^(?:(?:47|45|46|358)[0-9]{5,12}|299[0-9]{6})$`)
	secondsPattern = regexp.MustCompile(`^[1-9][0-9]{1,2}$`)
)

// backchannel starts a login from a phone number (OpenID Connect CIBA Core,
// section 7).
func (s *Simulator) backchannel(w http.ResponseWriter, r *http.Request) {
	p, err := s.startPhoneLogin(w, r)
	if err != nil {
		err.write(w)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"auth_req_id": p.authReqID,
		"expires_in":  int(p.expires.Sub(p.requestedAt) / time.Second),
		"interval":    int(p.interval / time.Second),
	})
}

func (s *Simulator) startPhoneLogin(w http.ResponseWriter, r *http.Request) (*phoneLogin, *oauthError) {
	merchant, form, err := s.merchantForm(w, r)
	if err != nil {
		return nil, err
	}
	if err := checkPhoneRequest(merchant, form); err != nil {
		return nil, err
	}
	user, err := s.hintedUser(form)
	switch {
	case err != nil:
		return nil, err
	case user == nil || !user.CanLogIn():
		return nil, badRequest("unknown_user_id", "To log in, you need an active app on your phone, and to be at least %d years old.", minimumAge)
	case user.Closed:
		return nil, badRequest("invalid_user", "This user's account is closed.")
	case user.OldApp:
		refused := badRequest("access_denied", "The user's app is too old for a login from a phone number.")
		refused.errorCode = "old_app"
		return nil, refused
	}
	p := s.newPhoneLogin(merchant, user, form)
	return p, s.addPhoneLogin(p)
}

// checkPhoneRequest finds what is wrong with a request, whoever it is for. The
// codes are those of CIBA Core, section 13. Parameters that are not known are
// ignored, as OAuth demands.
func checkPhoneRequest(merchant *Merchant, form url.Values) *oauthError {
	switch {
	case !slices.Contains(strings.Fields(form.Get("scope")), "openid"):
		return badRequest("invalid_scope", "The scope must contain openid.")
	case form.Has("binding_message") && !bindingMessagePattern.MatchString(form.Get("binding_message")):
		return badRequest("invalid_binding_message", "The binding_message must have 5 to 8 characters of A-Z, 0-9 and -.")
	case form.Has("requested_expiry") && !validExpiry(form.Get("requested_expiry")):
		return badRequest("invalid_request", "The requested_expiry must be a number of seconds from 60 to 900.")
	case form.Has("requested_flow") && form.Get("requested_flow") != flowToWebpage:
		return badRequest("invalid_request", "The requested_flow must be %s.", flowToWebpage)
	case form.Has("requested_flow") != form.Has("redirect_uri"):
		return badRequest("invalid_request", "The requested_flow %s and a redirect_uri need each other.", flowToWebpage)
	case form.Has("redirect_uri") && !slices.Contains(merchant.RedirectURIs, form.Get("redirect_uri")):
		return badRequest("invalid_request", "The redirect_uri is not registered for this merchant. It must be the same to the last character.")
	}
	return nil
}

func validExpiry(text string) bool {
	seconds, err := strconv.Atoi(text)
	expiry := time.Duration(seconds) * time.Second
	return err == nil && secondsPattern.MatchString(text) && expiry >= minExpiry && expiry <= maxExpiry
}

// expiredToken begins customer tokens that have expired.
const expiredToken = "expired-"

// notServed refuses a number of another country, in the words that were seen.
func notServed() *oauthError {
	return badRequest("invalid_request", "login_hint must be in format: 'urn:msisdn:46|45|47|358|299{phonenumber}'")
}

// hintedUser is whom the login_hint means: nil, if nobody.
func (s *Simulator) hintedUser(form url.Values) (*User, *oauthError) {
	hint := form.Get("login_hint")
	if number, ok := strings.CutPrefix(hint, hintPhoneNumber); ok {
		if !servedPattern.MatchString(number) {
			return nil, notServed()
		}
		return s.userByPhone(number), nil
	}
	if token, ok := strings.CutPrefix(hint, hintCustomerToken); ok && tokenPattern.MatchString(token) {
		if strings.HasPrefix(token, expiredToken) {
			return nil, badRequest("expired_login_hint_token", "The customer token has expired.")
		}
		return s.userByToken(token), nil
	}
	return nil, badRequest("invalid_request", "The login_hint must be %s and digits with the country code, or %s and a token.",
		hintPhoneNumber, hintCustomerToken)
}

// newPhoneLogin is a login as it was asked for.
func (s *Simulator) newPhoneLogin(merchant *Merchant, user *User, form url.Values) *phoneLogin {
	now := time.Now()
	expiry := defaultExpiry
	if seconds, err := strconv.Atoi(form.Get("requested_expiry")); err == nil {
		expiry = time.Duration(seconds) * time.Second
	}
	granted, _ := merchant.inPlan(form.Get("scope"))
	return &phoneLogin{
		login: login{
			merchant:    merchant,
			user:        user,
			scopes:      granted,
			nonce:       form.Get("nonce"),
			sid:         randomUUID(),
			authReqID:   randomText(20),
			requestedAt: now,
		},
		bindingMessage: form.Get("binding_message"),
		redirectURI:    form.Get("redirect_uri"),
		interval:       s.pollInterval,
		expires:        now.Add(expiry),
	}
}

// userExists says whether a login from this phone number could succeed. An app
// that is too old can be updated, so its user exists.
func (s *Simulator) userExists(w http.ResponseWriter, r *http.Request) {
	_, form, err := s.merchantForm(w, r)
	if err != nil {
		err.write(w)
		return
	}
	number, ok := strings.CutPrefix(form.Get("login_hint"), hintPhoneNumber)
	if !ok || !phonePattern.MatchString(number) {
		badRequest("invalid_request", "The login_hint must be %s and digits with the country code.", hintPhoneNumber).write(w)
		return
	}
	user := s.userByPhone(number)
	writeJSON(w, http.StatusOK, map[string]bool{"exists": user != nil && !user.Closed && user.CanLogIn()})
}
