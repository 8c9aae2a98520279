package simulator

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// idToken signs the ID token of a login, with the claims of Vipps MobilePay.
func (s *Simulator) idToken(base string, l login, accessToken string) (string, error) {
	now := time.Now()
	keys := s.keys
	if l.authReqID != "" {
		keys = s.phoneKeys
	}
	key := keys.list()[0]
	header := map[string]any{"alg": key.alg, "kid": key.kid, "typ": "JWT"}
	if l.kid != "" {
		header["kid"] = l.kid
	}
	claims := map[string]any{
		"iss":       issuer(base),
		"sub":       l.sub(),
		"aud":       []string{l.merchant.ClientID},
		"exp":       now.Add(idTokenLifetime).Unix(),
		"iat":       now.Unix(),
		"auth_time": l.approvedAt.Unix(),
		"rat":       l.requestedAt.Unix(),
		"jti":       randomUUID(),
		// An empty string where the request had none, as Vipps does it.
		"nonce":   l.nonce,
		"at_hash": accessTokenHash(accessToken),
		"msn":     l.merchant.MSN,
		"sid":     l.sid,
	}
	if l.acr != "" {
		claims["acr"] = l.acr
	}
	if l.authReqID != "" {
		claims = s.manners.phoneClaims(claims, l)
	}
	if alter := s.currentFaults().IDToken; alter != nil {
		alter(header, claims)
	}
	return key.sign(header, claims)
}

// phoneClaims gives the claims of a login from a phone number the form that the
// config says.
func (m manners) phoneClaims(claims map[string]any, l login) map[string]any {
	if m.phoneIDToken == tokenSparse {
		return map[string]any{
			"aud": claims["aud"], "sub": claims["sub"], requestIDSeen: l.authReqID,
			"iss": claims["iss"], "exp": claims["exp"], "iat": claims["iat"],
		}
	}
	claims[m.phoneRequestID] = l.authReqID
	switch m.phoneMSN {
	case msnNumber:
		claims["msn"] = json.Number(strings.TrimLeft(l.merchant.MSN, "0"))
	case msnNone:
		delete(claims, "msn")
	}
	return claims
}

// sub is pairwise: a user is somebody else at every sales unit, so that
// merchants cannot compare notes. It is the same in every run.
func (l login) sub() string {
	return derivedUUID("sub", l.merchant.MSN, l.user.PhoneNumber)
}

// accessTokenHash is at_hash (OpenID Connect Core, section 3.1.3.6): the left
// half of the token's SHA-256, which goes with RS256 and ES256.
func accessTokenHash(token string) string {
	hash := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(hash[:len(hash)/2])
}
