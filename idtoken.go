package vippslogin

import (
	"context"
	"crypto"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// errIDToken is what every refusal of an ID token wraps.
var errIDToken = errors.New("the ID token is not valid")

// One error for each check, so that a log line names the one that failed.
var (
	errTokenSize      = idTokenError("it is too large")
	errTokenCritical  = idTokenError("its header names an extension (crit)")
	errTokenSignature = idTokenError("its signature, algorithm or form is wrong")
	errTokenKey       = idTokenError("its key is unknown or does not fit")
	errTokenIssuer    = idTokenError("another issuer (iss)")
	errTokenMissing   = idTokenError("it does not say who issued it, or when it expires (iss, exp)")
	errTokenExpired   = idTokenError("it has expired (exp)")
	errTokenTime      = idTokenError("it is from the future, or does not say when it was issued (iat, nbf)")
	errTokenNonce     = idTokenError("it answers another login (nonce)")
	errTokenMSN       = idTokenError("it is for another merchant (msn)")
	errTokenAudience  = idTokenError("it is for another client (aud, azp)")
	errTokenSubject   = idTokenError("it names nobody (sub)")
	errTokenHash      = idTokenError("it came with another access token (at_hash)")
	errTokenACR       = idTokenError("the login was not confirmed in the app (acr)")
	errTokenRequest   = idTokenError("it answers another request (auth_req_id)")
	errSubMismatch    = errors.New("userinfo is about somebody else than the ID token (sub)")
)

func idTokenError(text string) error { return fmt.Errorf("%w: %s", errIDToken, text) }

const (
	maxIDToken = 32 << 10 // bytes; they have about one KiB
	maxSub     = 255      // characters, OpenID Connect Core section 2
	leeway     = 60 * time.Second

	acrAppAuth = "urn:vipps:acr:app_auth"
)

// signingAlgorithms are those that Vipps MobilePay signs with. Neither "none" nor any with a shared
// secret will ever be among them (RFC 8725 section 3.1).
var signingAlgorithms = []string{"RS256", "ES256"}

// keySource finds the key that a token's header names. With newer, what it found before did not fit.
type keySource interface {
	verificationKey(ctx context.Context, token *jwt.Token, newer bool) (any, error)
}

// expectation is what an ID token must say to be the answer to one login.
type expectation struct {
	issuer      string
	msn         string // the sales unit the login was started for
	nonce       string // of a login in the browser
	clientID    string // of a sales unit with its own keys; "" where the partner's are used
	appAuth     bool   // the login asked for confirmation in the app
	accessToken string // that came with the ID token

	// phone is set for a login from a phone number, in place of nonce. It finds the login that the
	// token's auth_req_id ("" where it has none) belongs to, and returns the nonce it was started with.
	phone func(authReqID string) (nonce string, err error)
}

// idTokenClaims are the claims we look at.
type idTokenClaims struct {
	jwt.RegisteredClaims
	Nonce  string
	MSN    string
	ACR    string
	AZP    string
	AtHash *string
	// AuthReqID is in the ID tokens of logins from a phone number.
	AuthReqID string
}

// UnmarshalJSON reads each claim by its exact name: left to itself, encoding/json takes "MSN" for "msn",
// and another value before it for what a null stands for. Wrong types fail.
func (c *idTokenClaims) UnmarshalJSON(text []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	for name, to := range map[string]any{
		"iss": &c.Issuer, "sub": &c.Subject, "aud": &c.Audience, "exp": &c.ExpiresAt, "nbf": &c.NotBefore, "iat": &c.IssuedAt,
		"nonce": &c.Nonce, "msn": &c.MSN, "acr": &c.ACR, "azp": &c.AZP, "at_hash": &c.AtHash, "auth_req_id": &c.AuthReqID,
	} {
		if raw, ok := members[name]; ok {
			if json.Unmarshal(raw, to) != nil {
				return wrongTypeError{name}
			}
		}
	}
	return nil
}

// wrongTypeError is a claim of another JSON type than it has to be: an msn that is a number, say. In the browser flow
// no claim is read in two ways.
type wrongTypeError struct{ claim string }

func (e wrongTypeError) Error() string {
	return errIDToken.Error() + ": a claim is of the wrong JSON type (" + e.claim + ")"
}
func (wrongTypeError) Unwrap() error { return errIDToken }

// checkIDToken is the one set of checks that an ID token goes through (OpenID Connect Core section
// 3.1.3.7, and Vipps MobilePay's page on partner keys for msn). It returns the sub.
//
// It does not check who the audience is for a partner's merchant: the partner does not know the
// merchant's client_id. The msn stands for it.
func checkIDToken(ctx context.Context, raw string, keys keySource, want expectation) (sub string, err error) {
	if len(raw) > maxIDToken {
		return "", errTokenSize
	}
	claims, token, err := parseIDToken(ctx, raw, keys, want.issuer, false)
	if errors.Is(err, errTokenSignature) {
		claims, token, err = parseIDToken(ctx, raw, keys, want.issuer, true)
	}
	if err != nil {
		return "", err
	}
	for _, check := range []func() error{
		func() error { return checkIssuedAt(claims) },
		func() error { return checkMSN(claims, want.msn) },
		func() error { return checkRequest(claims, want) },
		func() error { return checkAudience(claims, want.clientID) },
		func() error { return checkAccessTokenHash(claims, token.Method.Alg(), want.accessToken) },
		func() error { return checkACR(claims, want.appAuth) },
		func() error { return checkSubject(claims) },
	} {
		if err := check(); err != nil {
			return "", err
		}
	}
	return claims.Subject, nil
}

// parseIDToken checks what the library checks.
func parseIDToken(ctx context.Context, raw string, keys keySource, issuer string, newer bool) (*idTokenClaims, *jwt.Token, error) {
	claims := new(idTokenClaims)
	var keyError error // the library's error only quotes it
	token, err := jwt.NewParser(
		jwt.WithValidMethods(signingAlgorithms),
		jwt.WithIssuer(issuer),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway),
		jwt.WithStrictDecoding(),
	).ParseWithClaims(raw, claims, func(token *jwt.Token) (any, error) {
		if _, critical := token.Header["crit"]; critical {
			keyError = errTokenCritical // RFC 7515 section 4.1.11: we understand none
			return nil, keyError
		}
		var key any
		key, keyError = keys.verificationKey(ctx, token, newer)
		return key, keyError
	})
	switch {
	case err == nil:
		return claims, token, nil
	case keyError != nil:
		return nil, nil, keyError // the key set could not be read, say: not the token's fault
	}
	return nil, nil, parseError(err)
}

