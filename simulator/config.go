package simulator

import (
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Config is what a simulated Vipps MobilePay knows: one partner, its merchants,
// and people who can log in.
type Config struct {
	// The API base that answers name, like `http://localhost:8090`, without a
	// path. Its host must be a loopback name. Default: scheme and host of each
	// request.
	BaseURL string `json:"base_url,omitempty"`

	// The partner keys. May be left out where every merchant has keys of its
	// own.
	Partner Partner `json:"partner,omitzero"`

	// The sales units. At least one.
	Merchants []Merchant `json:"merchants,omitempty"`

	// The people the consent page offers, and whose phone numbers there are.
	// Default: seven made-up ones, among them a name with æøå, three countries,
	// somebody under 18, somebody without an address and somebody whose app is
	// too old for a login from a phone number.
	Users []User `json:"users,omitempty"`

	// How long a partner access token lives, at least 2s. Default: `24h`, as in
	// production; Vipps' test environment has `1h`.
	TokenLifetime caddy.Duration `json:"token_lifetime,omitempty"`

	// How far apart the polls of a login from a phone number must be, in whole
	// seconds, at least 1s. Default: `5s`, as at Vipps MobilePay.
	PollInterval caddy.Duration `json:"poll_interval,omitempty"`

	// What signs the ID tokens of logins from a phone number: `RS256` (default)
	// or `ES256`. Vipps MobilePay is seen doing either, although its discovery
	// document names RS256 only.
	PhoneSigningAlg string `json:"phone_signing_alg,omitempty"`

	// How the sales units' own keys must be written in a Basic header: `raw`, as
	// Vipps documents it, `encoded`, as RFC 6749, section 2.3.1, has it, or `any`
	// (default).
	BasicForm string `json:"basic_form,omitempty"`

	// What is in the ID tokens of logins from a phone number: `full` (default) is
	// what those of logins in the browser have, `sparse` what the one published
	// sample has, of January 2022: aud, sub, authReqId, iss, exp and iat.
	PhoneIDToken string `json:"phone_id_token,omitempty"`

	// The claim that names the request in them: `auth_req_id` (default) or
	// `authReqId`. It is authReqId with `sparse`.
	PhoneRequestID string `json:"phone_request_id,omitempty"`

	// Their msn: a `string` (default), a `number`, or `none`. There is none with
	// `sparse`.
	PhoneMSN string `json:"phone_msn,omitempty"`

	// The form of the JWT that tells a revoked consent: `two` parts without a
	// final dot (default), `two_dot` with one, or `three`.
	ConsentJWT string `json:"consent_jwt,omitempty"`

	// What is done as ORY Hydra does it: any of `no_store`, `last_tab`,
	// `error_redirect`, `old_kid` and `userinfo_claims`. Default: none.
	Hydra []string `json:"hydra,omitempty"`
}

// Partner is one set of partner keys, which acts for all merchants.
type Partner struct {
	// The partner's client_id.
	ClientID string `json:"client_id,omitempty"`

	// The partner's client_secret.
	ClientSecret string `json:"client_secret,omitempty"`

	// The value of the Ocp-Apim-Subscription-Key header.
	SubscriptionKey string `json:"subscription_key,omitempty"`
}

// Merchant is a sales unit.
type Merchant struct {
	// The Merchant Serial Number: 4 to 10 digits.
	MSN string `json:"msn,omitempty"`

	// The name that the consent page shows. Default: `Merchant` and the MSN.
	Name string `json:"name,omitempty"`

	// The registered redirect URIs. A login must name one of them byte for
	// byte. At least one, without a query and a fragment.
	RedirectURIs []string `json:"redirect_uris,omitempty"`

	// The sales unit's own client_id, which is in the aud claim of its ID
	// tokens. Default: derived from the MSN, and the same in every run.
	ClientID string `json:"client_id,omitempty"`

	// The sales unit's own client_secret. Default: none, and then it cannot log
	// in with keys of its own.
	ClientSecret string `json:"client_secret,omitempty"`

	// The scopes of its plan. A login silently gets no others. Default: all
	// that Vipps MobilePay has. `openid` is always in it.
	Scopes []string `json:"scopes,omitempty"`

	// Where the ping goes when a customer has answered a login from a phone
	// number. Its host must be a loopback name. Default: nowhere.
	PingURL string `json:"ping_url,omitempty"`

	// What signs the ping. Required with a ping_url.
	PingSecret string `json:"ping_secret,omitempty"`

	// Where a revoked consent is told. Its host must be a loopback name. Default:
	// nowhere.
	ConsentURL string `json:"consent_url,omitempty"`

	// Whether Login is not active for the sales unit: it is the partner's, and
	// every call for it is answered with 403.
	WithoutLogin bool `json:"without_login,omitempty"`

	// Whether the sales unit is inactive, or not connected to the partner: the
	// Management API does not know it.
	Inactive bool `json:"inactive,omitempty"`
}

// User is a person with the Vipps or MobilePay app.
type User struct {
	// Full name. Its last word is the family name.
	Name string `json:"name,omitempty"`

	// Country code and number, digits only. No two users share one.
	PhoneNumber string `json:"phone_number,omitempty"`

	// Email address. Default: none, and then the claim is missing.
	Email string `json:"email,omitempty"`

	// Date of birth as YYYY-MM-DD. Default: none, and then the claim is
	// missing.
	Birthdate string `json:"birthdate,omitempty"`

	// Gender, as the userinfo endpoint gives it. Default: none, and then the
	// claim is missing.
	Gender string `json:"gender,omitempty"`

	// National identity number. Default: none, and then the claim is missing.
	NIN string `json:"nin,omitempty"`

	// What a merchant has in place of the phone number when the customer has
	// shown a QR code: letters, digits, `.`, `_`, `~` and `-`. No two users
	// share one. Default: none.
	CustomerToken string `json:"customer_token,omitempty"`

	// Whether the app is too old for a login from a phone number.
	OldApp bool `json:"old_app,omitempty"`

	// Whether the account is closed: nobody can log in with it.
	Closed bool `json:"closed,omitempty"`

	// The first is the address claim, the rest other_addresses. Default: none,
	// and then the address claim holds empty strings, as Vipps documents.
	Addresses []Address `json:"addresses,omitempty"`
}

// Address is one postal address of a user.
type Address struct {
	// Street and number. May hold line breaks.
	Street string `json:"street_address,omitempty"`

	// Postal code.
	PostalCode string `json:"postal_code,omitempty"`

	// Town.
	Region string `json:"region,omitempty"`

	// Country as two capital letters, like `NO`.
	Country string `json:"country,omitempty"`

	// `home` (default), `work` or `other`.
	Type string `json:"address_type,omitempty"`
}

// knownScopes is what Vipps MobilePay Login documents.
var knownScopes = []string{
	"openid", "name", "email", "phoneNumber", "address", "birthDate",
	"gender", "nin", "delegatedConsents", "customFlow",
}

// withDefaults is a copy of c with everything filled in, so that the caller's
// slices stay as they are.
func (c Config) withDefaults() Config {
	if c.TokenLifetime == 0 {
		c.TokenLifetime = caddy.Duration(24 * time.Hour)
	}
	if c.PollInterval == 0 {
		c.PollInterval = caddy.Duration(5 * time.Second)
	}
	if c.PhoneSigningAlg == "" {
		c.PhoneSigningAlg = algRS256
	}
	for _, manner := range []struct {
		value     *string
		otherwise string
	}{
		{&c.BasicForm, basicAny}, {&c.PhoneIDToken, tokenFull}, {&c.PhoneRequestID, requestIDDocumented},
		{&c.PhoneMSN, msnString}, {&c.ConsentJWT, jwtTwo},
	} {
		if *manner.value == "" {
			*manner.value = manner.otherwise
		}
	}
	if len(c.Users) == 0 {
		c.Users = DefaultUsers()
	}
	c.Users = slices.Clone(c.Users)
	for i := range c.Users {
		c.Users[i] = c.Users[i].withDefaults()
	}
	c.Merchants = slices.Clone(c.Merchants)
	for i := range c.Merchants {
		c.Merchants[i] = c.Merchants[i].withDefaults()
	}
	return c
}

func (m Merchant) withDefaults() Merchant {
	if m.Name == "" {
		m.Name = "Merchant " + m.MSN
	}
	if m.ClientID == "" {
		m.ClientID = derivedUUID("client_id", m.MSN)
	}
	m.RedirectURIs = slices.Clone(m.RedirectURIs)
	if len(m.Scopes) == 0 {
		m.Scopes = knownScopes
	}
	m.Scopes = slices.Clone(m.Scopes)
	if !slices.Contains(m.Scopes, "openid") {
		m.Scopes = append(m.Scopes, "openid")
	}
	return m
}

func (u User) withDefaults() User {
	u.Addresses = slices.Clone(u.Addresses)
	for i := range u.Addresses {
		if u.Addresses[i].Type == "" {
			u.Addresses[i].Type = "home"
		}
	}
	return u
}
