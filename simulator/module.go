package simulator

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler answers every request it gets as Vipps MobilePay Login would, for
// development and tests. It answers loopback connections only and refuses all
// others with 403.
//
// The keys, the MSNs, the redirect URIs and the pings' URLs and secrets may hold
// global placeholders like `{env.VIPPS_CLIENT_ID}`. What it remembers (logins in progress, tokens) is
// gone when the config is reloaded.
//
// Its server must let `client_id` and `client_secret` through in
// `expected_underscore_headers`: Vipps MobilePay takes the partner keys in
// headers of these names, and Caddy drops headers with underscores otherwise.
// In a Caddyfile:
//
//	{
//		servers {
//			expected_underscore_headers client_id client_secret
//		}
//	}
type Handler struct {
	Config

	simulator *Simulator
	logger    *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.vipps_simulator",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision makes the simulator. The exported fields keep their placeholders,
// since Caddy's admin API shows them.
func (h *Handler) Provision(ctx caddy.Context) error {
	config, err := h.resolved()
	if err != nil {
		return err
	}
	h.simulator, err = New(config)
	if err != nil {
		return err
	}
	h.logger = ctx.Logger()
	h.logger.Warn("Vipps MobilePay is simulated here: whoever logs in is who they say they are; for development only")
	return nil
}

// resolved is the configuration with its placeholders replaced. One that stands
// for nothing is an error, not an empty key.
func (h *Handler) resolved() (Config, error) {
	config := h.Config
	config.Merchants = slices.Clone(config.Merchants)
	fields := map[string]*string{
		"base_url":                 &config.BaseURL,
		"partner.client_id":        &config.Partner.ClientID,
		"partner.client_secret":    &config.Partner.ClientSecret,
		"partner.subscription_key": &config.Partner.SubscriptionKey,
	}
	for i := range config.Merchants {
		m := &config.Merchants[i]
		m.RedirectURIs = slices.Clone(m.RedirectURIs)
		at := fmt.Sprintf("merchants[%d].", i)
		fields[at+"msn"] = &m.MSN
		fields[at+"client_id"] = &m.ClientID
		fields[at+"client_secret"] = &m.ClientSecret
		fields[at+"ping_url"] = &m.PingURL
		fields[at+"ping_secret"] = &m.PingSecret
		fields[at+"consent_url"] = &m.ConsentURL
		for j := range m.RedirectURIs {
			fields[fmt.Sprintf("%sredirect_uris[%d]", at, j)] = &m.RedirectURIs[j]
		}
	}
	replacer := caddy.NewReplacer()
	for name, field := range fields {
		if *field == "" {
			continue
		}
		value, err := replacer.ReplaceOrErr(*field, true, true)
		if err != nil {
			return Config{}, fmt.Errorf("%s: %w; set what the placeholder stands for", name, err)
		}
		*field = value
	}
	return config, nil
}

// ServeHTTP answers the request. There is no next handler: what Vipps does not
// have is 404.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	// A handler cannot see its server's settings at provision, so this is the
	// first moment to tell. Without it people would look for a wrong key.
	if r.URL.Path == accessTokenPath && r.Header.Get("client_id") == "" {
		h.logger.Error("the partner keys did not arrive: Caddy drops headers with underscores, " +
			"unless the global option servers has expected_underscore_headers client_id client_secret")
	}
	h.simulator.ServeHTTP(w, r)
	return nil
}

// Interface guards
var (
	_ caddy.Module                = (*Handler)(nil)
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ http.Handler                = (*Simulator)(nil)
)
