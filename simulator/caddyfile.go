package simulator

import (
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("vipps_simulator", parseCaddyfile)
	httpcaddyfile.RegisterDirectiveOrder("vipps_simulator", httpcaddyfile.Before, "reverse_proxy")
}

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	err := handler.UnmarshalCaddyfile(h.Dispenser)
	return handler, err
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	vipps_simulator [<matcher>] {
//	    base_url       <url>
//	    partner        <client_id> <client_secret> <subscription_key>
//	    token_lifetime <duration>
//	    poll_interval  <duration>
//	    phone_signing_alg RS256|ES256
//	    phone_id_token   full|sparse
//	    phone_request_id auth_req_id|authReqId
//	    phone_msn        string|number|none
//	    basic_form       any|raw|encoded
//	    consent_jwt      two|two_dot|three
//	    hydra            no_store|last_tab|error_redirect|old_kid|userinfo_claims...
//	    merchant <msn> [<name>] {
//	        redirect_uri  <uri>...
//	        client_id     <id>
//	        client_secret <secret>
//	        scope         <scope>...
//	        ping_url      <url> <secret>
//	        consent_url   <url>
//	        without_login
//	        inactive
//	    }
//	    user <name> {
//	        phone_number <digits>
//	        email        <address>
//	        birthdate    <yyyy-mm-dd>
//	        gender       <gender>
//	        nin          <number>
//	        customer_token <token>
//	        old_app
//	        closed
//	        address      <street> <postal code> <region> <country> [home|work|other]
//	    }
//	}
//
// merchant and user can be repeated, and so can address in a user and
// redirect_uri in a merchant.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := once{}
	for d.NextBlock(0) {
		if err := h.unmarshalOption(d, seen); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser, seen once) error {
	switch d.Val() {
	case "merchant":
		return h.unmarshalMerchant(d)
	case "user":
		return h.unmarshalUser(d)
	case "base_url":
		return seen.args(d, &h.BaseURL)
	case "partner":
		return seen.args(d, &h.Partner.ClientID, &h.Partner.ClientSecret, &h.Partner.SubscriptionKey)
	case "token_lifetime":
		return seen.duration(d, &h.TokenLifetime, "24h")
	case "poll_interval":
		return seen.duration(d, &h.PollInterval, "5s")
	case "hydra":
		return seen.words(d, &h.Hydra)
	}
	if option := map[string]*string{
		"phone_signing_alg": &h.PhoneSigningAlg, "phone_id_token": &h.PhoneIDToken, "phone_request_id": &h.PhoneRequestID,
		"phone_msn": &h.PhoneMSN, "basic_form": &h.BasicForm, "consent_jwt": &h.ConsentJWT,
	}[d.Val()]; option != nil {
		return seen.args(d, option)
	}
	return d.Errf("unrecognized subdirective %q", d.Val())
}

func (h *Handler) unmarshalMerchant(d *caddyfile.Dispenser) error {
	var m Merchant
	args := d.RemainingArgs()
	switch len(args) {
	case 2:
		m.Name = args[1]
		fallthrough
	case 1:
		m.MSN = args[0]
	default:
		return d.ArgErr()
	}
	sameMSN := func(other Merchant) bool { return other.MSN == m.MSN }
	if slices.ContainsFunc(h.Merchants, sameMSN) {
		return d.Errf("merchant %s is there twice; put all its redirect URIs into one block", m.MSN)
	}
	seen := once{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := m.unmarshalOption(d, seen); err != nil {
			return err
		}
	}
	h.Merchants = append(h.Merchants, m)
	return nil
}

func (m *Merchant) unmarshalOption(d *caddyfile.Dispenser, seen once) error {
	switch d.Val() {
	case "redirect_uri":
		uris := d.RemainingArgs()
		if len(uris) == 0 {
			return d.ArgErr()
		}
		m.RedirectURIs = append(m.RedirectURIs, uris...)
		return noBlock(d)
	case "client_id":
		return seen.args(d, &m.ClientID)
	case "client_secret":
		return seen.args(d, &m.ClientSecret)
	case "ping_url":
		return seen.args(d, &m.PingURL, &m.PingSecret)
	case "consent_url":
		return seen.args(d, &m.ConsentURL)
	case "without_login":
		m.WithoutLogin = true
		return seen.args(d)
	case "inactive":
		m.Inactive = true
		return seen.args(d)
	case "scope":
		return seen.words(d, &m.Scopes)
	}
	return d.Errf("unrecognized subdirective of merchant: %q", d.Val())
}

func (h *Handler) unmarshalUser(d *caddyfile.Dispenser) error {
	var u User
	if !d.AllArgs(&u.Name) {
		return d.ArgErr()
	}
	seen := once{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := u.unmarshalOption(d, seen); err != nil {
			return err
		}
	}
	h.Users = append(h.Users, u)
	return nil
}

func (u *User) unmarshalOption(d *caddyfile.Dispenser, seen once) error {
	switch d.Val() {
	case "phone_number":
		return seen.args(d, &u.PhoneNumber)
	case "email":
		return seen.args(d, &u.Email)
	case "birthdate":
		return seen.args(d, &u.Birthdate)
	case "gender":
		return seen.args(d, &u.Gender)
	case "nin":
		return seen.args(d, &u.NIN)
	case "customer_token":
		return seen.args(d, &u.CustomerToken)
	case "old_app":
		u.OldApp = true
		return seen.args(d)
	case "closed":
		u.Closed = true
		return seen.args(d)
	case "address":
		args := d.RemainingArgs()
		if len(args) != 4 && len(args) != 5 {
			return d.ArgErr()
		}
		a := Address{Street: args[0], PostalCode: args[1], Region: args[2], Country: args[3]}
		if len(args) == 5 {
			a.Type = args[4]
		}
		u.Addresses = append(u.Addresses, a)
		return noBlock(d)
	}
	return d.Errf("unrecognized subdirective of user: %q", d.Val())
}

// once remembers which subdirectives of a block have been there.
type once map[string]bool

func (o once) mark(d *caddyfile.Dispenser) error {
	if o[d.Val()] {
		return d.Errf("%s is there twice; write it once", d.Val())
	}
	o[d.Val()] = true
	return nil
}

// args reads a subdirective that is there once and has exactly these
// arguments.
func (o once) args(d *caddyfile.Dispenser, targets ...*string) error {
	if err := o.mark(d); err != nil {
		return err
	}
	if !d.AllArgs(targets...) {
		return d.ArgErr()
	}
	return noBlock(d)
}

// words reads a subdirective that is there once and has one argument or more.
func (o once) words(d *caddyfile.Dispenser, target *[]string) error {
	if err := o.mark(d); err != nil {
		return err
	}
	if *target = d.RemainingArgs(); len(*target) == 0 {
		return d.ArgErr()
	}
	return noBlock(d)
}

// duration is args for one duration. example is what the message suggests.
func (o once) duration(d *caddyfile.Dispenser, target *caddy.Duration, example string) error {
	name := d.Val()
	var text string
	if err := o.args(d, &text); err != nil {
		return err
	}
	value, err := caddy.ParseDuration(text)
	if err != nil || value <= 0 {
		return d.Errf("%s: %q is not a positive duration; write it like %s", name, text, example)
	}
	*target = caddy.Duration(value)
	return nil
}

// noBlock refuses a block, even an empty one, behind a subdirective that takes
// none.
func noBlock(d *caddyfile.Dispenser) error {
	subdirective := d.Val()
	if d.Next() {
		if d.Val() == "{" {
			return d.Errf("no block belongs behind %q", subdirective)
		}
		d.Prev()
	}
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
