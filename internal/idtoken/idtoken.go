package idtoken

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

// ErrInvalid is wrapped by every refusal of an ID token.
var ErrInvalid = errors.New("the ID token is not valid")

// One error for each check, so that a log line names the one that failed.
var (
	ErrSize        = invalid("it is too large")
	ErrCritical    = invalid("its header names an extension (crit)")
	ErrSignature   = invalid("its signature, algorithm or form is wrong")
	ErrKey         = invalid("its key is unknown or does not fit")
	ErrIssuer      = invalid("another issuer (iss)")
	ErrMissing     = invalid("it does not say who issued it, or when it expires (iss, exp)")
	ErrExpired     = invalid("it has expired (exp)")
	ErrTime        = invalid("it is from the future, or does not say when it was issued (iat, nbf)")
	ErrNonce       = invalid("it answers another login (nonce)")
	ErrMSN         = invalid("it is for another merchant (msn)")
	ErrNoMSN       = invalid("it does not say for which merchant it is (msn is missing)")
	ErrAudience    = invalid("it is for another client (aud, azp)")
	ErrSubject     = invalid("it names nobody (sub)")
	ErrHash        = invalid("it came with another access token (at_hash)")
	ErrACR         = invalid("the login was not confirmed in the app (acr)")
	ErrRequest     = invalid("it answers another request (auth_req_id)")
	ErrSubMismatch = errors.New("userinfo is about somebody else than the ID token (sub)")
)

func invalid(text string) error { return fmt.Errorf("%w: %s", ErrInvalid, text) }

const (
	maxSize = 32 << 10 // bytes; they have about one KiB
	MaxSub  = 255      // characters, OpenID Connect Core section 2
	Leeway  = 60 * time.Second

	ACRAppAuth = "urn:vipps:acr:app_auth"
)

// Algorithms are the algorithms of Vipps MobilePay's signatures. They must never include "none" or one with a shared secret
// (RFC 8725 section 3.1).
var Algorithms = []string{"RS256", "ES256"}

// KeySource finds the key that a token's header names. newer says that the key it found before did not verify the signature.
type KeySource interface {
	VerificationKey(ctx context.Context, token *jwt.Token, newer bool) (any, error)
}

// Expectation is what an ID token must say to be the answer to one login.
type Expectation struct {
	Issuer      string
	MSN         string // the sales unit the login was started for
	Nonce       string // of a login in the browser
	ClientID    string // of a sales unit with its own keys; "" where the partner's are used
	Audience    string // that the config pins; "" where it pins none
	AppAuth     bool   // the login asked for confirmation in the app
	AccessToken string // that came with the ID token

	// Phone is set for a login from a phone number, in place of nonce. It finds the login that the
	// token's auth_req_id ("" where it has none) belongs to, and returns the nonce it was started with.
	Phone func(authReqID string) (nonce string, err error)

	// AcceptMissingMSN accepts a token of a polled login from a phone number without an msn: it is the answer to our own
	// auth_req_id, with our MSN in the request. Another msn is never accepted.
	AcceptMissingMSN bool
}

// Check is the one set of checks that an ID token goes through (OpenID Connect Core section
// 3.1.3.7, and Vipps MobilePay's page on partner keys for msn). It returns the sub.
//
// It does not check the audience for a partner's merchant, whose client_id the partner does not know: the msn takes its
// place.
func Check(ctx context.Context, raw string, keys KeySource, want Expectation) (sub string, err error) {
	if len(raw) > maxSize {
		return "", ErrSize
	}
	claims, token, err := parseIDToken(ctx, raw, keys, want.Issuer, false)
	if errors.Is(err, ErrSignature) {
		claims, token, err = parseIDToken(ctx, raw, keys, want.Issuer, true)
	}
	if err != nil {
		return "", err
	}
	for _, check := range []func() error{
		func() error { return checkIssuedAt(claims) },
		func() error { return checkMSN(claims, want) },
		func() error { return checkRequest(claims, want) },
		func() error {
			return errors.Join(checkAudience(claims, want.ClientID), checkPinned(claims, want.Audience))
		},
		func() error { return checkAccessTokenHash(claims, token.Method.Alg(), want.AccessToken) },
		func() error { return checkACR(claims, want.AppAuth) },
		func() error { return checkSubject(claims) },
	} {
		if err := check(); err != nil {
			return "", err
		}
	}
	return claims.Subject, nil
}

