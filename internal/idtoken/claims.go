package idtoken

import (
	"encoding/json"

	"github.com/golang-jwt/jwt/v5"
)

// Claims are the claims that are checked.
type Claims struct {
	jwt.RegisteredClaims
	Nonce  string
	ACR    string
	AZP    string
	AtHash *string

	// The flow decides how these are read: no published token of a login from a phone number has msn, and the request's id
	// has two spellings.
	msn, authReqID, authReqIDCamel json.RawMessage
}

// UnmarshalJSON reads each claim by its exact name. By default, encoding/json takes "MSN" for "msn", and lets a null keep the
// value of an earlier duplicate. Wrong types fail.
func (c *Claims) UnmarshalJSON(text []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	for name, to := range map[string]any{
		"iss": &c.Issuer, "sub": &c.Subject, "aud": &c.Audience, "exp": &c.ExpiresAt, "nbf": &c.NotBefore, "iat": &c.IssuedAt,
		"nonce": &c.Nonce, "msn": &c.msn, "acr": &c.ACR, "azp": &c.AZP, "at_hash": &c.AtHash,
		"auth_req_id": &c.authReqID, "authReqId": &c.authReqIDCamel,
	} {
		if raw, ok := members[name]; ok {
			if json.Unmarshal(raw, to) != nil {
				return WrongTypeError{name}
			}
		}
	}
	return nil
}

// WrongTypeError is a claim of the wrong JSON type, such as an msn that is a number. In the browser flow each claim has one
// type.
type WrongTypeError struct{ Claim string }

func (e WrongTypeError) Error() string {
	return ErrInvalid.Error() + ": a claim is of the wrong JSON type (" + e.Claim + ")"
}
func (WrongTypeError) Unwrap() error { return ErrInvalid }

// isMissing reports whether a claim is missing. Null means the same (OpenID Connect Core section 5.3.2).
func isMissing(claim json.RawMessage) bool { return len(claim) == 0 || string(claim) == "null" }

// requestID returns the id of the request that a token answers, in either spelling, or "".
func (c *Claims) requestID() (string, error) {
	id := ""
	for name, raw := range map[string]json.RawMessage{"auth_req_id": c.authReqID, "authReqId": c.authReqIDCamel} {
		if isMissing(raw) {
			continue
		}
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return "", WrongTypeError{name}
		}
		if id != "" && text != id {
			return "", ErrRequest
		}
		id = text
	}
	return id, nil
}
