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

// ErrInvalid is what every refusal of an ID token wraps.
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

// Algorithms are those that Vipps MobilePay signs with. Neither "none" nor any with a shared
// secret will ever be among them (RFC 8725 section 3.1).
var Algorithms = []string{"RS256", "ES256"}

// KeySource finds the key that a token's header names. With newer, what it found before did not fit.
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

	// AcceptMissingMSN takes a token of a polled login from a phone number that has no msn: it came in answer to our own
	// auth_req_id, with our MSN in the request. Another msn it never takes.
	AcceptMissingMSN bool
}

// Check is the one set of checks that an ID token goes through (OpenID Connect Core section
// 3.1.3.7, and Vipps MobilePay's page on partner keys for msn). It returns the sub.
//
// It does not check who the audience is for a partner's merchant: the partner does not know the
// merchant's client_id. The msn stands for it.
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

// parseIDToken checks what the library checks.
func parseIDToken(ctx context.Context, raw string, keys KeySource, issuer string, newer bool) (*Claims, *jwt.Token, error) {
	claims := new(Claims)
	var keyError error // the library's error only quotes it
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
		return nil, nil, keyError // the key set could not be read, say: not the token's fault
	}
	return nil, nil, parseError(err)
}

// parseError turns the library's error into ours. Its text may quote the token and is left behind.
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

// checkMSN is what stands between two merchants of one partner: the signature is good for both. In the browser flow it
// is text and must be there. In the ID token of a login from a phone number it may be a number; where it is missing, aud
// makes up for it with a sales unit's own keys.
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

// checkRequest makes sure that the token answers the login it came for.
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
	// OpenID CIBA Core knows no nonce: the auth_req_id, which never leaves the back channel, does its
	// work. A nonce that is there must still be ours.
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

// checkPinned checks the audience that a partner's config names, who has no keys of the client.
func checkPinned(claims *Claims, audience string) error {
	if audience != "" && !slices.Contains(claims.Audience, audience) {
		return ErrAudience
	}
	return nil
}

// checkAccessTokenHash compares the left half of the access token's hash (OpenID Connect Core section
// 3.1.3.6). Every algorithm we take ends in 256, and so hashes with SHA-256.
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

// CheckSub compares userinfo's sub to the ID token's: otherwise userinfo must not be used
// (OpenID Connect Core section 5.3.2).
func CheckSub(claims []userinfo.Claim, sub string) error {
	for _, c := range claims {
		if c.Name == "sub" && (c.Kind == userinfo.KindText || c.Kind == userinfo.KindPlain) && c.Text == sub {
			return nil
		}
	}
	return ErrSubMismatch
}
