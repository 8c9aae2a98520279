package vippslogin

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unique"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// provisionHosts builds the host table: from the MSN that stands for the whole site, from the merchants,
// and from the merchants file.
func (h *Handler) provisionHosts(ctx caddy.Context) error {
	if h.MSN == "" && len(h.Merchants) == 0 && h.MerchantsFile == "" {
		return errors.New("no merchant: write the MSN behind the directive, or say `merchant <msn> <host>...` or `merchants <file>` in its block")
	}
	table := merchant.NewHosts()
	if err := h.addSiteHosts(ctx, table); err != nil {
		return err
	}
	if err := h.addMerchants(table); err != nil {
		return err
	}
	h.Merchants = nil // 100,000 of them would stay in memory twice
	if h.MerchantsFile != "" {
		return h.provisionMerchantsFile(table)
	}
	h.hosts.Store(table)
	return h.checkSiteKeys(table)
}

// addMerchants adds the merchants that the config itself names.
func (h *Handler) addMerchants(table *merchant.Hosts) error {
	for i := range h.Merchants {
		if err := h.Merchants[i].resolvePlaceholders(); err != nil {
			return fmt.Errorf("merchant %s: %w", h.Merchants[i].MSN, err)
		}
		unit, err := h.newSalesUnit(&h.Merchants[i])
		if err != nil {
			return fmt.Errorf("merchant %s: %w", h.Merchants[i].MSN, err)
		}
		if len(h.Merchants[i].Hosts) == 0 {
			return fmt.Errorf("merchant %s: no hosts: write the host names that belong to it", unit.MSN)
		}
		for _, host := range h.Merchants[i].Hosts {
			if err := table.Add(host, unit); err != nil {
				return fmt.Errorf("merchant %s: %w", unit.MSN, err)
			}
		}
	}
	return nil
}

// merchantOf is a line of a merchants file in the shape that the rules for merchants are about.
func merchantOf(l *merchant.Line) *Merchant {
	return &Merchant{MSN: l.MSN, ClientID: l.ClientID, ClientSecret: l.ClientSecret, Scopes: strings.Fields(l.Scope), Market: l.Market, Claims: strings.Fields(l.Claims), Audience: l.Audience}
}

func (h *Handler) newSalesUnit(m *Merchant) (*merchant.Unit, error) {
	unit := &merchant.Unit{MSN: m.MSN, Scope: h.scope, Market: h.Market, Claims: h.Claims, Audience: h.Audience}
	if len(m.Scopes) > 0 {
		unit.Scope = unique.Make(scopeParameter(m.Scopes)).Value() // many merchants ask for the same
	}
	if m.Market != "" {
		unit.Market = m.Market
	}
	if m.Audience != "" {
		unit.Audience = m.Audience
	}
	if len(m.Claims) > 0 {
		unit.Claims = m.Claims
	}
	if err := h.checkClaims(unit.Claims); err != nil {
		return nil, err
	}
	if err := errors.Join(checkScopes("scope", m.Scopes), oneOf("market", m.Market, markets)); err != nil {
		return nil, err
	}
	var err error
	if !merchant.IsMSN(m.MSN) {
		if unit.MSN, err = caddy.NewReplacer().ReplaceOrErr(m.MSN, true, true); err != nil || !merchant.IsMSN(unit.MSN) {
			return nil, fmt.Errorf("%q is not a Merchant Serial Number: write its 4 to 10 digits", m.MSN)
		}
	}
	if m.ClientID == "" && m.ClientSecret == "" {
		return unit, h.needPartnerKeys()
	}
	if unit.ClientID, err = resolveSecret(m.ClientID); err != nil {
		return nil, fmt.Errorf("client_id: %w", err)
	}
	if unit.ClientSecret, err = resolveSecret(m.ClientSecret); err != nil {
		return nil, fmt.Errorf("client_secret: %w", err)
	}
	return unit, nil
}

func (h *Handler) needPartnerKeys() error {
	if h.app.partnerKeys == (vipps.Keys{}) {
		return errors.New("no keys: set client_id, client_secret and subscription_key in the global option vipps_login, or client_id and client_secret of the merchant's own")
	}
	return nil
}

