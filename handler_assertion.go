package vippslogin

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-vipps/vippslogin/internal/assertion"
	"github.com/caddy-vipps/vippslogin/internal/identity"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// claimsOfAssertions say whose an assertion is, and for whom and how long (RFC 7519 section 4.1): no claim of userinfo
// can take their place.
var claimsOfAssertions = []string{"iss", "aud", "sub", "msn", "exp", "nbf", "iat", "jti"}

// minAssertionLifetime leaves a site a second to check an assertion, which is valid for at least half its lifetime.
const minAssertionLifetime = 2 * time.Second

func (h *Handler) provisionAssertion() error {
	if h.Assertion == nil {
		return nil
	}
	config := h.Assertion
	if config.Header == "" {
		config.Header = "X-Vipps-Assertion"
	}
	if err := h.checkAssertionField(config.Header); err != nil {
		return err
	}
	lifetime, err := config.Lifetime.resolve("assertion: lifetime", time.Minute)
	if err != nil {
		return err
	}
	if lifetime < minAssertionLifetime || lifetime > assertion.MaxLifetime {
		return fmt.Errorf("assertion: lifetime: %s is not between %s and %s: write one such as 1m", lifetime, minAssertionLifetime, assertion.MaxLifetime)
	}
	for _, claim := range config.Claims {
		if claim == "" || !userinfo.IsPlain(claim) || strings.ContainsAny(claim, ", ") {
			return fmt.Errorf("assertion: claims: %q is not a claim: write names such as email", claim)
		}
		if slices.Contains(claimsOfAssertions, claim) {
			return fmt.Errorf("assertion: claims: %q is in every assertion, or never of userinfo: leave it out", claim)
		}
	}
	h.signer = &assertion.Signer{Memory: h.app.shared.assertionKeys, Audience: config.Audience, Lifetime: lifetime, Claims: config.Claims}
	return h.checkAssertedClaims(h.Claims)
}

// checkAssertionField refuses a field that cannot carry the assertion, or that carries something else already.
func (h *Handler) checkAssertionField(field string) error {
	folded := identity.Fold(field)
	if !httpguts.ValidHeaderFieldName(field) || slices.Contains(framingFields, folded) {
		return fmt.Errorf("assertion: %q cannot be set: choose another field name, such as X-Vipps-Assertion", field)
	}
	if err := h.checkAuthorization("assertion", folded); err != nil {
		return err
	}
	taken := []string{identity.Fold(h.HeaderPrefix) + "msn"}
	for _, claim := range identity.WellKnownClaims {
		taken = append(taken, identity.Fold(h.HeaderPrefix+claim))
	}
	for other := range h.Headers {
		taken = append(taken, identity.Fold(other))
	}
	if slices.Contains(taken, folded) {
		return fmt.Errorf("assertion: %q carries a claim already: choose another field name, such as X-Vipps-Assertion", field)
	}
	return nil
}

// checkAuthorization refuses the field that has the phone API's key: we remove what clients write into our fields.
func (h *Handler) checkAuthorization(name, folded string) error {
	if h.Phone != nil && folded == "authorization" {
		return fmt.Errorf("%s: Authorization has the API key of phone: choose another field name", name)
	}
	return nil
}

// checkAssertedClaims refuses a claim of the assertion that sessions do not keep: it would never be there.
func (h *Handler) checkAssertedClaims(kept []string) error {
	if h.Assertion == nil || len(kept) == 0 {
		return nil
	}
	for _, claim := range h.Assertion.Claims {
		if !slices.Contains(kept, claim) {
			return fmt.Errorf("assertion: claims: %s is not among claims, which keeps it: add it there, or leave it out here", claim)
		}
	}
	return nil
}

// assertionField returns the header field of assertions, or "" where there are none.
func (h *Handler) assertionField() string {
	if h.Assertion == nil {
		return ""
	}
	return h.Assertion.Header
}

// assertionFor returns the assertion for a request, "" where none is configured.
func (h *Handler) assertionFor(r *http.Request, v *visit) (string, error) {
	if h.signer == nil {
		return "", nil
	}
	return h.signer.Sign(r.Context(), h.assertionAccess(v), assertionSubject(v, v.session.ID, v.session.Claims), v.began)
}

// assertionSubject returns the subject of an assertion with these claims.
func assertionSubject(v *visit, session string, claims []userinfo.Claim) assertion.Subject {
	about := assertion.Subject{Session: session, MSN: v.msn, Issuer: v.URL(""), Claims: claims}
	for i := range claims {
		if claims[i].Name == "sub" {
			about.Sub = claims[i].Text
		}
	}
	return about
}

func (h *Handler) assertionAccess(v *visit) assertion.Access {
	return assertion.Access{Shared: h.app.storage, Keys: v.keys}
}

// servePublicKeys serves GET /vipps/jwks.json: the public keys of this merchant's assertions. Any page may read them, and
// caches may store them for a while.
func (h *Handler) servePublicKeys(w http.ResponseWriter, r *http.Request, v *visit) error {
	if !merchant.IsMSN(v.unit.MSN) { // anybody can ask for any MSN: only a login makes keys for it
		there, err := h.app.shared.assertionKeys.Exist(r.Context(), h.assertionAccess(v), v.msn)
		if err != nil {
			return h.fail(w, r, v, err, "/")
		}
		if !there {
			return writeKeys(w, r, []byte(`{"keys":[]}`), "no-store")
		}
	}
	keys, err := h.app.shared.assertionKeys.PublicKeys(r.Context(), h.assertionAccess(v), v.msn, v.began)
	if err != nil {
		return h.fail(w, r, v, err, "/")
	}
	return writeKeys(w, r, keys, "public, max-age="+strconv.Itoa(int(assertion.KeysMaxAge.Seconds())))
}

func writeKeys(w http.ResponseWriter, r *http.Request, keys []byte, cacheControl string) error {
	header := w.Header()
	header.Set("Cache-Control", cacheControl)
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Cross-Origin-Resource-Policy", "cross-origin")
	header.Set("Content-Type", "application/jwk-set+json")
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(keys)
	return err
}
