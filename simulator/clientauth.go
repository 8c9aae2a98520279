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
	if err == nil && (merchant.WithoutLogin || merchant.Inactive) {
		err = notConnected()
	}
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
		return nil, notConnected()
	}
	merchant := s.merchantByMSN(msn)
	if merchant == nil {
		return nil, notConnected()
	}
	return merchant, nil
}

// authenticateOwnKeys is client_secret_basic. The header Merchant-Serial-Number
// may be left out, but must not name another merchant.
func (s *Simulator) authenticateOwnKeys(h http.Header, credentials string) (*Merchant, *oauthError) {
	pairs := s.decodeBasic(credentials)
	if len(pairs) == 0 {
		return nil, unauthorized("Basic", "invalid_client", "The Basic credentials cannot be read.")
	}
	for _, pair := range pairs {
		if s.partner.ClientID != "" && pair.id == s.partner.ClientID {
			return nil, unauthorized("Basic", "invalid_client", "Partner keys do not work with client_secret_basic.")
		}
		merchant := s.merchantByClientID(pair.id)
		// Without a secret of its own a merchant has nothing that could match.
		if merchant == nil || merchant.ClientSecret == "" || !sameSecret(pair.secret, merchant.ClientSecret) {
			continue
		}
		if msn := h.Values(msnHeader); len(msn) > 1 || len(msn) == 1 && msn[0] != merchant.MSN {
			return nil, unauthorized("Basic", "invalid_client", "The Merchant-Serial-Number is another merchant's.")
		}
		return merchant, nil
	}
	return nil, unauthorized("Basic", "invalid_client", "These are not a sales unit's keys.")
}

// basicPair is what a Basic header holds, read in one of the two ways.
type basicPair struct{ id, secret string }

// decodeBasic undoes base64, and the form encoding that RFC 6749, section 2.3.1,
// puts on both parts before it, in the ways that basic_form allows.
func (s *Simulator) decodeBasic(credentials string) (pairs []basicPair) {
	raw, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil {
		return nil
	}
	id, secret, ok := strings.Cut(string(raw), ":")
	if !ok {
		return nil
	}
	if s.manners.basicForm != basicEncoded {
		pairs = append(pairs, basicPair{id, secret})
	}
	decodedID, idErr := url.QueryUnescape(id)
	decodedSecret, secretErr := url.QueryUnescape(secret)
	if s.manners.basicForm != basicRaw && idErr == nil && secretErr == nil {
		pairs = append(pairs, basicPair{decodedID, decodedSecret})
	}
	return pairs
}