// parseIDToken makes the checks of the library.
func parseIDToken(ctx context.Context, raw string, keys KeySource, issuer string, newer bool) (*Claims, *jwt.Token, error) {
	claims := new(Claims)
	var keyError error // the library's error hides it
	token, err := jwt.NewParser(
		jwt.WithValidMethods(Algorithms),
		jwt.WithIssuer(issuer),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(Leeway),
		jwt.WithStrictDecoding(),
	).ParseWithClaims(raw, claims, func(token *jwt.Token) (any, error) {
		if _, critical := token.Header["crit"]; critical {
			keyError = ErrCritical // RFC 7515 section 4.1.11: we understand none
			return nil, keyError
		}
		var key any
		key, keyError = keys.VerificationKey(ctx, token, newer)
		return key, keyError
	})
	switch {
	case err == nil:
		return claims, token, nil
	case keyError != nil:
		return nil, nil, keyError // for example, the key set could not be read: the token may be valid
	}
	return nil, nil, parseError(err)
}

// parseError turns the library's error into one of ours, without its text, which may quote the token.
func parseError(err error) error {
	var wrongType WrongTypeError
	switch {
	case errors.As(err, &wrongType):
		return wrongType
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		return ErrKey
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return ErrMissing
	case errors.Is(err, jwt.ErrTokenExpired):
		return ErrExpired
	case errors.Is(err, jwt.ErrTokenUsedBeforeIssued), errors.Is(err, jwt.ErrTokenNotValidYet):
		return ErrTime
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return ErrIssuer
	}
	return ErrSignature
}

func checkIssuedAt(claims *Claims) error {
	if claims.IssuedAt == nil {
		return ErrTime
	}
	return nil
}

// checkMSN separates the merchants of one partner, since the signature is valid for all of them. In the browser flow msn must
// be a string. In the ID token of a login from a phone number it may be a number; if it is missing, aud takes its place with a
// sales unit's own keys.
func checkMSN(claims *Claims, want Expectation) error {
	missing := isMissing(claims.msn)
	var msn string
	var number json.Number
	switch {
	case want.MSN == "":
		return ErrMSN
	case missing && want.Phone != nil && (want.ClientID != "" || want.AcceptMissingMSN):
		return nil
	case missing:
		return ErrNoMSN
	case json.Unmarshal(claims.msn, &msn) == nil:
	case want.Phone != nil && json.Unmarshal(claims.msn, &number) == nil:
		msn = number.String()
	default:
		return WrongTypeError{"msn"}
	}
	if msn != want.MSN {
		return ErrMSN
	}
	return nil
}

// checkRequest checks that the token belongs to the login.
func checkRequest(claims *Claims, want Expectation) error {
	if want.Phone == nil {
		return checkNonce(claims, want.Nonce)
	}
	id, err := claims.requestID()
	if err != nil {
		return err
	}
	nonce, err := want.Phone(id)
	if err != nil {
		return err
	}
	// OpenID CIBA Core has no nonce: the auth_req_id, which never leaves the back channel, takes its place. If there is a
	// nonce, it must be ours.
	if claims.Nonce == "" {
		return nil
	}
	return checkNonce(claims, nonce)
}

func checkNonce(claims *Claims, nonce string) error {
	if nonce == "" || subtle.ConstantTimeCompare([]byte(claims.Nonce), []byte(nonce)) != 1 {
		return ErrNonce
	}
	return nil
}

func checkAudience(claims *Claims, clientID string) error {
	if clientID == "" {
		return nil
	}
	if !slices.Contains(claims.Audience, clientID) {
		return ErrAudience
	}
	if claims.AZP != "" && claims.AZP != clientID {
		return ErrAudience
	}
	return nil
}

// checkPinned checks the audience that a partner's config pins.
func checkPinned(claims *Claims, audience string) error {
	if audience != "" && !slices.Contains(claims.Audience, audience) {
		return ErrAudience
	}
	return nil
}

// checkAccessTokenHash compares the left half of the access token's hash (OpenID Connect Core section
// 3.1.3.6). Every algorithm that we accept ends in 256, and so the hash is SHA-256.
func checkAccessTokenHash(claims *Claims, algorithm, accessToken string) error {
	if claims.AtHash == nil {
		return nil
	}
	if !strings.HasSuffix(algorithm, "256") {
		return ErrHash
	}
	hash := crypto.SHA256.New()
	hash.Write([]byte(accessToken))
	want := base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:16])
	if subtle.ConstantTimeCompare([]byte(*claims.AtHash), []byte(want)) != 1 {
		return ErrHash
	}
	return nil
}

func checkACR(claims *Claims, appAuth bool) error {
	if appAuth && claims.ACR != ACRAppAuth {
		return ErrACR
	}
	return nil
}

func checkSubject(claims *Claims) error {
	if claims.Subject == "" || len(claims.Subject) > MaxSub {
		return ErrSubject
	}
	return nil
}

// CheckSub compares userinfo's sub to the ID token's: if they differ, userinfo must not be used
// (OpenID Connect Core section 5.3.2).
func CheckSub(claims []userinfo.Claim, sub string) error {
	for _, c := range claims {
		if c.Name == "sub" && (c.Kind == userinfo.KindText || c.Kind == userinfo.KindPlain) && c.Text == sub {
			return nil
		}
	}
	return ErrSubMismatch
}
