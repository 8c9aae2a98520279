package vippslogin

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
)

// provisionOrigins finds out how the origins of requests are found.
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
	public, err := parsePublicOrigin(h.PublicOrigin)
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

// hostPlaceholders stand for the host of the request. Caddy's adapter makes the second of the first.
var hostPlaceholders = []string{"{host}", "{http.request.host}"}

// anyHost stands for them while the rest is read.
const anyHost = "host.invalid"

var errPublicOrigin = errors.New("it is no origin: write scheme, host and port as browsers see them, such as https://shop.example.no or https://shop.example.no:8443, without a path")

// parsePublicOrigin reads an origin. Its host is "" where that is the request's.
func parsePublicOrigin(text string) (incoming.Origin, error) {
	for _, placeholder := range hostPlaceholders {
		text = strings.Replace(text, "://"+placeholder, "://"+anyHost, 1)
	}
	text, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
	if err != nil {
		return incoming.Origin{}, fmt.Errorf("%w: set the variable or write the origin; {host} alone is of the request", err)
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return incoming.Origin{}, errPublicOrigin
	}
	host, ok := merchant.CanonicalHost(u.Hostname())
	if !ok || u.Port() != "" && !incoming.IsPort(u.Port()) {
		return incoming.Origin{}, errPublicOrigin
	}
	if host == anyHost {
		host = ""
	}
	return incoming.NewOrigin(u.Scheme, host, u.Port()), nil
}
