package vippslogin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// checkedClaims checks the ID token and reads userinfo, which must have the same sub. want says which login they must
// belong to.
func (h *Handler) checkedClaims(ctx context.Context, v *visit, got vipps.Tokens, want idtoken.Expectation) ([]userinfo.Claim, error) {
	client := h.app.shared.client
	want.Issuer, want.MSN, want.ClientID, want.AccessToken = client.Issuer(), v.msn, v.unit.ClientID, got.AccessToken
	want.Audience = v.unit.Audience
	sub, err := idtoken.Check(ctx, got.IDToken, client, want)
	if err != nil {
		return nil, err
	}
	claims, err := client.Userinfo(ctx, got.AccessToken)
	var refused vipps.StatusError
	if want.Phone == nil && errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		// The token is seconds old. A code that is redeemed twice, for example at two instances, revokes the first
		// access token (RFC 6749 section 4.1.2).
		err = fmt.Errorf("%w: its access token was revoked: %w", vipps.ErrCodeRefused, refused)
	}
	if err != nil {
		return nil, err
	}
	if err := idtoken.CheckSub(claims, sub); err != nil {
		return nil, err
	}
	return claims, nil
}
