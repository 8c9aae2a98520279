package simulator

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"regexp"
)

// pkcePattern is the syntax of verifier and challenge (RFC 7636, section 4.1
// and 4.2).
var pkcePattern = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// challenge is the PKCE challenge of a login; empty where none was sent.
type challenge struct {
	value  string
	method string
}

// newChallenge reads it. Without a method it is plain (RFC 7636, section 4.3).
func newChallenge(params url.Values) challenge {
	c := challenge{params.Get("code_challenge"), params.Get("code_challenge_method")}
	if c.method == "" {
		c.method = "plain"
	}
	return c
}

// checkChallenge also asks for PKCE where the user may come back in another
// browser than the one that started, since no cookie protects that login.
func checkChallenge(params url.Values) *oauthError {
	c := newChallenge(params)
	switch {
	case !params.Has("code_challenge") && params.Has("code_challenge_method"):
		return badRequest("invalid_request", "There is a code_challenge_method without a code_challenge.")
	case !params.Has("code_challenge") && params.Has("requested_flow"):
		return badRequest("invalid_request", "With this requested_flow a code_challenge is required.")
	case !params.Has("code_challenge"):
		return nil
	case c.method != "S256" && c.method != "plain":
		return badRequest("invalid_request", "The code_challenge_method must be S256 or plain.")
	case !pkcePattern.MatchString(c.value):
		return badRequest("invalid_request", "The code_challenge must have 43 to 128 characters of A-Z, a-z, 0-9, -, ., _ and ~.")
	}
	return nil
}

// verify checks the verifier of the token request (RFC 7636, section 4.6). One
// without a challenge is refused too: RFC 9700, section 4.8.2, on downgrades.
func (c challenge) verify(form url.Values) *oauthError {
	verifier := form.Get("code_verifier")
	switch {
	case c.value == "" && form.Has("code_verifier"):
		return badRequest("invalid_grant", "There is a code_verifier, but the login had no code_challenge.")
	case c.value == "":
		return nil
	case verifier == "":
		return badRequest("invalid_grant", "The code_verifier is missing.")
	case !pkcePattern.MatchString(verifier) || !sameSecret(c.of(verifier), c.value):
		return badRequest("invalid_grant", "The code_verifier does not belong to the code_challenge.")
	}
	return nil
}

func (c challenge) of(verifier string) string {
	if c.method == "plain" {
		return verifier
	}
	hash := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}
