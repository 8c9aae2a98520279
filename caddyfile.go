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
	// Where Caddy's own authentication is, so that every directive that can use the identity comes after it.
	httpcaddyfile.RegisterDirectiveOrder("vipps_login", httpcaddyfile.Before, "basic_auth")
}

func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next() // the option's name, which has the line number
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
//		state            <engine> [{ ... }]
//		after_state_loss <refuse_sessions|keep_sessions>
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
		case "state":
			return a.unmarshalState(d)
		case "after_state_loss":
			return oneArgument(d, &a.AfterStateLoss)
		default:
			return d.Errf("unrecognized subdirective %q: use environment, client_id, client_secret, subscription_key, cookie_secret, system, mobilepay_until, metrics, state or after_state_loss", name)
		}
	}, "state")
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
	if err := handler.unmarshal(h); err != nil {
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
//			claims        <claim>...
//			audience      <client_id>
//		}
//		merchants          <file>
//		scope              <scope>...
//		claims             <claim>...
//		audience           <client_id>
//		on_unauthenticated redirect|deny|pass
//		base_path          <path>
//		session {
//			lifetime     <duration>
//			idle_timeout <duration>|off
//			browser
//		}
//		logout {
//			return_to       <path>
//			clear_site_data <data>...
//		}
//		public_origin   <origin>
//		assertion [<header>] {
//			audience <audience>
//			lifetime <duration>
//			claims   <claim>...
//		}
//		site_session    <cookie>... {
//			keep_at_login
//		}
//		header_prefix   <prefix>
//		header          <field> <claim>
//		header_limit    <size>
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
//		require <matcher> {
//			max_age <duration>
//			scope   <scope>...
//			app_confirmation
//		}
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return h.unmarshal(httpcaddyfile.Helper{Dispenser: d}) // it knows no named matchers
}

func (h *Handler) unmarshal(d httpcaddyfile.Helper) error {
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
		if err := once.see(d.Dispenser, "merchant", "header", "require"); err != nil {
			return err
		}
		if err := h.unmarshalSubdirective(d); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) unmarshalSubdirective(helper httpcaddyfile.Helper) error {
	d := helper.Dispenser
	name := d.Val()
	switch name {
	case "require":
		return h.unmarshalRequire(helper)
	case "merchant":
		return h.unmarshalMerchant(d)
	case "session":
		return h.unmarshalSession(d)
	case "logout":
		return h.unmarshalLogout(d)
	case "phone":
		return h.unmarshalPhone(d)
	case "assertion":
		return h.unmarshalAssertion(d)
	case "site_session":
		return h.unmarshalSiteSession(d)
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
	case "claims":
		return someArguments(d, &h.Claims)
	case "audience":
		return oneArgument(d, &h.Audience)
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
	case "header_limit":
		return size(d, &h.HeaderLimit)
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

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*Handler)(nil)
)
