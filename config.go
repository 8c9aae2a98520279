package vippslogin

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"
)

// PhoneConfig sets up logins from a phone number, for a merchant's own systems.
type PhoneConfig struct {
	// APIKeys are what callers send as Authorization: Bearer, at least 32 characters each. Several make
	// rotation possible. Placeholders are resolved when the config is loaded.
	APIKeys []string `json:"api_keys"`

	// Scopes are the scopes of a phone login where the caller names none. Default: the merchant's.
	Scopes []string `json:"scopes,omitempty"`

	// WebhookSecrets are those of Vipps MobilePay's webhooks, for pings. Several make rotation possible.
	// Placeholders are resolved when the config is loaded. Default: none, and no webhook endpoint.
	WebhookSecrets []string `json:"webhook_secrets,omitempty"`

	// Countries are the country codes of the numbers that can log in, such as "47". Other numbers are refused before Vipps
	// MobilePay is called. Default: 47, 45, 46, 358 and 299, which Vipps MobilePay serves.
	Countries []string `json:"countries,omitempty"`

	// AcceptMissingMSN accepts an ID token without an msn in the answer to a poll. Look at one real login first: see the
	// documentation. An ID token with another msn is always refused. Default: false.
	AcceptMissingMSN bool `json:"accept_missing_msn,omitempty"`
}

// phoneSecrets are the secrets of PhoneConfig, resolved.
type phoneSecrets struct {
	apiKeys        [][sha256.Size]byte
	webhookSecrets []string
}

// RequireConfig is what some requests need beyond a session. It says at least one of MaxAge, Scopes and AppConfirmation.
type RequireConfig struct {
	// Match selects the requests, also those that need no login by the handler's own Match. Default: all.
	Match caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// MaxAge is how long ago the login was completed, at most: a second or more. Default: any time.
	MaxAge Duration `json:"max_age,omitempty"`

	// Scopes are the scopes that a login must have asked for, whether the user consented or not. Default: none.
	Scopes []string `json:"scopes,omitempty"`

	// AppConfirmation requires that the login was confirmed in the app, even in a remembered browser. Default: false.
	AppConfirmation bool `json:"app_confirmation,omitempty"`
}

// Merchant is one sales unit and its hosts.
type Merchant struct {
	// MSN is the sales unit's Merchant Serial Number, 4 to 10 digits.
	MSN string `json:"msn"`

	// Hosts are the host names that belong to it; "*.example.no" is one label, as in Caddy's host
	// matcher. An exact host wins over a wildcard.
	Hosts []string `json:"hosts"`

	// ClientID and ClientSecret are the sales unit's own keys, in place of the partner's. Placeholders
	// are resolved when the config is loaded.
	ClientID     string `json:"client_id,omitempty"`
	ClientSecret string `json:"client_secret,omitempty"`

	// Scopes, Market, Claims and Audience are as in the handler, for this merchant alone.
	Scopes   []string `json:"scopes,omitempty"`
	Market   string   `json:"market,omitempty"`
	Claims   []string `json:"claims,omitempty"`
	Audience string   `json:"audience,omitempty"`
}

// SessionConfig says how long a session lasts.
type SessionConfig struct {
	// Lifetime is how long after the login it ends, whatever happens. Default: 12h.
	Lifetime Duration `json:"lifetime,omitempty"`

	// IdleTimeout is how long after the last request it ends. Default: off (0).
	IdleTimeout Duration `json:"idle_timeout,omitempty"`

	// Browser makes the cookies end with the browser session, for shared computers. Default: they last as long as the session.
	Browser bool `json:"browser,omitempty"`
}

// LogoutConfig sets up what a logout does besides ending the session.
type LogoutConfig struct {
	// ReturnTo is the path that a logout leads to where the request has no return_to. Default: /.
	ReturnTo string `json:"return_to,omitempty"`

	// ClearSiteData lists what the browser is told to clear, over HTTPS: cache, cookies, storage, executionContexts or *.
	// Default: nothing.
	ClearSiteData []string `json:"clear_site_data,omitempty"`
}

