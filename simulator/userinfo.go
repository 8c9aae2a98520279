package simulator

import (
	"maps"
	"net/http"
	"strings"
)

// userinfo is the userinfo endpoint (OpenID Connect Core, section 5.3). It takes
// the access token of one login and nothing else: with a subscription key the
// call fails at Vipps, and a partner access token belongs to no user.
func (s *Simulator) userinfo(w http.ResponseWriter, r *http.Request) {
	if err := checkSystemHeaders(r.Header); err != nil {
		err.write(w)
		return
	}
	if len(r.Header.Values("Ocp-Apim-Subscription-Key")) > 0 {
		unauthorized("Bearer", "invalid_request", "The header Ocp-Apim-Subscription-Key must not be sent here.").write(w)
		return
	}
	token, ok := bearerToken(r.Header)
	if !ok {
		unauthorized("Bearer", "request_unauthorized", "One Authorization header with the login's access token is required.").write(w)
		return
	}
	l, ok := s.accessTokens.get(token)
	if !ok {
		l, ok = s.phoneTokens.get(token)
	}
	if !ok {
		unauthorized("Bearer", "request_unauthorized", "This is not the access token of a login of the last minutes.").write(w)
		return
	}
	claims := l.claims()
	if s.manners.has(hydraUserinfo) {
		maps.Copy(claims, map[string]any{
			"iss": issuer(s.base(r)), "aud": []string{l.merchant.ClientID}, "iat": l.approvedAt.Unix(), "auth_time": l.approvedAt.Unix(),
			"rat": l.requestedAt.Unix(), "amr": []string{}, "acr": l.acr,
		})
	}
	if alter := s.currentFaults().Userinfo; alter != nil {
		alter(claims)
	}
	writeJSON(w, http.StatusOK, claims)
}

// claims is what the login's scopes give.
func (l login) claims() map[string]any {
	claims := map[string]any{"sub": l.sub(), "sid": l.sid}
	for _, scope := range l.scopes {
		maps.Copy(claims, l.user.claimsOf(scope))
		switch {
		case !l.firstTime:
		case scope == "delegatedConsents":
			claims["delegatedConsents"] = delegatedConsents(l.approvedAt)
		case scope == "customFlow":
			claims["flowResult"] = flowResult()
		}
	}
	return claims
}

// claimsOf is what one scope gives. What the user has not told Vipps is absent,
// except the address.
func (u *User) claimsOf(scope string) map[string]any {
	switch scope {
	case "name":
		return u.nameClaims()
	case "phoneNumber":
		return map[string]any{"phone_number": u.PhoneNumber, "phone_number_verified": true}
	case "email":
		if u.Email == "" {
			return nil
		}
		return map[string]any{"email": u.Email, "email_verified": true}
	case "address":
		return u.addressClaims()
	case "birthDate":
		return ifKnown("birthdate", u.Birthdate)
	case "gender":
		return ifKnown("gender", u.Gender)
	case "nin":
		return ifKnown("nin", u.NIN)
	}
	return nil
}

func ifKnown(name, value string) map[string]any {
	if value == "" {
		return nil
	}
	return map[string]any{name: value}
}

// nameClaims takes the last word for the family name.
func (u *User) nameClaims() map[string]any {
	words := strings.Fields(u.Name)
	last := len(words) - 1
	return map[string]any{
		"name":        u.Name,
		"given_name":  strings.Join(words[:last], " "),
		"family_name": words[last],
	}
}

// addressClaims: a user without an address has one of empty strings.
func (u *User) addressClaims() map[string]any {
	others := []map[string]string{}
	address := Address{}
	for i, a := range u.Addresses {
		if i == 0 {
			address = a
		} else {
			others = append(others, a.claim())
		}
	}
	return map[string]any{"address": address.claim(), "other_addresses": others}
}

func (a Address) claim() map[string]string {
	formatted := ""
	if a != (Address{}) {
		formatted = strings.Join([]string{a.Street, a.PostalCode, a.Region, a.Country}, "\n")
	}
	return map[string]string{
		"street_address": a.Street,
		"postal_code":    a.PostalCode,
		"region":         a.Region,
		"country":        a.Country,
		"address_type":   a.Type,
		"formatted":      formatted,
	}
}
