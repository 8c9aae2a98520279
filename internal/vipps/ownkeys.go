package vipps

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/caddy-vipps/vippslogin/internal/merchant"
)

// postWithOwnKeys posts a form with a sales unit's own keys (client_secret_basic). RFC 6749 section 2.3.1 form-encodes
// both before they are joined; Vipps MobilePay's documentation joins them unencoded, and it is unknown what each of its
// services accepts. So the other form is tried once after a 401, and remembered if it is accepted. A refused client does not
// spend a code.
func (c *Client) postWithOwnKeys(ctx context.Context, unit *merchant.Unit, msn, endpoint string, form url.Values, answer any) error {
	key := unit.ClientID + " " + endpoint
	_, raw := c.rawBasic.Load(key)
	send := func(raw bool) error {
		return c.post(ctx, endpoint, form, answer, func(req *http.Request) {
			id, secret := basicForm(unit, raw)
			req.SetBasicAuth(id, secret)
			req.Header.Set("Merchant-Serial-Number", msn)
		})
	}
	err := send(raw)
	encodedID, encodedSecret := basicForm(unit, false)
	if !isUnauthorized(err) || encodedID == unit.ClientID && encodedSecret == unit.ClientSecret {
		return err
	}
	other := send(!raw)
	var answered StatusError
	switch {
	case isUnauthorized(other):
		return err
	case other != nil && !errors.As(other, &answered):
		return other // no answer, which tells nothing about the form
	}
	if raw {
		c.rawBasic.Delete(key)
	} else {
		c.rawBasic.Store(key, true)
	}
	return other
}

func basicForm(unit *merchant.Unit, raw bool) (id, secret string) {
	if raw {
		return unit.ClientID, unit.ClientSecret
	}
	return url.QueryEscape(unit.ClientID), url.QueryEscape(unit.ClientSecret)
}

func isUnauthorized(err error) bool {
	var refused StatusError
	return errors.As(err, &refused) && refused.Status == http.StatusUnauthorized
}
