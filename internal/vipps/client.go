package vipps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	gocache "github.com/patrickmn/go-cache"
	"golang.org/x/time/rate"

	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// Errors of calls to Vipps MobilePay. Every error of the client wraps one of them, and has nothing secret or personal: no URL,
// no token, and of the answer an OAuth error code at most.
var (
	ErrNoAnswer    = errors.New("no answer from Vipps MobilePay")
	ErrBusy        = errors.New("told by Vipps MobilePay to come back later")
	ErrBadAnswer   = errors.New("an answer from Vipps MobilePay that cannot be understood")
	ErrKeysRefused = errors.New("the API keys were refused by Vipps MobilePay")
	ErrCodeRefused = errors.New("the authorization code was refused by Vipps MobilePay")
)

const (
	CallTimeout = 10 * time.Second // for each call, including the body
	maxBody     = 1 << 20

	// An HTTP/2 connection without data for pingAfter is pinged, and closed without an answer within pingTimeout.
	pingAfter   = 2 * time.Second
	pingTimeout = 2 * time.Second
)

// The base URLs of Vipps MobilePay.
const (
	ProductionURL = "https://api.vipps.no"
	TestURL       = "https://apitest.vipps.no"
)

// Keys are the partner keys, which act for all merchants of the partner. All are empty if every merchant has keys of its own.
type Keys struct {
	ClientID, ClientSecret, SubscriptionKey string
}

// System identifies the calling system to Vipps MobilePay on every call, as partners and plugins must, in at most 30 characters
// each.
type System struct {
	Name, Version, PluginName, PluginVersion string
}

// Client makes every call to Vipps MobilePay. One client is used by all sites with the same keys, across reloads.
type Client struct {
	Base   string // scheme and host
	Keys   Keys
	system System
	HTTP   *http.Client

	// observe is called for every call, with its name, its status (0 for no answer), and its duration.
	observe func(call string, status int, took time.Duration)

	Token     cached[Token]
	Discovery cached[Discovery]
	KeySet    cached[*keySet]

	// rawBasic has the sales units and endpoints that take client_secret_basic in its raw form.
	rawBasic sync.Map

	// refusals are the sales units for which a new token was refused as well.
	refusals refusals
	// rotations limits how often an unknown key id makes us fetch the key set, and misfits how often a signature does that
	// the named key does not verify.
	rotations, misfits *rate.Limiter

	close context.CancelFunc
}

func NewClient(base string, keys Keys, system System, observe func(call string, status int, took time.Duration)) *Client {
	closed, cancel := context.WithCancel(context.Background())
	// No janitor: there are few values, which are read often.
	cache := gocache.New(gocache.NoExpiration, 0)
	c := &Client{
		Base: base, Keys: keys, system: system,
		HTTP:      newHTTPClient(),
		observe:   observe,
		refusals:  newRefusals(),
		rotations: rate.NewLimiter(rate.Every(10*time.Second), 1),
		misfits:   rate.NewLimiter(rate.Every(10*time.Second), 1),
		close:     cancel,
	}
	c.Token = cached[Token]{name: "token", fetch: c.fetchToken, cache: cache, closed: closed}
	c.Discovery = cached[Discovery]{name: "discovery", fetch: c.fetchDiscovery, lasting: true, cache: cache, closed: closed}
	c.KeySet = cached[*keySet]{name: "keys", fetch: c.fetchKeySet, lasting: true, cache: cache, closed: closed}
	return c
}

// Stop stops the renewals in the background.
func (c *Client) Stop() {
	c.close()
	c.Token.stop()
	c.Discovery.stop()
	c.KeySet.stop()
	c.HTTP.CloseIdleConnections()
}

func newHTTPClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	transport.ResponseHeaderTimeout = CallTimeout
	// All calls share one connection. If it hangs, they wait until a ping is not answered. Then it is closed, and calls that
	// may be repeated use another.
	transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: pingAfter + pingTimeout}
	return &http.Client{
		Transport: traced(transport),
		// No endpoint redirects. If one did, our keys would go elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Discovery has the parts of Vipps MobilePay's OpenID configuration that are used.
type Discovery struct {
	Issuer                string `json:"issuer"`
	AuthorizationEndpoint string `json:"authorization_endpoint"`
	TokenEndpoint         string `json:"token_endpoint"`
	UserinfoEndpoint      string `json:"userinfo_endpoint"`
	JWKSURI               string `json:"jwks_uri"`
	BackchannelEndpoint   string `json:"backchannel_authentication_endpoint"`
}

// Issuer returns the only issuer of ID tokens in this environment.
func (c *Client) Issuer() string { return c.Base + "/access-management-1.0/access/" }

// fetchDiscovery fetches the OpenID configuration. Its lifetime is that of its Cache-Control, or an hour without one.
func (c *Client) fetchDiscovery(ctx context.Context) (Discovery, time.Duration, error) {
	var doc Discovery
	header, err := c.get(calling(ctx, "discovery"), c.Issuer()+".well-known/openid-configuration", "", &doc)
	if err != nil {
		return doc, 0, fmt.Errorf("discovery: %w", err)
	}
	// OpenID Connect Discovery section 4.3: the issuer must be the one that was asked.
	if doc.Issuer != c.Issuer() {
		return doc, 0, fmt.Errorf("discovery: another issuer: %w", ErrBadAnswer)
	}
	if doc.BackchannelEndpoint == "" { // older documents lack it
		doc.BackchannelEndpoint = c.Base + "/vipps-login-ciba/api/backchannel/authentication"
	}
	for _, endpoint := range []string{doc.BackchannelEndpoint, doc.AuthorizationEndpoint, doc.TokenEndpoint, doc.UserinfoEndpoint, doc.JWKSURI} {
		if !c.mayCall(endpoint) {
			return doc, 0, fmt.Errorf("discovery: an endpoint is missing or not HTTPS: %w", ErrBadAnswer)
		}
	}
	return doc, documentLife(header), nil
}

// mayCall reports whether a URL of the OpenID configuration is as well protected as the base URL.
func (c *Client) mayCall(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && strings.HasPrefix(c.Base, "http://") && IsLoopbackHost(u.Hostname())
}

// Tokens is the answer of the token endpoint.
type Tokens struct {
	AccessToken string `json:"access_token"`
	IDToken     string `json:"id_token"`
}

// ExchangeCode redeems an authorization code (RFC 6749 section 4.1.3, with PKCE, RFC 7636). If the connection breaks, as one
// that the server has just closed does, it tries once more: if the code has arrived, it is refused then, which is no worse.
func (c *Client) ExchangeCode(ctx context.Context, unit *merchant.Unit, msn, code, redirectURI, verifier string) (Tokens, error) {
	grant := url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"redirect_uri":  {redirectURI},
		"code_verifier": {verifier},
	}
	got, err := c.redeem(ctx, unit, msn, grant)
	if errors.Is(err, errBrokenConnection) && ctx.Err() == nil {
		return c.redeem(ctx, unit, msn, grant)
	}
	return got, err
}

// redeem posts a grant to the token endpoint.
func (c *Client) redeem(ctx context.Context, unit *merchant.Unit, msn string, grant url.Values) (Tokens, error) {
	var answer Tokens
	doc, err := c.Discovery.Get(ctx)
	if err != nil {
		return answer, err
	}
	err = c.postAs(ctx, "token", unit, msn, doc.TokenEndpoint, grant, &answer)
	var refused StatusError
	switch {
	case errors.As(err, &refused) && isPhone(grant) && phoneErrors[refused.Code] != nil:
		err = pauseError{phoneErrors[refused.Code], refused.RetryAfter}
	case errors.As(err, &refused) && refused.Code == "invalid_grant":
		err = ErrCodeRefused
	case errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || refused.Code == "invalid_client"):
		err = ErrKeysRefused
	case errors.As(err, &refused) && refused.Status == http.StatusForbidden:
		err = ErrNotConnected
	case err == nil && (!isBearerToken(answer.AccessToken) || answer.IDToken == ""):
		err = ErrUnusable
	}
	if err != nil {
		return Tokens{}, fmt.Errorf("token: %w", err)
	}
	return answer, nil
}

