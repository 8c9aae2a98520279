package vippslogin

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unique"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/placement"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// provisionHosts builds the host table, from the MSN of the whole site, the merchants, and the merchants file.
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
	h.Merchants = nil // else 100,000 of them would be in memory twice
	if h.MerchantsFile != "" {
		return h.provisionMerchantsFile(table)
	}
	h.hosts.Store(table)
	return h.checkSiteKeys(table)
}

// addMerchants adds the merchants of the config.
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

// merchantOf converts a line of a merchants file, so that the same rules apply to it.
func merchantOf(l *merchant.Line) *Merchant {
	return &Merchant{MSN: l.MSN, ClientID: l.ClientID, ClientSecret: l.ClientSecret, Scopes: strings.Fields(l.Scope), Market: l.Market, Claims: strings.Fields(l.Claims), Audience: l.Audience}
}

func (h *Handler) newSalesUnit(m *Merchant) (*merchant.Unit, error) {
	unit := &merchant.Unit{MSN: m.MSN, Scope: h.scope, Market: h.Market, Claims: h.Claims, Audience: h.Audience}
	if len(m.Scopes) > 0 {
		unit.Scope = unique.Make(scopeParameter(m.Scopes)).Value() // many merchants have the same
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

// addSiteHosts adds every host of the site for the directive's MSN, if it has one.
func (h *Handler) addSiteHosts(ctx caddy.Context, table *merchant.Hosts) error {
	if h.MSN == "" {
		return nil
	}
	siteHosts, err := placement.SiteHosts(ctx, h.MSN)
	if err != nil {
		return err
	}
	// Placeholders that do not depend on the request are resolved now: an unset one is an error.
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

// checkSiteKeys refuses a site without partner keys, unless merchants with keys of their own have all of its hosts.
func (h *Handler) checkSiteKeys(table *merchant.Hosts) error {
	if table.Site == nil || !table.UsesSite() {
		return nil
	}
	return h.needPartnerKeys()
}

// provisionMerchantsFile reads the file. If that fails, the config is not loaded: no host would have a merchant.
func (h *Handler) provisionMerchantsFile(configured *merchant.Hosts) error {
	path, err := caddy.NewReplacer().ReplaceOrErr(h.MerchantsFile, true, true)
	if err != nil {
		return fmt.Errorf("merchants: %w: set the variable or write the file's path", err)
	}
	file := &merchant.File{Path: path, Report: func(hosts int, err error) { reportMerchantsFile(h.logger, path, hosts, err) }}
	file.Swap = func(table *merchant.Hosts) {
		h.hosts.Store(table)
		h.app.sharedHosts.Changed()
	}
	file.Build = func(content io.Reader) (*merchant.Hosts, int, error) {
		table := configured.Clone()
		hosts, err := h.addFromFile(path, content, table)
		if err == nil {
			err = h.checkSiteKeys(table)
		}
		return table, hosts, err
	}
	if err := file.Load(); err != nil {
		return fmt.Errorf("merchants: %w", err)
	}
	h.app.files = append(h.app.files, file)
	return nil
}

// reportMerchantsFile logs whether a version of a merchants file was taken.
func reportMerchantsFile(logger *zap.Logger, path string, hosts int, err error) {
	if err != nil {
		logger.Error("merchants file refused: the merchants are those of before", zap.String("file", path), zap.Error(err))
		return
	}
	logger.Info("merchants file read", zap.String("file", path), zap.Int("hosts", hosts))
}

// addFromFile adds the merchants of a file, one sales unit for all lines that say the same.
func (h *Handler) addFromFile(path string, content io.Reader, table *merchant.Hosts) (hosts int, err error) {
	units := make(map[merchant.Line]*merchant.Unit)
	return merchant.ReadFile(path, content, func(host string, l merchant.Line) error {
		unit := units[l]
		if unit == nil {
			var err error
			if unit, err = h.newSalesUnit(merchantOf(&l)); err != nil {
				return err
			}
			units[l] = unit
		}
		return table.Add(host, unit)
	})
}

// provisionOrigins sets up how the origin of a request is determined.
func (h *Handler) provisionOrigins(ctx caddy.Context) error {
	for _, ancestor := range ctx.Modules() {
		if app, ok := ancestor.(*caddyhttp.App); ok {
			h.origins.HTTPPort = strconv.Itoa(cmp.Or(app.HTTPPort, caddyhttp.DefaultHTTPPort))
			h.origins.HTTPSPort = strconv.Itoa(cmp.Or(app.HTTPSPort, caddyhttp.DefaultHTTPSPort))
		}
	}
	if h.PublicOrigin == "" {
		return nil
	}
	public, err := incoming.ParsePublicOrigin(h.PublicOrigin)
	if err != nil {
		return fmt.Errorf("public_origin: %w", err)
	}
	hosts := h.hosts.Load()
	if public.Host != "" && (h.MerchantsFile != "" || len(hosts.Exact)+len(hosts.Wildcard) != 1 || len(hosts.Wildcard) > 0) {
		return fmt.Errorf("public_origin: the site has several hosts, and one is written: write {host} in its place: %s://{host}", public.Scheme)
	}
	h.origins.Public = &public
	return nil
}
