package vipps

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/caddy-vipps/vippslogin/internal/merchant"
)

// PingEvent is the event of the signed ping.
const PingEvent = "login.merchant-initiated.ping.v1"

// Webhook is a registration at the Webhooks API (https://developer.vippsmobilepay.com/docs/APIs/webhooks-api/).
type Webhook struct {
	ID     string   `json:"id"`
	URL    string   `json:"url"`
	Events []string `json:"events"`
}

// ErrNoWebhook is a registration that is not there.
var ErrNoWebhook = errors.New("there is no such registration")

// Webhooks lists the registrations of a sales unit, or of the partner where unit is nil.
func (c *Client) Webhooks(ctx context.Context, unit *merchant.Unit) ([]Webhook, error) {
	var answer struct {
		Webhooks []Webhook `json:"webhooks"`
	}
	err := c.callWebhooks(ctx, unit, http.MethodGet, "", nil, &answer)
	return answer.Webhooks, err
}

// RegisterWebhook registers a URL for pings. The secret is shown this once, so a missing id is no reason to lose it.
func (c *Client) RegisterWebhook(ctx context.Context, unit *merchant.Unit, address string) (id, secret string, err error) {
	body, err := json.Marshal(map[string]any{"url": address, "events": []string{PingEvent}})
	if err != nil {
		return "", "", err
	}
	var answer struct{ ID, Secret string }
	err = c.callWebhooks(ctx, unit, http.MethodPost, "", body, &answer)
	if err == nil && answer.Secret == "" {
		err = fmt.Errorf("webhooks: a registration without a secret, which nothing can tell later: delete it: %w", ErrBadAnswer)
	}
	return answer.ID, answer.Secret, err
}

// DeleteWebhook deletes a registration.
func (c *Client) DeleteWebhook(ctx context.Context, unit *merchant.Unit, id string) error {
	var nothing json.RawMessage
	return c.callWebhooks(ctx, unit, http.MethodDelete, "/"+url.PathEscape(id), nil, &nothing)
}

func (c *Client) callWebhooks(ctx context.Context, unit *merchant.Unit, method, path string, body []byte, answer any) error {
	token, err := c.Token.Get(ctx)
	if err != nil {
		return err
	}
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(body)
	}
	req, err := c.newRequest(calling(ctx, "webhooks"), method, c.Base+"/webhooks/v1/webhooks"+path, content)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+string(token))
	req.Header.Set("Ocp-Apim-Subscription-Key", c.Keys.SubscriptionKey)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if unit != nil {
		req.Header.Set("Merchant-Serial-Number", unit.MSN)
	}
	return webhooksError(c.doAny(req, answer), unit)
}

func webhooksError(err error, unit *merchant.Unit) error {
	var refused StatusError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		err = ErrNoWebhook
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized,
		errors.As(err, &refused) && refused.Status == http.StatusForbidden && unit == nil:
		err = ErrKeysRefused
	case errors.As(err, &refused) && refused.Status == http.StatusForbidden:
		err = ErrNotConnected
	}
	return fmt.Errorf("webhooks: %w", err)
}
