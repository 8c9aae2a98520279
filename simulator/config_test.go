package simulator

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Every mistake is refused by a message with the field and the fix.
func TestConfigMistakes(t *testing.T) {
	merchant := func(change func(*Merchant)) func(*Config) {
		return func(c *Config) { change(&c.Merchants[1]) }
	}
	user := func(change func(*User)) func(*Config) {
		return func(c *Config) {
			c.Users = []User{{Name: "A B", PhoneNumber: "4711111111", CustomerToken: "token"}, {Name: "C D", PhoneNumber: "4722222222"}}
			change(&c.Users[1])
		}
	}
	redirect := func(uri string) func(*Config) {
		return merchant(func(m *Merchant) { m.RedirectURIs = []string{gymCallback, uri} })
	}
	ping := func(url, secret string) func(*Config) {
		return merchant(func(m *Merchant) { m.PingURL, m.PingSecret = url, secret })
	}
	address := func(a Address) func(*Config) {
		return user(func(u *User) { u.Addresses = []Address{a} })
	}
	tests := map[string]struct {
		change func(*Config)
		want   []string
	}{
		"base URL with path":      {func(c *Config) { c.BaseURL = "http://localhost:8090/" }, []string{"base_url", "path"}},
		"base URL elsewhere":      {func(c *Config) { c.BaseURL = "https://api.vipps.no" }, []string{"base_url", "loopback"}},
		"base URL of no scheme":   {func(c *Config) { c.BaseURL = "localhost:8090" }, []string{"base_url", "http://"}},
		"half a partner":          {func(c *Config) { c.Partner.SubscriptionKey = "" }, []string{"partner", "subscription_key", "none of them"}},
		"short token lifetime":    {func(c *Config) { c.TokenLifetime = caddy.Duration(time.Second) }, []string{"token_lifetime", "2s or more"}},
		"negative token lifetime": {func(c *Config) { c.TokenLifetime = -1 }, []string{"token_lifetime", "2s or more"}},
		"poll interval under 1s":  {func(c *Config) { c.PollInterval = caddy.Duration(time.Millisecond) }, []string{"poll_interval", "whole seconds"}},
		"negative poll interval":  {func(c *Config) { c.PollInterval = caddy.Duration(-time.Second) }, []string{"poll_interval", "use 1s"}},
		"part of a second":        {func(c *Config) { c.PollInterval = caddy.Duration(1500 * time.Millisecond) }, []string{"poll_interval", "whole seconds"}},
		"unknown algorithm":       {func(c *Config) { c.PhoneSigningAlg = "none" }, []string{"phone_signing_alg", "RS256 or ES256"}},
		"ping without secret":     {ping("http://a.localhost/", ""), []string{"merchants[1]: ping_url", "ping_secret"}},
		"secret without ping":     {ping("", "x"), []string{"merchants[1]: ping_url", "ping_secret"}},
		"ping elsewhere":          {ping("https://example.com/", "x"), []string{"merchants[1]: ping_url", "loopback"}},
		"ping of no scheme":       {ping("a.localhost", "x"), []string{"merchants[1]: ping_url", "http://"}},
		"ping with query":         {ping("http://a.localhost/?a", "x"), []string{"merchants[1]: ping_url", "query"}},
		"customer token twice":    {user(func(u *User) { u.CustomerToken = "token" }), []string{"users[1]: customer_token", "twice"}},
		"customer token of words": {user(func(u *User) { u.CustomerToken = "a b" }), []string{"users[1]: customer_token", "letters"}},
		"no merchants":            {func(c *Config) { c.Merchants = nil }, []string{"merchants", "at least one"}},
		"MSN of 3 digits":         {merchant(func(m *Merchant) { m.MSN = "123" }), []string{"merchants[1]: msn", "4 to 10 digits"}},
		"MSN of 11 digits":        {merchant(func(m *Merchant) { m.MSN = "12345678901" }), []string{"merchants[1]: msn", "4 to 10 digits"}},
		"MSN with a line break":   {merchant(func(m *Merchant) { m.MSN = "123456\n" }), []string{"merchants[1]: msn"}},
		"MSN twice":               {merchant(func(m *Merchant) { m.MSN = "123456" }), []string{"merchants[1]: msn", "twice"}},
		"client_id twice":         {merchant(func(m *Merchant) { m.ClientID = "shop-id" }), []string{"merchants[1]: client_id", "give each its own"}},
		"the partner's client_id": {merchant(func(m *Merchant) { m.ClientID = "partner-id" }), []string{"merchants[1]: client_id", "give each its own"}},
		"unknown scope":           {merchant(func(m *Merchant) { m.Scopes = []string{"phone"} }), []string{"merchants[1]: scopes", `"phone"`, "phoneNumber"}},
		"no redirect URI":         {merchant(func(m *Merchant) { m.RedirectURIs = nil }), []string{"merchants[1]: redirect_uris", "234567"}},
		"redirect with query":     {redirect("http://a.localhost/?b"), []string{"redirect_uris[1]", "query"}},
		"redirect with fragment":  {redirect("http://a.localhost/#"), []string{"redirect_uris[1]", "fragment"}},
		"redirect without scheme": {redirect("//a.localhost/"), []string{"redirect_uris[1]", "http://"}},
		"redirect to an app":      {redirect("shop-app://callback"), []string{"redirect_uris[1]", "http://"}},
		"redirect without host":   {redirect("http:///callback"), []string{"redirect_uris[1]", "host"}},
		"redirect with user":      {redirect("http://a@b.localhost/"), []string{"redirect_uris[1]", "host"}},
		"redirect into policy":    {redirect("http://a.localhost;b/"), []string{"redirect_uris[1]", "host"}},
		"redirect not a URL":      {redirect("http://a b/"), []string{"redirect_uris[1]", "not a URL"}},
		"no name":                 {user(func(u *User) { u.Name = " " }), []string{"users[1]: name"}},
		"phone number with plus":  {user(func(u *User) { u.PhoneNumber = "+4712345678" }), []string{"users[1]: phone_number", "4712345678"}},
		"phone number twice":      {user(func(u *User) { u.PhoneNumber = "4711111111" }), []string{"users[1]: phone_number", "twice"}},
		"no such day":             {user(func(u *User) { u.Birthdate = "1990-02-30" }), []string{"users[1]: birthdate", "1990-05-17"}},
		"country in words":        {address(Address{Country: "Norge", Type: "home"}), []string{"users[1]: addresses[0]: country", "NO"}},
		"unknown address type":    {address(Address{Country: "NO", Type: "boat"}), []string{"addresses[0]: address_type", "home, work or other"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			config := testConfig()
			test.change(&config)
			_, err := New(config)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	scopes := append(make([]string, 0, 2), "name")
	config := Config{Merchants: []Merchant{
		{MSN: "123456", RedirectURIs: []string{shopCallback}},
		{MSN: "234567", RedirectURIs: []string{gymCallback}, Scopes: scopes},
	}}
	a, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	if id := a.merchants[0].ClientID; len(id) != 36 || id != b.merchants[0].ClientID {
		t.Errorf("client_id %q and %q, want one UUID", id, b.merchants[0].ClientID)
	}
	if a.merchants[0].Name != "Merchant 123456" || !slices.Equal(a.merchants[0].Scopes, knownScopes) {
		t.Errorf("got %+v", a.merchants[0])
	}
	if got := a.merchants[1].Scopes; !slices.Equal(got, []string{"name", "openid"}) || scopes[:2][1] != "" {
		t.Errorf("scopes are %v, and the caller's %v", got, scopes[:2])
	}
	if config.Merchants[0].ClientID != "" || config.Merchants[0].Scopes != nil {
		t.Errorf("New changed the caller's config: %+v", config)
	}
}

// The built-in users keep what they are there for.
func TestDefaultUsers(t *testing.T) {
	has := map[string]bool{}
	for _, u := range DefaultUsers() {
		born, err := time.Parse(time.DateOnly, u.Birthdate)
		if err != nil {
			t.Error(err)
		}
		has["not of age"] = has["not of age"] || born.AddDate(18, 0, 0).After(time.Now())
		has["no address"] = has["no address"] || len(u.Addresses) == 0
		has["three addresses"] = has["three addresses"] || len(u.Addresses) == 3
		has["Norwegian letters"] = has["Norwegian letters"] || strings.ContainsAny(u.Name, "øÆÅ")
		has["app too old"] = has["app too old"] || u.OldApp
		has["customer token"] = has["customer token"] || u.CustomerToken != ""
		has["from "+u.PhoneNumber[:2]] = true
	}
	for _, want := range []string{"not of age", "no address", "three addresses", "Norwegian letters", "app too old", "customer token", "from 47", "from 45", "from 35"} {
		if !has[want] {
			t.Errorf("no user is %q", want)
		}
	}
}
