package simulator

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
)

const msnHeader = "Merchant-Serial-Number"

// merchantForm checks headers, body and client of a call for a merchant.
func (s *Simulator) merchantForm(w http.ResponseWriter, r *http.Request) (*Merchant, url.Values, *oauthError) {
	if err := checkSystemHeaders(r.Header); err != nil {
		return nil, nil, err
	}
	form, err := readForm(w, r)
	if err != nil {
		return nil, nil, err
	}
	merchant, err := s.authenticateMerchant(r.Header, form)
	return merchant, form, err
}

// authenticateMerchant finds the merchant a server-to-server call is for: by
// partner access token and Merchant-Serial-Number, or by the sales unit's own
// keys in a Basic header. Keys in the body (client_secret_post) are refused:
// Vipps' page on partner keys says so for those, and sales units are to be
// registered for client_secret_basic.
func (s *Simulator) authenticateMerchant(h http.Header, form url.Values) (*Merchant, *oauthError) {
	if form.Has("client_secret") {
		return nil, unauthorized("Basic", "invalid_client", "client_secret_post is not supported.")
	}
	scheme, credentials, _ := authorization(h)
	switch strings.ToLower(scheme) {
	case "bearer":
		return s.authenticatePartner(h, credentials)
	case "basic":
		return s.authenticateOwnKeys(h, credentials)
	default:
		return nil, unauthorized("Bearer", "invalid_client",
			"One Authorization header is required, with a partner access token or the sales unit's own keys.")
	}
}

func (s *Simulator) authenticatePartner(h http.Header, token string) (*Merchant, *oauthError) {
	if _, ok := s.partnerTokens.get(token); !ok {
		return nil, unauthorized("Bearer", "invalid_client", "This is not a valid partner access token.")
	}
	msn, err := requiredHeader(h, msnHeader)
	if err != nil {
		return nil, err
	}
	merchant := s.merchantByMSN(msn)
	if merchant == nil {
		return nil, unauthorized("Bearer", "invalid_client", "The partner has no merchant with this Merchant-Serial-Number.")
	}
	return merchant, nil
}

// authenticateOwnKeys is client_secret_basic. The header Merchant-Serial-Number
// may be left out, but must not name another merchant.
func (s *Simulator) authenticateOwnKeys(h http.Header, credentials string) (*Merchant, *oauthError) {
	id, secret, ok := decodeBasic(credentials)
	if !ok {
		return nil, unauthorized("Basic", "invalid_client", "The Basic credentials cannot be read.")
	}
	if s.partner.ClientID != "" && id == s.partner.ClientID {
		return nil, unauthorized("Basic", "invalid_client", "Partner keys do not work with client_secret_basic.")
	}
	merchant := s.merchantByClientID(id)
	// Without a secret of its own a merchant has nothing that could match.
	if merchant == nil || merchant.ClientSecret == "" || !sameSecret(secret, merchant.ClientSecret) {
		return nil, unauthorized("Basic", "invalid_client", "These are not a sales unit's keys.")
	}
	if msn := h.Values(msnHeader); len(msn) > 1 || len(msn) == 1 && msn[0] != merchant.MSN {
		return nil, unauthorized("Basic", "invalid_client", "The Merchant-Serial-Number is another merchant's.")
	}
	return merchant, nil
}

// decodeBasic undoes base64 and the form encoding that RFC 6749, section 2.3.1,
// puts on both parts before it.
func decodeBasic(credentials string) (id, secret string, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil {
		return "", "", false
	}
	id, secret, ok = strings.Cut(string(raw), ":")
	if !ok {
		return "", "", false
	}
	id, idErr := url.QueryUnescape(id)
	secret, secretErr := url.QueryUnescape(secret)
	return id, secret, idErr == nil && secretErr == nil
}