// addSiteHosts gives every host of the site to one MSN, where there is one.
func (h *Handler) addSiteHosts(ctx caddy.Context, table *merchant.Hosts) error {
	if h.MSN == "" {
		return nil
	}
	siteHosts, err := siteHosts(ctx, h.MSN)
	if err != nil {
		return err
	}
	// What is the same for every request is known now, and what it lacks as well.
	msn, err := caddy.NewReplacer().ReplaceOrErr(h.MSN, true, false)
	if err != nil {
		return fmt.Errorf("MSN %s: %w: set the variable or write the 4 to 10 digits", h.MSN, err)
	}
	if !strings.Contains(msn, "{") && !merchant.IsMSN(msn) {
		return fmt.Errorf("msn: %q is not a Merchant Serial Number: write its 4 to 10 digits", h.MSN)
	}
	if len(siteHosts) == 0 {
		return fmt.Errorf("MSN %s stands for every host of the site, and the site has no host names: give it host names, or say `merchant %s <host>...`", h.MSN, h.MSN)
	}
	table.Site = &merchant.Unit{MSN: msn, Scope: h.scope, Market: h.Market, Claims: h.Claims, Audience: h.Audience}
	for _, host := range siteHosts {
		if err := table.Add(host, table.Site); err != nil {
			return err
		}
	}
	return nil
}

// checkSiteKeys: hosts of the site that no merchant with keys of its own has taken need the partner's.
func (h *Handler) checkSiteKeys(table *merchant.Hosts) error {
	if table.Site == nil || !table.UsesSite() {
		return nil
	}
	return h.needPartnerKeys()
}

// siteHosts returns the host names of the site that is being provisioned: those of the host matcher of
// its top-level route, which a site block's addresses become.
//
// Caddy does not tell a handler which route it is in. It provisions routes in order and forgets their
// raw handlers one by one, so ours is the first of its server that still has them. Where several
// servers are, the one that holds a directive with our MSN is ours; where two hold one, their hosts
// belong to the same merchant.
func siteHosts(ctx caddy.Context, msn string) ([]string, error) {
	var hosts []string
	inSite := false
	for _, ancestor := range ctx.Modules() {
		app, ok := ancestor.(*caddyhttp.App)
		if !ok {
			continue
		}
		for _, server := range app.Servers {
			route := nextRoute(server)
			if route == nil || !slices.ContainsFunc(route.HandlersRaw, func(raw json.RawMessage) bool { return holdsDirective(raw, msn) }) {
				continue
			}
			inSite = true
			found := routeHosts(*route)
			if len(found) == 0 {
				return nil, nil // a site for every host
			}
			hosts = append(hosts, found...)
		}
	}
	if !inSite {
		return nil, fmt.Errorf("MSN %s stands for every host of the site around the directive, and a named route has no site around it: say `merchant %s <host>...` in its block", msn, msn)
	}
	return resolveHosts(hosts)
}

// nextRoute returns the route that Caddy is provisioning, or will next: error routes come last.
func nextRoute(server *caddyhttp.Server) *caddyhttp.Route {
	routes := server.Routes
	if server.Errors != nil {
		routes = slices.Concat(routes, server.Errors.Routes)
	}
	for i := range routes {
		if len(routes[i].HandlersRaw) > 0 {
			return &routes[i]
		}
	}
	return nil
}

// holdsDirective reports whether JSON of handlers holds, at any depth, our handler with that MSN.
func holdsDirective(raw json.RawMessage, msn string) bool {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) == nil {
		var name, its string
		_ = json.Unmarshal(object["handler"], &name) // other types are not ours
		_ = json.Unmarshal(object["msn"], &its)
		if name == "vipps_login" && its == msn {
			return true
		}
		for _, value := range object {
			if holdsDirective(value, msn) {
				return true
			}
		}
	}
	var list []json.RawMessage
	return json.Unmarshal(raw, &list) == nil && slices.ContainsFunc(list, func(raw json.RawMessage) bool { return holdsDirective(raw, msn) })
}

func resolveHosts(hosts []string) ([]string, error) {
	for i, host := range hosts {
		resolved, err := caddy.NewReplacer().ReplaceOrErr(host, true, true)
		if err != nil {
			return nil, fmt.Errorf("the site's host name %q: %w", host, err)
		}
		hosts[i] = resolved
	}
	slices.Sort(hosts)
	return slices.Compact(hosts), nil
}

func routeHosts(route caddyhttp.Route) []string {
	var hosts []string
	for _, set := range route.MatcherSets {
		for _, matcher := range set {
			if host, ok := matcher.(*caddyhttp.MatchHost); ok {
				hosts = append(hosts, *host...)
			}
		}
	}
	return hosts
}