// parseError turns the library's error into ours. Its text may quote the token and is left behind.
func parseError(err error) error {
	var wrongType wrongTypeError
	switch {
	case errors.As(err, &wrongType):
		return wrongType
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		return errTokenKey
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return errTokenMissing
	case errors.Is(err, jwt.ErrTokenExpired):
		return errTokenExpired
	case errors.Is(err, jwt.ErrTokenUsedBeforeIssued), errors.Is(err, jwt.ErrTokenNotValidYet):
		return errTokenTime
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return errTokenIssuer
	}
	return errTokenSignature
}

func checkIssuedAt(claims *idTokenClaims) error {
	if claims.IssuedAt == nil {
		return errTokenTime
	}
	return nil
}

// checkMSN is what stands between two merchants of one partner: the signature is good for both.
func checkMSN(claims *idTokenClaims, msn string) error {
	if msn == "" || claims.MSN != msn {
		return errTokenMSN
	}
	return nil
}

// checkRequest makes sure that the token answers the login it came for.
func checkRequest(claims *idTokenClaims, want expectation) error {
	if want.phone == nil {
		return checkNonce(claims, want.nonce)
	}
	nonce, err := want.phone(claims.AuthReqID)
	if err != nil {
		return err
	}
	// OpenID CIBA Core knows no nonce: the auth_req_id, which never leaves the back channel, does its
	// work. A nonce that is there must still be ours.
	if claims.Nonce == "" {
		return nil
	}
	return checkNonce(claims, nonce)
}

func checkNonce(claims *idTokenClaims, nonce string) error {
	if nonce == "" || subtle.ConstantTimeCompare([]byte(claims.Nonce), []byte(nonce)) != 1 {
		return errTokenNonce
	}
	return nil
}

func checkAudience(claims *idTokenClaims, clientID string) error {
	if clientID == "" {
		return nil
	}
	if !slices.Contains(claims.Audience, clientID) {
		return errTokenAudience
	}
	if claims.AZP != "" && claims.AZP != clientID {
		return errTokenAudience
	}
	return nil
}

// checkAccessTokenHash compares the left half of the access token's hash (OpenID Connect Core section
// 3.1.3.6). Every algorithm we take ends in 256, and so hashes with SHA-256.
func checkAccessTokenHash(claims *idTokenClaims, algorithm, accessToken string) error {
	if claims.AtHash == nil {
		return nil
	}
	if !strings.HasSuffix(algorithm, "256") {
		return errTokenHash
	}
	hash := crypto.SHA256.New()
	hash.Write([]byte(accessToken))
	want := base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:16])
	if subtle.ConstantTimeCompare([]byte(*claims.AtHash), []byte(want)) != 1 {
		return errTokenHash
	}
	return nil
}

func checkACR(claims *idTokenClaims, appAuth bool) error {
	if appAuth && claims.ACR != acrAppAuth {
		return errTokenACR
	}
	return nil
}

func checkSubject(claims *idTokenClaims) error {
	if claims.Subject == "" || len(claims.Subject) > maxSub {
		return errTokenSubject
	}
	return nil
}

// checkUserinfoSub compares userinfo's sub to the ID token's: otherwise userinfo must not be used
// (OpenID Connect Core section 5.3.2).
func checkUserinfoSub(claims []userinfo.Claim, sub string) error {
	for _, c := range claims {
		if c.Name == "sub" && (c.Kind == userinfo.KindText || c.Kind == userinfo.KindPlain) && c.Text == sub {
			return nil
		}
	}
	return errSubMismatch
}
