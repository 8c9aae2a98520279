package vippslogin

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"
)

func (h *Handler) unmarshalMerchant(d *caddyfile.Dispenser) error {
	var m Merchant
	args := d.RemainingArgs()
	if len(args) < 2 {
		return d.Errf("merchant takes an MSN and at least one host")
	}
	m.MSN, m.Hosts = args[0], args[1:]
	_, err := eachLine(d, d.Nesting(), func(name string) error {
		switch name {
		case "client_id":
			return oneArgument(d, &m.ClientID)
		case "client_secret":
			return oneArgument(d, &m.ClientSecret)
		case "scope":
			return someArguments(d, &m.Scopes)
		case "market":
			return oneArgument(d, &m.Market)
		case "claims":
			return someArguments(d, &m.Claims)
		case "audience":
			return oneArgument(d, &m.Audience)
		default:
			return d.Errf("unrecognized subdirective %q of merchant: use client_id, client_secret, scope, market, claims or audience", name)
		}
	})
	if err != nil {
		return err
	}
	h.Merchants = append(h.Merchants, m)
	return nil
}

func (h *Handler) unmarshalSession(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Err("session takes a block, with lifetime, idle_timeout or browser")
	}
	lines, err := eachLine(d, d.Nesting(), func(name string) error {
		switch name {
		case "lifetime":
			return duration(d, &h.Session.Lifetime)
		case "idle_timeout":
			return durationOrOff(d, &h.Session.IdleTimeout)
		case "browser":
			return flag(d, &h.Session.Browser)
		default:
			return d.Errf("unrecognized subdirective %q of session: use lifetime, idle_timeout or browser", name)
		}
	})
	if err != nil {
		return err
	}
	if lines == 0 {
		return d.Err("session takes a block, with lifetime, idle_timeout or browser")
	}
	return nil
}

func (h *Handler) unmarshalLogout(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Err("logout takes a block, with return_to or clear_site_data")
	}
	lines, err := eachLine(d, d.Nesting(), func(name string) error {
		switch name {
		case "return_to":
			return oneArgument(d, &h.Logout.ReturnTo)
		case "clear_site_data":
			return someArguments(d, &h.Logout.ClearSiteData)
		default:
			return d.Errf("unrecognized subdirective %q of logout: use return_to or clear_site_data", name)
		}
	})
	if err == nil && lines == 0 {
		err = d.Err("logout takes a block, with return_to or clear_site_data")
	}
	return err
}

func (h *Handler) unmarshalAssertion(d *caddyfile.Dispenser) error {
	h.Assertion = new(AssertionConfig)
	switch args := d.RemainingArgs(); {
	case len(args) > 1:
		return d.Err("assertion takes one header field, and a block if you like")
	case len(args) == 1:
		if args[0] == "" {
			return d.Err("assertion: the header field is empty")
		}
		h.Assertion.Header = args[0]
	}
	_, err := eachLine(d, d.Nesting(), func(name string) error {
		switch name {
		case "audience":
			return oneArgument(d, &h.Assertion.Audience)
		case "lifetime":
			return duration(d, &h.Assertion.Lifetime)
		case "claims":
			return someArguments(d, &h.Assertion.Claims)
		default:
			return d.Errf("unrecognized subdirective %q of assertion: use audience, lifetime or claims", name)
		}
	})
	return err
}

func (h *Handler) unmarshalSiteSession(d *caddyfile.Dispenser) error {
	h.SiteSession = new(SiteSessionConfig)
	if err := someArguments(d, &h.SiteSession.Cookies); err != nil {
		return err
	}
	_, err := eachLine(d, d.Nesting(), func(name string) error {
		if name == "keep_at_login" {
			return flag(d, &h.SiteSession.KeepAtLogin)
		}
		return d.Errf("unrecognized subdirective %q of site_session: use keep_at_login", name)
	})
	return err
}

// unmarshalRequire reads a requirement. Its matcher is mandatory: a forgotten one would apply to all requests.
func (h *Handler) unmarshalRequire(d httpcaddyfile.Helper) error {
	matcher, isMatcher, err := d.MatcherToken()
	if err != nil {
		return d.WrapErr(err)
	}
	if !isMatcher || d.CountRemainingArgs() > 0 {
		return d.Err("require takes one matcher: * for all requests, a path that begins with /, or a named matcher such as @adults")
	}
	var config RequireConfig
	if matcher != nil {
		config.Match = caddyhttp.RawMatcherSets{matcher}
	}
	lines, err := eachLine(d.Dispenser, d.Nesting(), func(name string) error {
		switch name {
		case "max_age":
			return duration(d.Dispenser, &config.MaxAge)
		case "scope":
			return someArguments(d.Dispenser, &config.Scopes)
		case "app_confirmation":
			return flag(d.Dispenser, &config.AppConfirmation)
		default:
			return d.Errf("unrecognized subdirective %q of require: use max_age, scope or app_confirmation", name)
		}
	})
	if err == nil && lines == 0 {
		err = d.Err("require takes a block behind its matcher, with max_age, scope or app_confirmation")
	}
	h.Require = append(h.Require, config)
	return err
}

