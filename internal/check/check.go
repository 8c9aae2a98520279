package check

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

const (
	skewWarning = 5 * time.Second
	// skewFailure is the leeway of the checks of an ID token.
	skewFailure = idtoken.Leeway
)

// Target is one host of a merchant, at one of the addresses it is served at.
type Target struct {
	Unit   *merchant.Unit
	Origin incoming.Origin // its host may be a pattern, "*.example.no"

	RedirectURI      string
	PhoneRedirectURI string // "" where no phone login ends in a browser
	WebhookURL       string // of the ping; "" where none is taken
	AppAuth          bool   // logins are to be confirmed in the app
	AnyBrowser       bool   // logins may be completed in any browser

	// shownClientID is the client_id that Vipps MobilePay's redirect has shown for the MSN; "" where none has.
	shownClientID string

	// Unchecked says why the MSN or the redirect URI is unknown before a request; "" if they are known.
	Unchecked string
}

// KnownMSN reports whether the MSN is the same for every request.
func (t *Target) KnownMSN() bool { return merchant.IsMSN(t.Unit.MSN) }

// Checker checks whether Vipps MobilePay is set up for a config.
type Checker struct {
	client   *vipps.Client
	pings    []string // where the config takes pings, at any of its hosts
	parallel int      // calls at the same time, at most
	step     func()   // reports progress; called concurrently
	keys     *seal.Keys

	doc     vipps.Discovery
	noDoc   bool // there is no discovery document
	noToken bool // there is no partner access token
	account partnerAccount
	silence atomic.Int32
}

// New returns a Checker. It seals its states like those of logins, with a random key. pings are the PingURLs of the whole
// config, also where only some of its targets are checked.
func New(client *vipps.Client, pings []string, parallel int, step func()) (*Checker, error) {
	keys, err := seal.NewKeys(client.Base, []string{base64.RawStdEncoding.EncodeToString(seal.RandomBytes(48))})
	return &Checker{client: client, pings: pings, parallel: parallel, step: step, keys: keys}, err
}

// Partner checks what all merchants have in common.
func (c *Checker) Partner(ctx context.Context) []Finding {
	found := []Finding{c.partnerKeys(ctx), c.discovery(ctx), c.signingKeys(ctx), c.clock(ctx)}
	if c.readAccount(ctx); c.account.unitsErr != nil {
		found = append(found, notChecked(aboutSalesUnits, c.account.unitsErr.Error()))
	}
	return found
}

// PingURLs returns where the targets take pings.
func PingURLs(targets []*Target) []string {
	var found []string
	for _, t := range targets {
		if t.WebhookURL != "" && t.Unchecked == "" && !slices.Contains(found, t.WebhookURL) {
			found = append(found, t.WebhookURL)
		}
	}
	return found
}

// Targets checks the merchants' hosts, and returns the findings in the same order. Keys that several hosts share are checked
// once.
func (c *Checker) Targets(ctx context.Context, targets []*Target) [][]Finding {
	var group errgroup.Group
	group.SetLimit(c.parallel)
	keys := make(map[string]*Finding)
	hosts := make([][]Finding, len(targets))
	for _, t := range targets {
		if keys[keysOf(t)] == nil {
			found := new(Finding)
			keys[keysOf(t)] = found
			group.Go(func() error { *found = c.merchantKeys(ctx, t); c.step(); return nil })
		}
	}
	for i, t := range targets {
		group.Go(func() error { hosts[i] = c.host(ctx, t); c.step(); return nil })
	}
	_ = group.Wait() // failures are in the findings
	for i, t := range targets {
		hosts[i] = append([]Finding{*keys[keysOf(t)]}, hosts[i]...)
	}
	return hosts
}

// Steps returns how often Targets calls step.
func Steps(targets []*Target) int {
	keys := make(map[string]bool)
	for _, t := range targets {
		keys[keysOf(t)] = true
	}
	return len(keys) + len(targets)
}

// keysOf identifies the keys of logins at a target.
func keysOf(t *Target) string {
	return string(seal.Context(t.Unit.MSN, t.Unit.ClientID, t.Unit.ClientSecret))
}

func (c *Checker) partnerKeys(ctx context.Context) Finding {
	if c.client.Keys == (vipps.Keys{}) {
		return notChecked(aboutPartnerKeys, "there are none: each merchant has keys of its own")
	}
	_, err := c.client.Token.Get(ctx)
	c.noToken = err != nil
	if errors.Is(err, vipps.ErrKeysRefused) && c.client.Base == vipps.TestURL {
		err = errKeysRefusedInTest
	}
	return c.judge(aboutPartnerKeys, err, "accepted, and a partner access token given", nil)
}

func (c *Checker) discovery(ctx context.Context) Finding {
	var err error
	c.doc, err = c.client.Discovery.Get(ctx)
	c.noDoc = err != nil
	return c.judge(aboutDiscovery, err, "read, with the issuer that it should have", nil)
}

func (c *Checker) signingKeys(ctx context.Context) Finding {
	if c.noDoc {
		return notChecked(aboutSigningKeys, "the discovery document says where they are")
	}
	set, err := c.client.KeySet.Get(ctx)
	usable := 0
	if err == nil {
		if usable = set.UsableKeys(ctx); usable == 0 {
			err = fmt.Errorf("keys: none can sign an ID token: %w", vipps.ErrBadAnswer)
		}
	}
	return c.judge(aboutSigningKeys, err, fmt.Sprintf("read, %d can be used", usable), nil)
}

