package vippslogin

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("vipps_login", parseGlobalOption)
	httpcaddyfile.RegisterDirective("vipps_login", parseDirective)
	// Where Caddy's own authentication is, so that everything that can tell about the user comes after.
	httpcaddyfile.RegisterDirectiveOrder("vipps_login", httpcaddyfile.Before, "basic_auth")
}

func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next() // the option's name, for the line
		return nil, d.Err("the global option vipps_login is already set: put everything into one block")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "vipps_login", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the partner from Caddyfile tokens. Syntax:
//
//	vipps_login {
//		environment      production|test|<base_url>
//		client_id        <id>
//		client_secret    <secret>
//		subscription_key <key>
//		cookie_secret    <secret> [<older_secret>...]
//		system           <name> [<version>]
//		mobilepay_until  <date>
//		metrics          per_merchant
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		return d.Err("the global option vipps_login takes a block and no argument")
	}
	_, err := eachLine(d, 0, func(name string) error {
		switch name {
		case "environment":
			return oneArgument(d, &a.Environment)
		case "client_id":
			return oneArgument(d, &a.ClientID)
		case "client_secret":
			return oneArgument(d, &a.ClientSecret)
		case "subscription_key":
			return oneArgument(d, &a.SubscriptionKey)
		case "cookie_secret":
			return someArguments(d, &a.CookieSecrets)
		case "system":
			return a.unmarshalSystem(d)
		case "mobilepay_until":
			return oneArgument(d, &a.MobilePayUntil)
		case "metrics":
			return a.unmarshalMetrics(d)
		default:
			return d.Errf("unrecognized subdirective %q: use environment, client_id, client_secret, subscription_key, cookie_secret, system, mobilepay_until or metrics", name)
		}
	})
	return err
}

func (a *App) unmarshalMetrics(d *caddyfile.Dispenser) error {
	var what string
	if !d.AllArgs(&what) || what != "per_merchant" {
		return d.Err("metrics takes per_merchant: the metrics are there without it, too")
	}
	a.Metrics = &MetricsConfig{PerMerchant: true}
	return nil
}

func (a *App) unmarshalSystem(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 || slices.Contains(args, "") {
		return d.Err("system takes a name, and a version if you like")
	}
	a.SystemName = args[0]
	if len(args) == 2 {
		a.SystemVersion = args[1]
	}
	return nil
}

// parseDirective keeps the matcher inside the handler: the endpoints and the removal of spoofed headers
// must see every request of the site.
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, h.WrapErr(err) // it names no line itself
	}
	handler := new(Handler)
	if matcher != nil {
		handler.Match = caddyhttp.RawMatcherSets{matcher}
	}
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return h.NewRoute(nil, handler), nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	vipps_login [<matcher>] [<msn>] {
//		merchant <msn> <host>... {
//			client_id     <id>
//			client_secret <secret>
//			scope         <scope>...
//			market        NO|DK|FI|SE
//		}
//		merchants          <file>
//		scope              <scope>...
//		on_unauthenticated redirect|deny|pass
//		base_path          <path>
//		session {
//			lifetime     <duration>
//			idle_timeout <duration>|off
//		}
//		public_origin   <origin>
//		header_prefix   <prefix>
//		header          <field> <claim>
//		header_encoding utf8|percent|base64url
//		market          NO|DK|FI|SE
//		require_app_confirmation
//		return_in_any_browser
//		error_pages on|off
//		phone {
//			api_key        <key>...
//			scope          <scope>...
//			webhook_secret <secret>...
//			countries      <code>...
//			accept_missing_msn
//		}
//		consent_webhook_secret <secret>...
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	args := d.RemainingArgs()
	switch len(args) {
	case 0:
	case 1:
		h.MSN = args[0]
	default:
		return d.Errf("too many arguments: one Merchant Serial Number, and `merchant <msn> <host>...` in the block for more")
	}
	once := seenOnce{}
	for d.NextBlock(0) {
		if err := once.see(d, "merchant", "header"); err != nil {
			return err
		}
		if err := h.unmarshalSubdirective(d); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) unmarshalSubdirective(d *caddyfile.Dispenser) error {
	name := d.Val()
	switch name {
	case "merchant":
		return h.unmarshalMerchant(d)
	case "session":
		return h.unmarshalSession(d)
	case "phone":
		return h.unmarshalPhone(d)
	}
	if err := h.unmarshalLine(d); err != nil {
		return err
	}
	return noBlock(d, name)
}

// unmarshalLine reads a subdirective that is one line.
func (h *Handler) unmarshalLine(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "merchants":
		return oneArgument(d, &h.MerchantsFile)
	case "scope":
		return someArguments(d, &h.Scopes)
	case "on_unauthenticated":
		return oneArgument(d, &h.OnUnauthenticated)
	case "base_path":
		return oneArgument(d, &h.BasePath)
	case "public_origin":
		return oneArgument(d, &h.PublicOrigin)
	case "header_prefix":
		return oneArgument(d, &h.HeaderPrefix)
	case "header":
		return h.unmarshalHeader(d)
	case "header_encoding":
		return oneArgument(d, &h.HeaderEncoding)
	case "market":
		return oneArgument(d, &h.Market)
	case "require_app_confirmation":
		return flag(d, &h.RequireAppConfirmation)
	case "return_in_any_browser":
		return flag(d, &h.ReturnInAnyBrowser)
	case "consent_webhook_secret":
		return someArguments(d, &h.ConsentWebhookSecrets)
	case "error_pages":
		return oneArgument(d, &h.ErrorPages)
	}
	return d.Errf("unrecognized subdirective %q: see the directive's syntax for the ones there are", d.Val())
}

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
		default:
			return d.Errf("unrecognized subdirective %q of merchant: use client_id, client_secret, scope or market", name)
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
		return d.Err("session takes a block, with lifetime or idle_timeout or both")
	}
	lines, err := eachLine(d, d.Nesting(), func(name string) error {
		switch name {
		case "lifetime":
			return duration(d, &h.Session.Lifetime)
		case "idle_timeout":
			return durationOrOff(d, &h.Session.IdleTimeout)
		default:
			return d.Errf("unrecognized subdirective %q of session: use lifetime or idle_timeout", name)
		}
	})
	if err != nil {
		return err
	}
	if lines == 0 {
		return d.Err("session takes a block, with lifetime or idle_timeout or both")
	}
	return nil
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

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*Handler)(nil)
)
