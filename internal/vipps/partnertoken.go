package vipps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Token is the partner's access token. It acts for every merchant of the partner.
type Token string

// fetchToken gets a partner access token: POST /accesstoken/get, all in headers
// (https://developer.vippsmobilepay.com/docs/APIs/access-token-api/).
func (c *Client) fetchToken(ctx context.Context) (Token, time.Duration, error) {
	var answer struct {
		AccessToken string     `json:"access_token"`
		ExpiresIn   jsonNumber `json:"expires_in"` // a string there, and a number elsewhere
	}
	req, err := c.newRequest(calling(ctx, "accesstoken"), http.MethodPost, c.Base+"/accesstoken/get", nil)
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("client_id", c.Keys.ClientID)
	req.Header.Set("client_secret", c.Keys.ClientSecret)
	req.Header.Set("Ocp-Apim-Subscription-Key", c.Keys.SubscriptionKey)
	_, err = c.do(req, &answer)
	var refused StatusError
	if errors.As(err, &refused) && (refused.Status == 400 || refused.Status == 401 || refused.Status == 403) {
		err = ErrKeysRefused
	}
	if err == nil && !isBearerToken(answer.AccessToken) {
		err = ErrBadAnswer
	}
	if err != nil {
		return "", 0, fmt.Errorf("accesstoken: %w", err)
	}
	return Token(answer.AccessToken), TokenLife(int64(answer.ExpiresIn)), nil
}

// TokenLife returns how long a token is used: a little less than its lifetime. A token without one is used for a minute, rather
// than fetched for every login.
func TokenLife(expiresIn int64) time.Duration {
	if expiresIn <= 0 {
		return time.Minute
	}
	life := time.Duration(min(expiresIn, 86400)) * time.Second
	return life - min(life/10, time.Minute)
}

// isTokenRefused reports whether an answer refuses the partner's token. One about the client refuses the sales unit.
func isTokenRefused(err error) bool {
	var refused StatusError
	return errors.As(err, &refused) && refused.Status == http.StatusUnauthorized && refused.Code != "invalid_client"
}

// replaceToken returns another partner token than the one that was refused for a sales unit. If a new token is refused as
// well, the token is not the reason: it stays, so that logins at that sales unit do not fetch a token each.
func (c *Client) replaceToken(ctx context.Context, refused Token, msn string) (Token, bool) {
	now, ok := c.Token.load()
	switch {
	case ok && now.value != refused:
		return now.value, true // another call has replaced it
	case c.refusals.isRefused(msn):
		return "", false
	}
	fresh, err := c.Token.renewSince(ctx, now.fetched)
	return fresh, err == nil && fresh != refused
}