func (c *Checker) clock(ctx context.Context) Finding {
	if c.noDoc {
		return notChecked(aboutClock, "no answer to compare it with")
	}
	skew, err := c.client.ClockSkew(ctx)
	if errors.Is(err, vipps.ErrNoDate) {
		return notChecked(aboutClock, "the answers of Vipps MobilePay have no date")
	}
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	detail := fmt.Sprintf("%s %s Vipps MobilePay's", skew.Abs().Round(time.Second), direction)
	switch {
	case err != nil:
		return c.judge(aboutClock, err, "", nil)
	case skew.Abs() > skewFailure:
		return c.judge(aboutClock, fmt.Errorf("%w: %s; ID tokens forgive %s", errSkew, detail, skewFailure), "", nil)
	case skew.Abs() > skewWarning:
		return asWarning(c.judge(aboutClock, fmt.Errorf("%w: %s", errSkew, detail), "", nil))
	}
	return c.judge(aboutClock, nil, "within "+skewWarning.String()+" of Vipps MobilePay's", nil)
}

// merchantKeys redeems a made-up code. "invalid_grant" means that the token endpoint has accepted the keys (RFC 6749 section
// 5.2). No user is logged in.
func (c *Checker) merchantKeys(ctx context.Context, t *Target) Finding {
	reason := c.givenUp(ctx)
	switch {
	case !t.KnownMSN():
		reason = t.Unchecked
	case c.noToken && !t.Unit.HasOwnKeys():
		reason = "the partner's keys give no access token"
	}
	if reason != "" {
		return notChecked(aboutMerchantKeys, reason)
	}
	l := login.New("/", time.Now())
	err := c.patiently(ctx, func() error {
		_, err := c.client.ExchangeCode(ctx, t.Unit, t.Unit.MSN, l.Nonce, t.RedirectURI, l.Verifier)
		return err
	})
	var refused vipps.StatusError
	switch {
	case err == nil:
		err = fmt.Errorf("token: a made-up code was redeemed: %w", vipps.ErrBadAnswer)
	case errors.Is(err, vipps.ErrCodeRefused):
		err = nil
	case errors.As(err, &refused) && refused.Status == 403:
		err = fmt.Errorf("token: status 403: %w", vipps.ErrKeysRefused)
	case errors.As(err, &refused) && refused.Status == 400:
		return asWarning(c.judge(aboutMerchantKeys, err, "", t))
	}
	if errors.Is(err, vipps.ErrKeysRefused) && t.Unit.HasOwnKeys() {
		err = fmt.Errorf("token: %w", errOwnKeysRefused)
	}
	return c.judge(aboutMerchantKeys, c.explained(err, t), "accepted by the token endpoint", t)
}

// host opens the login page of a host, also with the redirect URI of logins from a phone number, and checks whether the ping is
// registered.
func (c *Checker) host(ctx context.Context, t *Target) []Finding {
	if reason := cmp.Or(t.Unchecked, c.givenUp(ctx)); reason != "" {
		return c.hostNotChecked(t, reason)
	}
	address := c.loginURL(t)
	clientID, err := c.open(ctx, address, t.RedirectURI)
	var found []Finding
	if !t.Unit.HasOwnKeys() {
		found = append(found, c.msn(t, clientID, err))
		t.shownClientID = clientID
	}
	if clientID == "" {
		found = append(found, c.redirectsNotChecked(t, "Vipps MobilePay gave no client_id for the MSN")...)
		return append(found, c.webhook(ctx, t)...)
	}
	found = append(found, c.judge(aboutRedirectURI, err, t.RedirectURI+" is registered", t))
	if phoneURI := t.PhoneRedirectURI; phoneURI != "" {
		_, err = c.open(ctx, withRedirectURI(address, phoneURI), phoneURI)
		found = append(found, asWarning(c.judgeURI(aboutPhoneRedirectURI, err, phoneURI+" is registered", t, phoneURI)))
	}
	return append(append(found, c.audience(t)...), c.webhook(ctx, t)...)
}

// msn checks that Vipps MobilePay has replaced the msn by a client_id.
func (c *Checker) msn(t *Target, clientID string, err error) Finding {
	if clientID == "" && err == nil {
		return Finding{Name: aboutMSN, Status: statusWarning, Detail: "a page came before the MSN was looked at: this tells nothing",
			Fix: "Log in at the site yourself to see."}
	}
	if clientID != "" {
		err = nil
	}
	return c.judge(aboutMSN, c.explained(err, t), "known", t)
}

// loginURL returns where the plugin would send the browser.
func (c *Checker) loginURL(t *Target) string {
	l := login.New("/", time.Now())
	request := vipps.AuthorizationRequest{
		Unit: t.Unit, MSN: t.Unit.MSN, RedirectURI: t.RedirectURI, Nonce: l.Nonce, Verifier: l.Verifier,
		State:   login.Seal(c.keys.State, l, t.Origin.Host, t.Unit.MSN, login.MaxState),
		AppAuth: t.AppAuth, AnyBrowser: t.AnyBrowser,
	}
	return request.URL(c.doc.AuthorizationEndpoint)
}

func withRedirectURI(address, redirectURI string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	query := u.Query()
	query.Set("redirect_uri", redirectURI)
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return u.String()
}

func (c *Checker) open(ctx context.Context, address, redirectURI string) (clientID string, err error) {
	err = c.patiently(ctx, func() error {
		clientID, err = c.client.OpenAuthorization(ctx, address, redirectURI)
		return err
	})
	return clientID, err
}
