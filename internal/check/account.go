package check

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// partnerAccount has the partner's sales units, from the Management API, and the registrations of pings, from the Webhooks API.
// Logins need neither, so no check fails if they cannot be read.
type partnerAccount struct {
	units       map[string]string // names by MSN; nil: not known
	unitsErr    error             // why the list could not be read; nil: it was, or need not be
	webhooks    []vipps.Webhook   // the partner's own, for all of its sales units
	webhooksErr error
}

var errNoPartner = errors.New("only partner keys that were accepted can read the registrations")

// readAccount reads both. Partner keys and the Management API work in production only.
func (c *Checker) readAccount(ctx context.Context) {
	if c.client.Keys == (vipps.Keys{}) || c.noToken || c.client.Base == vipps.TestURL {
		c.account.webhooksErr = errNoPartner
		return
	}
	units, err := c.client.SalesUnits(ctx)
	if c.account.unitsErr = err; err == nil {
		c.account.units = make(map[string]string, len(units))
		for _, unit := range units {
			c.account.units[unit.MSN] = unit.Name
		}
	}
	c.account.webhooks, c.account.webhooksErr = c.client.Webhooks(ctx, nil)
}

// name returns the name of a sales unit; "" where it is not known.
func (a *partnerAccount) name(msn string) string { return OneLine(a.units[msn]) }

var (
	errNotReached = errors.New("the sales unit is inactive, or not connected to you")
	errReached    = errors.New("the sales unit is connected to you")
)

// explained adds to a refusal whether the partner reaches the sales unit at all.
func (c *Checker) explained(err error, t *Target) error {
	refused := errors.Is(err, vipps.ErrKeysRefused) || errors.Is(err, vipps.ErrNotConnected) || errors.Is(err, vipps.ErrPageRefused)
	if !refused || c.account.units == nil || t.Unit.HasOwnKeys() {
		return err
	}
	if _, reached := c.account.units[t.Unit.MSN]; reached {
		return fmt.Errorf("%w; %w, as %q", err, errReached, c.account.name(t.Unit.MSN))
	}
	return fmt.Errorf("%w; %w", err, errNotReached)
}

var errOtherAudience = errors.New("the client_id of the sales unit is not the audience of the config")

// audience compares the client_id that Vipps MobilePay has shown with the one that the config pins.
func (c *Checker) audience(t *Target) []Finding {
	if t.Unit.Audience == "" || t.shownClientID == "" {
		return nil
	}
	var err error
	if t.Unit.Audience != t.shownClientID {
		err = fmt.Errorf("%w: Vipps MobilePay shows %q", errOtherAudience, OneLine(t.shownClientID))
	}
	return []Finding{c.judge(aboutAudience, err, "as Vipps MobilePay's redirect shows it", t)}
}

var (
	errNoRegistration = errors.New("no registration of the ping has this address, or that of another host of the config")
	errNoSecret       = errors.New("a registration of the ping has an address at this host, and the site has no webhook_secret")
)

// takesPing reports whether a registration sends the ping to a host of the config that takes it. Whichever host that is, the
// ping is for all logins of the config.
func (c *Checker) takesPing(w vipps.Webhook) bool {
	return isPing(w) && slices.Contains(c.pings, w.URL)
}

// webhook checks whether a registration of the partner or of the sales unit sends the ping to a host of the config.
func (c *Checker) webhook(ctx context.Context, t *Target) []Finding {
	switch {
	case t.WebhookURL == "" && !slices.ContainsFunc(c.account.webhooks, func(w vipps.Webhook) bool { return isAtHost(w, t) }):
		return nil
	case t.WebhookURL == "":
		return []Finding{asWarning(c.judge(aboutWebhook, errNoSecret, "", t))}
	case t.Unit.HasOwnKeys():
		return []Finding{notChecked(aboutWebhook, errNoPartner.Error())}
	case c.account.webhooksErr != nil:
		return []Finding{notChecked(aboutWebhook, c.account.webhooksErr.Error())}
	}
	if i := slices.IndexFunc(c.account.webhooks, c.takesPing); i >= 0 {
		return []Finding{c.judge(aboutWebhook, nil, OneLine(c.account.webhooks[i].URL)+" is registered, for all sales units", t)}
	}
	var found []vipps.Webhook
	err := c.patiently(ctx, func() (err error) {
		found, err = c.client.Webhooks(ctx, t.Unit)
		return err
	})
	if err == nil && !slices.ContainsFunc(found, c.takesPing) {
		err = fmt.Errorf("%w: %s", errNoRegistration, t.WebhookURL)
	}
	return []Finding{asWarning(c.judgeURI(aboutWebhook, err, "one of the sales unit's own is registered", t, t.WebhookURL))}
}

func isPing(w vipps.Webhook) bool { return slices.Contains(w.Events, vipps.PingEvent) }

// isAtHost reports whether a ping is sent to a host of the config.
func isAtHost(w vipps.Webhook, t *Target) bool {
	u, err := url.Parse(w.URL)
	return err == nil && isPing(w) && u.Host == hostOf(t.RedirectURI)
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}
