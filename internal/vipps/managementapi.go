package vipps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// SalesUnit is one of the partner's sales units, as the Management API lists it
// (https://developer.vippsmobilepay.com/docs/APIs/management-api/).
type SalesUnit struct {
	MSN  string
	Name string
}

// UnmarshalJSON reads the MSN as a number, which it is in lists, or as text, which it is in details.
func (u *SalesUnit) UnmarshalJSON(text []byte) error {
	var unit struct {
		MSN  json.RawMessage `json:"msn"`
		Name string          `json:"name"`
	}
	if err := json.Unmarshal(text, &unit); err != nil {
		return err
	}
	var number json.Number
	if json.Unmarshal(unit.MSN, &u.MSN) != nil {
		if err := json.Unmarshal(unit.MSN, &number); err != nil {
			return err
		}
		u.MSN = number.String()
	}
	u.Name = unit.Name
	return nil
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
	var units []SalesUnit
	_, err = c.do(req, &units)
	var refused StatusError
	if errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden) {
		err = ErrKeysRefused
	}
	if err != nil {
		return nil, fmt.Errorf("sales units: %w", err)
	}
	return units, nil
}