// SiteSessionConfig binds session cookies of the site's own to the user they were set for.
type SiteSessionConfig struct {
	// Cookies are their names, such as PHPSESSID.
	Cookies []string `json:"cookies"`

	// KeepAtLogin binds a visitor's cookies to the user at a login that replaces no session. The site must renew its session
	// id at login: see the documentation. Default: false.
	KeepAtLogin bool `json:"keep_at_login,omitempty"`
}

// AssertionConfig sets up a signed proof of who the user is, for sites that check it.
type AssertionConfig struct {
	// Header is the name of its header field. Default: X-Vipps-Assertion.
	Header string `json:"header,omitempty"`

	// Audience is its aud claim. Default: the site's public origin, such as https://shop.example.no, which is its iss too.
	Audience string `json:"audience,omitempty"`

	// Lifetime is how long an assertion is valid after it was signed, 2s to 1h. Those that a site gets are valid for at least
	// half of it.
	// Default: 1m.
	Lifetime Duration `json:"lifetime,omitempty"`

	// Claims are the claims of userinfo that it has besides sub and msn. Default: none.
	Claims []string `json:"claims,omitempty"`
}

// Duration is a length of time in a config: text such as "90s", "12h" or "7d", in which placeholders are resolved when
// the config is loaded. In JSON, a number of nanoseconds is understood as well; 0 is the default.
type Duration string

// UnmarshalJSON reads text or a number of nanoseconds.
func (d *Duration) UnmarshalJSON(value []byte) error {
	var nanoseconds int64
	if json.Unmarshal(value, &nanoseconds) == nil {
		*d = ""
		if nanoseconds != 0 {
			*d = Duration(time.Duration(nanoseconds).String())
		}
		return nil
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		return errors.New("it is no duration: write text such as \"12h\", or a number of nanoseconds")
	}
	*d = Duration(text)
	return nil
}

// resolve returns the duration, or otherwise where there is none.
func (d Duration) resolve(name string, otherwise time.Duration) (time.Duration, error) {
	text := string(d)
	if text == "" {
		return otherwise, nil
	}
	if err := resolveText(name, &text); err != nil {
		return 0, err
	}
	parsed, err := caddy.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a duration: write one such as 30m, 12h or 7d", name, text)
	}
	return parsed, nil
}

// Size is a number of bytes in a config: text such as "8KiB" or "8000", in which placeholders are resolved when the config
// is loaded. In JSON, a number of bytes is understood as well.
type Size string

// UnmarshalJSON reads text or a number of bytes.
func (s *Size) UnmarshalJSON(value []byte) error {
	var bytes int64
	if json.Unmarshal(value, &bytes) == nil && string(value) != "null" {
		*s = Size(strconv.FormatInt(bytes, 10)) // 0 as well: it is a mistake rather than the default
		return nil
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		return errors.New("it is no size: write text such as \"8KiB\", or a number of bytes")
	}
	*s = Size(text)
	return nil
}

// resolve returns the size in bytes, or otherwise where there is none.
func (s Size) resolve(name string, otherwise int) (int, error) {
	text := string(s)
	if text == "" {
		return otherwise, nil
	}
	if err := resolveText(name, &text); err != nil {
		return 0, err
	}
	bytes, err := humanize.ParseBytes(text)
	if err != nil || bytes > math.MaxInt32 {
		return 0, fmt.Errorf("%s: %q is not a size: write one such as 8KiB, or a number of bytes", name, text)
	}
	return int(bytes), nil
}

// resolveOrOff is resolve for what may be "off", which is the default.
func (d Duration) resolveOrOff(name string) (time.Duration, error) {
	text := string(d)
	if text == "" {
		return 0, nil
	}
	if err := resolveText(name, &text); err != nil || text == "off" {
		return 0, err
	}
	return Duration(text).resolve(name, 0)
}

// defaultHeaderLimit is what Tomcat and others take, in bytes.
const defaultHeaderLimit = 8 << 10

func (h *Handler) provisionHeaderLimit() (err error) {
	if h.headerLimit, err = h.HeaderLimit.resolve("header_limit", h.headerLimit); err != nil {
		return err
	}
	if h.headerLimit <= 0 {
		return errors.New("header_limit: it must be a size above zero, such as 8KiB")
	}
	return nil
}
