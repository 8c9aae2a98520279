package vippslogin

import "context"

// checkedClaims checks the ID token and reads userinfo, which must be about the same person. want says
// which login they must be for.
func (h *Handler) checkedClaims(ctx context.Context, v *visit, got tokens, want expectation) ([]claim, error) {
	client := h.app.shared.client
	want.issuer, want.msn, want.clientID, want.accessToken = client.issuer(), v.msn, v.unit.clientID, got.AccessToken
	sub, err := checkIDToken(ctx, got.IDToken, client, want)
	if err != nil {
		return nil, err
	}
	claims, err := client.userinfo(ctx, got.AccessToken)
	if err != nil {
		return nil, err
	}
	if err := checkUserinfoSub(claims, sub); err != nil {
		return nil, err
	}
	return claims, nil
}