// isPhone reports whether a grant is of a login from a phone number. Its error codes (OpenID CIBA Core section 11) mean nothing
// for an authorization code, where a 403 with access_denied is about the sales unit.
func isPhone(grant url.Values) bool { return grant.Get("grant_type") != "authorization_code" }

// postAs posts a form on behalf of a sales unit. A partner authenticates with the Bearer token and Merchant-Serial-Number;
// client_secret_basic works with a sales unit's own keys only
// (https://developer.vippsmobilepay.com/docs/partner/partner-keys/).
func (c *Client) postAs(ctx context.Context, call string, unit *merchant.Unit, msn, endpoint string, form url.Values, answer any) error {
	if unit.HasOwnKeys() {
		return c.postWithOwnKeys(calling(ctx, call), unit, msn, endpoint, form, answer)
	}
	token, err := c.Token.Get(ctx)
	if err != nil {
		return err
	}
	as := func(token Token) error {
		return c.post(calling(ctx, call), endpoint, form, answer, func(req *http.Request) {
			req.Header.Set("Authorization", "Bearer "+string(token))
			req.Header.Set("Merchant-Serial-Number", msn)
		})
	}
	if err = as(token); !isTokenRefused(err) {
		return err
	}
	fresh, ok := c.replaceToken(ctx, token, msn)
	if !ok {
		return err
	}
	if err = as(fresh); isTokenRefused(err) {
		c.refusals.refused(msn)
	}
	return err
}

func (c *Client) post(ctx context.Context, endpoint string, form url.Values, answer any, authenticate func(*http.Request)) error {
	req, err := c.newRequest(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	authenticate(req)
	_, err = c.do(req, answer)
	return err
}

// Userinfo fetches the claims with the login's access token. It sends no subscription key, with which the call would fail.
func (c *Client) Userinfo(ctx context.Context, accessToken string) ([]userinfo.Claim, error) {
	doc, err := c.Discovery.Get(ctx)
	if err != nil {
		return nil, err
	}
	var body unread
	if _, err := c.get(calling(ctx, "userinfo"), doc.UserinfoEndpoint, accessToken, &body); err != nil {
		return nil, fmt.Errorf("userinfo: %w", err)
	}
	claims, err := userinfo.Parse(body)
	if err != nil {
		return nil, fmt.Errorf("userinfo: %w", errors.Join(ErrBadAnswer, err))
	}
	return claims, nil
}

// get retries once after a broken connection, within the same deadline: a GET changes nothing at Vipps MobilePay.
func (c *Client) get(ctx context.Context, endpoint, bearer string, answer any) (http.Header, error) {
	for again := true; ; again = false {
		req, err := c.newRequest(ctx, http.MethodGet, endpoint, nil)
		if err != nil {
			return nil, err
		}
		if bearer != "" {
			req.Header.Set("Authorization", "Bearer "+bearer)
		}
		header, err := c.do(req, answer)
		if !again || !errors.Is(err, errBrokenConnection) || ctx.Err() != nil {
			return header, err
		}
	}
}

// newRequest makes every request to Vipps MobilePay.
func (c *Client) newRequest(ctx context.Context, method, endpoint string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, endpoint, body)
	if err != nil {
		return nil, ErrBadAnswer // the endpoint came from the discovery document
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Vipps-System-Name", c.system.Name)
	req.Header.Set("Vipps-System-Version", c.system.Version)
	req.Header.Set("Vipps-System-Plugin-Name", c.system.PluginName)
	req.Header.Set("Vipps-System-Plugin-Version", c.system.PluginVersion)
	return req, nil
}

// IsLoopbackHost reports whether host can be this machine only (RFC 6761 section 6.3).
func IsLoopbackHost(host string) bool {
	host = strings.ToLower(host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