func (h *Handler) unmarshalPhone(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Err("phone takes a block, with api_key")
	}
	h.Phone = new(PhoneConfig)
	lines, err := eachLine(d, d.Nesting(), func(name string) error {
		switch name {
		case "api_key":
			return someArguments(d, &h.Phone.APIKeys)
		case "scope":
			return someArguments(d, &h.Phone.Scopes)
		case "webhook_secret":
			return someArguments(d, &h.Phone.WebhookSecrets)
		case "countries":
			return someArguments(d, &h.Phone.Countries)
		case "accept_missing_msn":
			return flag(d, &h.Phone.AcceptMissingMSN)
		default:
			return d.Errf("unrecognized subdirective %q of phone: use api_key, scope, webhook_secret, countries or accept_missing_msn", name)
		}
	})
	if err != nil {
		return err
	}
	if lines == 0 {
		return d.Err("phone takes a block, with api_key")
	}
	return nil
}

func (h *Handler) unmarshalHeader(d *caddyfile.Dispenser) error {
	var field, claim string
	if !d.AllArgs(&field, &claim) {
		return d.Err("header takes a field and a claim, such as Remote-User sub")
	}
	if _, ok := h.Headers[field]; ok {
		return d.Errf("header %s is already set: a field shows one claim", field)
	}
	if h.Headers == nil {
		h.Headers = make(map[string]string)
	}
	h.Headers[field] = claim
	return nil
}

// seenOnce finds subdirectives that are repeated where one makes sense only.
type seenOnce map[string]bool

func (seen seenOnce) see(d *caddyfile.Dispenser, repeatable ...string) error {
	name := d.Val()
	for _, other := range repeatable {
		if name == other {
			return nil
		}
	}
	if seen[name] {
		return d.Errf("%s is already set: keep one of them", name)
	}
	seen[name] = true
	return nil
}

// eachLine reads the lines of a block, each of which may occur once and, unless withBlock names it, has no block of its own. It
// returns how many there are.
func eachLine(d *caddyfile.Dispenser, nesting int, read func(name string) error, withBlock ...string) (int, error) {
	once := seenOnce{}
	for d.NextBlock(nesting) {
		if err := once.see(d); err != nil {
			return 0, err
		}
		name := d.Val()
		if err := read(name); err != nil {
			return 0, err
		}
		if slices.Contains(withBlock, name) {
			continue
		}
		if err := noBlock(d, name); err != nil {
			return 0, err
		}
	}
	return len(once), nil
}

// oneArgument and the functions after it name the subdirective in their errors. Unlike d.ArgErr, they never quote an
// argument, which may be a secret.
func oneArgument(d *caddyfile.Dispenser, value *string) error {
	name := d.Val()
	if !d.AllArgs(value) || *value == "" {
		return d.Errf("%s takes one argument, and not an empty one", name)
	}
	return nil
}

func someArguments(d *caddyfile.Dispenser, values *[]string) error {
	name := d.Val()
	*values = d.RemainingArgs()
	if len(*values) == 0 || slices.Contains(*values, "") {
		return d.Errf("%s takes one argument or more, and no empty one", name)
	}
	return nil
}

func flag(d *caddyfile.Dispenser, value *bool) error {
	name := d.Val()
	if d.NextArg() {
		return d.Errf("%s takes no argument: it is on where it stands", name)
	}
	*value = true
	return nil
}

func duration(d *caddyfile.Dispenser, value *Duration) error {
	name, text := d.Val(), ""
	if !d.AllArgs(&text) {
		return d.Errf("%s takes one duration, such as 30m, 12h or 7d", name)
	}
	parsed, err := caddy.ParseDuration(text)
	if !strings.Contains(text, "{") && (err != nil || parsed <= 0) {
		return d.Errf("%s: %q is not a positive duration: write one such as 30m, 12h or 7d", name, text)
	}
	*value = Duration(text)
	return nil
}

func size(d *caddyfile.Dispenser, value *Size) error {
	name, text := d.Val(), ""
	if !d.AllArgs(&text) {
		return d.Errf("%s takes one size, such as 8KiB", name)
	}
	bytes, err := humanize.ParseBytes(text)
	if !strings.Contains(text, "{") && (err != nil || bytes == 0) {
		return d.Errf("%s: %q is not a size above zero: write one such as 8KiB", name, text)
	}
	*value = Size(text)
	return nil
}

// durationOrOff reads "off" as what it is in JSON: no duration.
func durationOrOff(d *caddyfile.Dispenser, value *Duration) error {
	if d.CountRemainingArgs() == 1 && d.NextArg() {
		if d.Val() == "off" {
			return nil
		}
		d.Prev()
	}
	return duration(d, value)
}

// noBlock refuses a block after a subdirective that takes none, also an empty one.
func noBlock(d *caddyfile.Dispenser, name string) error {
	err := d.Errf("%s takes no block", name)
	if d.NextBlock(d.Nesting()) || d.Val() == "}" && !d.Token().Quoted() {
		return err
	}
	return nil
}
