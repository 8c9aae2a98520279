package vipps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/caddy-vipps/vippslogin/internal/merchant"
)

// SalesUnit is one of the partner's sales units, as the Management API lists it
// (https://developer.vippsmobilepay.com/docs/APIs/management-api/).
type SalesUnit struct {
	MSN  string
	Name string
}

// maxUnits bounds the list of sales units, in bytes: a large partner has tens of thousands.
const maxUnits = 16 << 20

// readUnits reads a list. The MSN is a number in lists and a string in details. Entries without an MSN are left out, since no
// login can be for them; a list of nothing else is no answer.
func readUnits(list []json.RawMessage) ([]SalesUnit, error) {
	units := make([]SalesUnit, 0, len(list))
	for _, entry := range list {
		var read struct{ MSN, Name json.RawMessage }
		if json.Unmarshal(entry, &read) != nil {
			continue
		}
		var unit SalesUnit
		var number json.Number
		if json.Unmarshal(read.MSN, &unit.MSN) != nil && json.Unmarshal(read.MSN, &number) == nil {
			unit.MSN = number.String()
		}
		if json.Unmarshal(read.Name, &unit.Name) != nil {
			unit.Name = ""
		}
		if merchant.IsMSN(unit.MSN) {
			units = append(units, unit)
		}
	}
	if list == nil || len(units) == 0 && len(list) > 0 {
		return nil, ErrBadAnswer
	}
	return units, nil
}

// SalesUnits returns all active sales units that the partner reaches. It works in production only.
func (c *Client) SalesUnits(ctx context.Context) ([]SalesUnit, error) {
	token, err := c.Token.Get(ctx)
	if err != nil {
		return nil, err
	}
	req, err := c.newRequest(calling(ctx, "sales_units"), http.MethodGet, c.Base+"/management/v1/sales-units", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+string(token))
	req.Header.Set("Ocp-Apim-Subscription-Key", c.Keys.SubscriptionKey)
	var list []json.RawMessage
	_, err = c.doLarge(req, &list, maxUnits)
	var refused StatusError
	if errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden) {
		err = ErrKeysRefused
	}
	var units []SalesUnit
	if err == nil {
		units, err = readUnits(list)
	}
	if err != nil {
		return nil, fmt.Errorf("sales units: %w", err)
	}
	return units, nil
}
