package simulator

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

var (
	msnPattern     = regexp.MustCompile(`^[0-9]{4,10}$`)
	phonePattern   = regexp.MustCompile(`^[1-9][0-9]{7,14}$`)
	tokenPattern   = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,128}$`)
	countryPattern = regexp.MustCompile(`^[A-Z]{2}$`)
	hostPattern    = regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]+$`)
)

// validate says what is wrong, in which field, and what to write instead.
func (c Config) validate() error {
	if err := c.checkBaseURL(); err != nil {
		return fmt.Errorf("base_url: %w", err)
	}
	if err := c.Partner.validate(); err != nil {
		return fmt.Errorf("partner: %w", err)
	}
	if c.TokenLifetime < caddy.Duration(2*time.Second) {
		return fmt.Errorf("token_lifetime: %s is too short; use 2s or more", time.Duration(c.TokenLifetime))
	}
	if err := c.checkPhoneOptions(); err != nil {
		return err
	}
	if err := c.checkManners(); err != nil {
		return err
	}
	if err := c.checkMerchants(); err != nil {
		return err
	}
	return c.checkUsers()
}

func (c Config) checkPhoneOptions() error {
	interval := time.Duration(c.PollInterval)
	if interval < time.Second || interval%time.Second != 0 {
		return fmt.Errorf("poll_interval: %s is not a number of whole seconds; use 1s, 2s and so on", interval)
	}
	if c.PhoneSigningAlg != algRS256 && c.PhoneSigningAlg != algES256 {
		return fmt.Errorf("phone_signing_alg: %q is not one; use %s or %s", c.PhoneSigningAlg, algRS256, algES256)
	}
	return nil
}

func (c Config) checkManners() error {
	for _, manner := range []struct {
		name, value string
		of          []string
	}{
		{"basic_form", c.BasicForm, basicForms}, {"phone_id_token", c.PhoneIDToken, tokenForms},
		{"phone_request_id", c.PhoneRequestID, requestIDs}, {"phone_msn", c.PhoneMSN, msnForms}, {"consent_jwt", c.ConsentJWT, consentForms},
	} {
		if !slices.Contains(manner.of, manner.value) {
			return fmt.Errorf("%s: %q is not one; use one of %s", manner.name, manner.value, strings.Join(manner.of, ", "))
		}
	}
	for _, manner := range c.Hydra {
		if !slices.Contains(hydraManners, manner) {
			return fmt.Errorf("hydra: %q is not one; use some of %s", manner, strings.Join(hydraManners, ", "))
		}
	}
	return nil
}

func (c Config) checkBaseURL() error {
	if c.BaseURL == "" {
		return nil
	}
	u, err := parseWebURL(c.BaseURL)
	if err != nil {
		return err
	}
	if u.Path != "" {
		return fmt.Errorf("%q has a path; leave it at scheme, host and port", c.BaseURL)
	}
	if !isLoopbackHost(u.Host) {
		return fmt.Errorf("%q is not on this machine; use a loopback host such as localhost or 127.0.0.1", c.BaseURL)
	}
	return nil
}

// validate accepts all three keys or none.
func (p Partner) validate() error {
	if p == (Partner{}) {
		return nil
	}
	if p.ClientID == "" || p.ClientSecret == "" || p.SubscriptionKey == "" {
		return errors.New("set client_id, client_secret and subscription_key, or none of them")
	}
	return nil
}

func (c Config) checkMerchants() error {
	if len(c.Merchants) == 0 {
		return errors.New("merchants: none; add at least one with an msn and a redirect URI")
	}
	msns := map[string]bool{}
	clientIDs := map[string]bool{c.Partner.ClientID: true}
	for i, m := range c.Merchants {
		if err := m.validate(); err != nil {
			return fmt.Errorf("merchants[%d]: %w", i, err)
		}
		if msns[m.MSN] {
			return fmt.Errorf("merchants[%d]: msn: %s is there twice; put all its redirect URIs into one merchant", i, m.MSN)
		}
		if clientIDs[m.ClientID] {
			return fmt.Errorf("merchants[%d]: client_id: %q is used by another merchant or the partner; give each its own", i, m.ClientID)
		}
		msns[m.MSN], clientIDs[m.ClientID] = true, true
	}
	return nil
}

