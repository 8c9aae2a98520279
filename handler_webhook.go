package vippslogin

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// serveWebhook serves POST /vipps/webhook, which Vipps MobilePay calls. A request with a secret in its URL is about a
// revoked consent; a ping is signed.
func (h *Handler) serveWebhook(w http.ResponseWriter, r *http.Request, v *visit) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, vipps.MaxWebhook+1))
	if err != nil || len(body) > vipps.MaxWebhook {
		h.recordWebhookRefused(v, "too_large", http.StatusRequestEntityTooLarge)
		return writeAPI(w, http.StatusRequestEntityTooLarge, apiError{"invalid_request", "the body is too large, or broke off"})
	}
	if query, err := url.ParseQuery(r.URL.RawQuery); err == nil && query.Has("secret") {
		return h.serveConsentRevoked(w, r, v, query["secret"], body)
	}
	return h.servePing(w, r, v, body)
}

// serveConsentRevoked ends the sessions of a user who has revoked their consent at Vipps MobilePay. The body is an unsigned
// JWT: only the secret in the URL makes it trustworthy
// (https://developer.vippsmobilepay.com/docs/APIs/userinfo-api/, consent webhooks).
func (h *Handler) serveConsentRevoked(w http.ResponseWriter, r *http.Request, v *visit, secret []string, body []byte) error {
	if len(secret) != 1 || !matchesAny(secret[0], h.consentSecrets) {
		h.recordWebhookRefused(v, "secret", http.StatusUnauthorized)
		w.Header().Set("WWW-Authenticate", "webhook-secret")
		return writeAPI(w, http.StatusUnauthorized, apiError{"unauthorized", "the secret in the URL is wrong"})
	}
	sub, at, err := parseConsentRevoked(string(body), time.Now())
	if err != nil {
		h.recordWebhookRefused(v, "body", http.StatusBadRequest)
		return writeAPI(w, http.StatusBadRequest, apiError{"invalid_request", err.Error()})
	}
	// A sub belongs to one sales unit, so it does not matter at which merchant's host this arrives.
	entry := h.app.sessionsUntilNow("", sub)
	entry.Before = at.Unix()
	if err := h.app.endSessions(r.Context(), entry); err != nil {
		return h.failPhone(w, v, err) // Vipps MobilePay sends it again
	}
	h.logger.Info("consent revoked", zap.String("sub", sub))
	w.WriteHeader(http.StatusOK)
	return nil
}

var errConsentWebhook = errors.New("this is no JWT of the event CONSENT_REVOKED with a sub")

// parseConsentRevoked returns who has revoked their consent, and when: the webhook may be repeated days later, after the
// user has logged in again.
func parseConsentRevoked(body string, now time.Time) (sub string, at time.Time, err error) {
	var claims struct {
		jwt.RegisteredClaims
		Event string `json:"event"`
	}
	token := strings.TrimSpace(body)
	if strings.Count(token, ".") == 1 {
		token += "." // the documented sample has two parts, and no dot behind the second
	}
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil {
		return "", at, errConsentWebhook
	}
	if claims.Event != "CONSENT_REVOKED" || claims.Subject == "" || len(claims.Subject) > idtoken.MaxSub {
		return "", at, errConsentWebhook
	}
	if claims.IssuedAt != nil && claims.IssuedAt.Before(now) && now.Sub(claims.IssuedAt.Time) < toldAgainFor {
		now = claims.IssuedAt.Time
	}
	return claims.Subject, now, nil
}

// toldAgainFor is longer than Vipps MobilePay repeats a webhook, which is days. An older date is not plausible.
const toldAgainFor = 30 * 24 * time.Hour

// servePing takes the signed ping that a user has answered. It only makes the next poll come at once; the poll finds out
// what the answer was.
func (h *Handler) servePing(w http.ResponseWriter, r *http.Request, v *visit, body []byte) error {
	if !vipps.IsSigned(r, incoming.Target(r), h.signedHost(r, v), body, h.phoneConfig.webhookSecrets) {
		h.recordWebhookRefused(v, "signature", http.StatusUnauthorized)
		w.Header().Set("WWW-Authenticate", "HMAC-SHA256")
		return writeAPI(w, http.StatusUnauthorized, apiError{"unauthorized", "the signature is missing or wrong"})
	}
	err := h.desk(v).Ping(r.Context(), body)
	switch {
	case errors.Is(err, phone.ErrPing):
		h.recordWebhookRefused(v, "body", http.StatusBadRequest)
		return writeAPI(w, http.StatusBadRequest, apiError{"invalid_request", phone.ErrPing.Error()})
	case err != nil && !errors.Is(err, phone.ErrUnknown):
		return h.failPhone(w, v, err)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// signedHost returns the host that Vipps MobilePay has signed a ping for: that of the registered URL.
func (h *Handler) signedHost(r *http.Request, v *visit) string {
	if h.origins.Public != nil {
		return strings.TrimPrefix(v.URL(""), v.Scheme+"://")
	}
	return incoming.SentHost(r)
}
