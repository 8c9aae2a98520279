package incoming

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/internal/merchant"
)

// hostPlaceholders stand for the host of the request. Caddy's adapter turns the first into the second.
var hostPlaceholders = []string{"{host}", "{http.request.host}"}

// anyHost replaces them while the rest is parsed.
const anyHost = "host.invalid"

var errPublicOrigin = errors.New("it is no origin: write scheme, host and port as browsers see them, such as https://shop.example.no or https://shop.example.no:8443, without a path")

// ParsePublicOrigin parses the configured origin and resolves its placeholders. The host is "" for the request's host.
func ParsePublicOrigin(text string) (Origin, error) {
	for _, placeholder := range hostPlaceholders {
		text = strings.Replace(text, "://"+placeholder, "://"+anyHost, 1)
	}
	text, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
	if err != nil {
		return Origin{}, fmt.Errorf("%w: set the variable or write the origin; {host} alone is of the request", err)
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return Origin{}, errPublicOrigin
	}
	host, ok := merchant.CanonicalHost(u.Hostname())
	if !ok || u.Port() != "" && !IsPort(u.Port()) {
		return Origin{}, errPublicOrigin
	}
	if host == anyHost {
		host = ""
	}
	return NewOrigin(u.Scheme, host, u.Port()), nil
}
