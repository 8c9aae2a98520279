package simulator

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	grantAuthorizationCode = "authorization_code"
	grantPhone             = "urn:openid:params:grant-type:ciba"
	grantPhoneRedirect     = "urn:vipps:params:grant-type:ciba-redirect"

	// tokenExpiresIn is what Vipps' token answers say, although userinfo takes
	// the token for about ten minutes only.
	tokenExpiresIn = 3599
)

var grantTypes = []string{grantAuthorizationCode, grantPhone, grantPhoneRedirect}

// token is the token endpoint (RFC 6749, section 3.2).
func (s *Simulator) token(w http.ResponseWriter, r *http.Request) {
	granted, err := s.grant(w, r)
	if err != nil {
		err.write(w)
		return
	}
	accessToken, expiresIn := s.newAccessToken(granted)
	if granted.code != "" {
		s.redeemed.put(granted.code, accessToken)
	}
	idToken, signErr := s.idToken(s.base(r), granted, accessToken)
	if signErr != nil {
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	answer := map[string]any{
		"access_token": accessToken,
		"id_token":     idToken,
		"expires_in":   expiresIn,
		"scope":        strings.Join(granted.scopes, " "),
		"token_type":   "bearer",
	}
	if alter := s.currentFaults().Token; alter != nil {
		alter(answer)
	}
	writeJSON(w, http.StatusOK, answer)
}

// newAccessToken makes the access token of a login. Those of logins from a phone
// number begin with "ciba." and live for 300 seconds.
func (s *Simulator) newAccessToken(l login) (token string, expiresIn int) {
	if l.authReqID == "" {
		return s.accessTokens.add(32, l), tokenExpiresIn
	}
	token = "ciba." + randomText(32)
	s.phoneTokens.put(token, l)
	return token, int(phoneTokenLifetime / time.Second)
}

// grant exchanges what the client has for the login it stands for.
func (s *Simulator) grant(w http.ResponseWriter, r *http.Request) (login, *oauthError) {
	merchant, form, err := s.merchantForm(w, r)
	if err != nil {
		return login{}, err
	}
	switch form.Get("grant_type") {
	case grantAuthorizationCode:
		return s.exchangeCode(merchant, form)
	case grantPhone:
		return s.exchangePhoneLogin(merchant, form)
	case grantPhoneRedirect:
		return s.exchangePhoneCode(merchant, form)
	case "":
		return login{}, badRequest("invalid_request", "The parameter grant_type is missing.")
	default:
		return login{}, badRequest("unsupported_grant_type", "The grant_type must be one of %s.", strings.Join(grantTypes, ", "))
	}
}

// exchangeCode checks a code (RFC 6749, section 4.1.3). The first use spends
// it, whatever comes of that.
func (s *Simulator) exchangeCode(merchant *Merchant, form url.Values) (login, *oauthError) {
	for _, name := range []string{"code", "redirect_uri"} {
		if form.Get(name) == "" {
			return login{}, badRequest("invalid_request", "The parameter %s is missing.", name)
		}
	}
	code, ok := s.codes.take(form.Get("code"))
	if ok {
		code.login.code = form.Get("code")
	}
	switch {
	case !ok:
		if accessToken, again := s.redeemed.take(form.Get("code")); again {
			s.accessTokens.take(accessToken) // as RFC 6749, section 4.1.2 has it, and ORY Hydra
		}
		return login{}, badRequest("invalid_grant", "The code is unknown, too old, or was used before.")
	case code.merchant != merchant:
		return login{}, badRequest("invalid_grant", "The code was issued to another merchant.")
	case form.Get("redirect_uri") != code.redirectURI:
		return login{}, badRequest("invalid_grant", "The redirect_uri is not the one of the login.")
	}
	return code.login, code.pkce.verify(form)
}