func (m Merchant) validate() error {
	if !msnPattern.MatchString(m.MSN) {
		return fmt.Errorf("msn: %q is not a Merchant Serial Number; write its 4 to 10 digits", m.MSN)
	}
	if len(m.RedirectURIs) == 0 {
		return fmt.Errorf("redirect_uris: MSN %s has none; register at least one", m.MSN)
	}
	for i, uri := range m.RedirectURIs {
		if _, err := parseWebURL(uri); err != nil {
			return fmt.Errorf("redirect_uris[%d]: %w", i, err)
		}
	}
	for _, scope := range m.Scopes {
		if !slices.Contains(knownScopes, scope) {
			return fmt.Errorf("scopes: Vipps MobilePay has no %q; use some of %s", scope, strings.Join(knownScopes, ", "))
		}
	}
	if m.ConsentURL != "" {
		if err := checkOwnURL(m.ConsentURL); err != nil {
			return fmt.Errorf("consent_url: %w", err)
		}
	}
	return m.checkPing()
}

// checkOwnURL keeps a mistake in a config from calling strangers.
func checkOwnURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q is not a URL; write it like http://localhost:8080/vipps/webhook", raw)
	}
	if !isLoopbackHost(u.Host) {
		return fmt.Errorf("%q is not on this machine; use a loopback host such as localhost or 127.0.0.1", raw)
	}
	return nil
}

// checkPing keeps a mistake in a config from sending pings to strangers.
func (m Merchant) checkPing() error {
	if m.PingURL == "" && m.PingSecret == "" {
		return nil
	}
	if m.PingURL == "" || m.PingSecret == "" {
		return errors.New("ping_url: it needs a ping_secret, and the other way round; set both or none of them")
	}
	u, err := parseWebURL(m.PingURL)
	if err != nil {
		return fmt.Errorf("ping_url: %w", err)
	}
	if !isLoopbackHost(u.Host) {
		return fmt.Errorf("ping_url: %q is not on this machine; use a loopback host such as localhost or 127.0.0.1", m.PingURL)
	}
	return nil
}

// parseWebURL parses an absolute http or https URL without what a redirect URI
// of Vipps MobilePay must not have. The host's characters are checked too,
// since the consent page's Content-Security-Policy names it.
func parseWebURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is not a URL; write it like http://localhost:8080/vipps/callback", raw)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q does not start with http:// or https://; write the whole URL", raw)
	case !hostPattern.MatchString(u.Host) || u.User != nil:
		return nil, fmt.Errorf("%q needs a plain host; write it like http://localhost:8080", raw)
	case strings.ContainsAny(raw, "?#"):
		return nil, fmt.Errorf("%q has a query or a fragment; leave that out", raw)
	}
	return u, nil
}

func (c Config) checkUsers() error {
	numbers, tokens := map[string]bool{}, map[string]bool{}
	for i, u := range c.Users {
		if err := u.validate(); err != nil {
			return fmt.Errorf("users[%d]: %w", i, err)
		}
		if numbers[u.PhoneNumber] {
			return fmt.Errorf("users[%d]: phone_number: %s is there twice; give each user their own", i, u.PhoneNumber)
		}
		if u.CustomerToken != "" && tokens[u.CustomerToken] {
			return fmt.Errorf("users[%d]: customer_token: %s is there twice; give each user their own", i, u.CustomerToken)
		}
		numbers[u.PhoneNumber], tokens[u.CustomerToken] = true, true
	}
	return nil
}

func (u User) validate() error {
	if strings.TrimSpace(u.Name) == "" {
		return errors.New("name: empty; write the full name")
	}
	if !phonePattern.MatchString(u.PhoneNumber) {
		return fmt.Errorf("phone_number: %q is not one; write country code and number as digits, like 4712345678", u.PhoneNumber)
	}
	if u.CustomerToken != "" && !tokenPattern.MatchString(u.CustomerToken) {
		return fmt.Errorf("customer_token: %q is not one; use letters, digits, '.', '_', '~' and '-'", u.CustomerToken)
	}
	if u.Birthdate != "" {
		if _, err := time.Parse(time.DateOnly, u.Birthdate); err != nil {
			return fmt.Errorf("birthdate: %q is not a date; write it like 1990-05-17", u.Birthdate)
		}
	}
	for i, a := range u.Addresses {
		if err := a.validate(); err != nil {
			return fmt.Errorf("addresses[%d]: %w", i, err)
		}
	}
	return nil
}

func (a Address) validate() error {
	if !countryPattern.MatchString(a.Country) {
		return fmt.Errorf("country: %q is not one; write two capital letters, like NO", a.Country)
	}
	if !slices.Contains([]string{"home", "work", "other"}, a.Type) {
		return fmt.Errorf("address_type: %q is not one; use home, work or other", a.Type)
	}
	return nil
}
