package vippslogin

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/epoch"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
	"github.com/caddy-vipps/vippslogin/state"
)

func init() { caddy.RegisterModule(new(App)) }

// App is the partner: the keys, the environment and the cookie secrets that all sites share. It is
// the Caddy app `vipps_login`, the Caddyfile's global option of the same name.
type App struct {
	// Environment is "production", "test", or the base URL of something that speaks like Vipps
	// MobilePay: https, or http for a loopback host. Default: production.
	Environment string `json:"environment,omitempty"`

	// ClientID, ClientSecret and SubscriptionKey are the partner keys. Placeholders are resolved when
	// the config is loaded. All three may be left out where every merchant has its own keys.
	ClientID        string `json:"client_id,omitempty"`
	ClientSecret    string `json:"client_secret,omitempty"`
	SubscriptionKey string `json:"subscription_key,omitempty"`

	// CookieSecrets seal sessions and logins in progress: at least 32 bytes each, the first seals, all
	// open. Placeholders are resolved when the config is loaded. Default: one is generated once and
	// kept in Caddy's storage.
	CookieSecrets []string `json:"cookie_secrets,omitempty"`

	// SystemName and SystemVersion name the calling system to Vipps MobilePay, at most 30 characters
	// each. Default: caddy and its version.
	SystemName    string `json:"system_name,omitempty"`
	SystemVersion string `json:"system_version,omitempty"`

	// MobilePayUntil is the day, such as 2027-01-12, from which on the pages for people say Vipps in Denmark and Finland as
	// well, in Europe/Oslo. Default: 2027-01-12, when MobilePay becomes Vipps.
	MobilePayUntil string `json:"mobilepay_until,omitempty"`

	// Metrics sets up the metrics. Default: no series for single merchants.
	Metrics *MetricsConfig `json:"metrics,omitempty"`

	// StateRaw is the engine that keeps the shared state of all instances: logins from phone numbers, completed logins, revoked
	// sessions, and keys that are generated once. Default: caddy_storage.
	StateRaw json.RawMessage `json:"state,omitempty" caddy:"namespace=vipps_login.state inline_key=engine"`

	// AfterStateLoss says what becomes of sessions from before the shared state was lost, if no instance knows which of them
	// were revoked: refuse_sessions or keep_sessions. Default: refuse_sessions, but for Caddy's file storage, which may be each
	// instance's own, keep_sessions.
	AfterStateLoss string `json:"after_state_loss,omitempty"`

	ctx            caddy.Context
	logger         *zap.Logger
	storage        state.Engine    // the shared state
	caddyStorage   *store.Store    // if the shared state is in Caddy's storage
	keepSessions   bool            // after a loss of the shared state
	localState     bool            // the shared state is in files, and not on a server
	stateName      string          // the config of the shared state
	checkedStorage json.RawMessage // the config's storage, for `caddy vipps-login check`, which provisions the config with another
	shared         *shared
	sharedKey      string
	partnerKeys    vipps.Keys
	perMerchant    bool
	mobilePayUntil time.Time
	clientLogs     *logLimiter // limits the log lines that one client can cause
	sweeps         bool        // a site stores records that expire
	files          []*merchant.File
	sharedHosts    merchant.SharedHosts

	keys       atomic.Pointer[seal.Keys] // nil until they are read from storage
	keysLock   sync.Mutex
	opened     *session.Opened
	stop       context.CancelFunc
	generated  string         // the cookie secret in storage, where none is configured; keysLock guards it
	background sync.WaitGroup // what Stop waits for
}

// MetricsConfig sets up the metrics.
type MetricsConfig struct {
	// PerMerchant gives the metrics of logins and sessions the label "msn": as many series as there are
	// merchants, times the other labels. An MSN that comes from a placeholder is left out. Default: false.
	PerMerchant bool `json:"per_merchant,omitempty"`
}

// merchantLabel returns the value of the label msn. An MSN that comes from a placeholder of the request gets none:
// clients could make up as many series as they like.
func (a *App) merchantLabel(v *visit) string {
	if a.perMerchant && v.unit != nil && v.msn == v.unit.MSN {
		return v.msn
	}
	return ""
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "vipps_login", New: func() caddy.Module { return new(App) }}
}

// Provision resolves keys and secrets. It makes no network calls, so Caddy starts while Vipps MobilePay is down.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.logger = ctx, ctx.Logger()
	a.clientLogs = newLogLimiter()
	a.opened = session.NewOpened()
	if err := errors.Join(a.resolveBrandDay(), a.provisionState(ctx)); err != nil {
		return err
	}
	environment := a.Environment
	if err := resolveText("environment", &environment); err != nil {
		return err
	}
	base, err := baseURL(environment)
	if err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	if a.partnerKeys, err = a.resolvePartnerKeys(); err != nil {
		return err
	}
	if base == vipps.TestURL && a.partnerKeys != (vipps.Keys{}) {
		a.logger.Warn("partner keys work in production only: give each merchant the keys of its sales unit to log in on the test environment")
	}
	system, err := a.systemHeaders()
	if err != nil {
		return err
	}
	if err := a.resolveCookieSecrets(base); err != nil {
		return err
	}
	a.perMerchant = a.Metrics != nil && a.Metrics.PerMerchant
	a.shared, a.sharedKey = useShared(base, a.partnerKeys, system)
	return counted.register(ctx.GetMetricsRegistry(), a.shared)
}

const maxSystemHeader = 30 // characters, the limit of Vipps MobilePay

func (a *App) systemHeaders() (vipps.System, error) {
	version, _ := caddy.Version()
	system := vipps.System{
		Name: "caddy", Version: cut(version, maxSystemHeader),
		PluginName: "caddy-vipps-login", PluginVersion: cut(pluginVersion(), maxSystemHeader),
	}
	for _, part := range []struct {
		name, value string
		to          *string
	}{
		{"system name", a.SystemName, &system.Name},
		{"system version", a.SystemVersion, &system.Version},
	} {
		if err := resolveText(part.name, &part.value); err != nil {
			return system, err
		}
		if len(part.value) > maxSystemHeader || !userinfo.IsPlain(part.value) {
			return system, fmt.Errorf("%s: %q: write at most %d characters of ASCII", part.name, part.value, maxSystemHeader)
		}
		if part.value != "" {
			*part.to = part.value
		}
	}
	return system, nil
}

func cut(s string, n int) string { return s[:min(n, len(s))] }

// pluginVersion returns the version of this module in the running binary.
func pluginVersion() string {
	const self = "github.com/caddy-vipps/vippslogin"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == self && dep.Version != "" {
				return dep.Version
			}
		}
	}
	return "devel"
}

func (a *App) resolveCookieSecrets(base string) error {
	if len(a.CookieSecrets) == 0 {
		return nil // one is generated when the first request or Start needs it
	}
	var secrets []string
	for i, value := range a.CookieSecrets {
		secret, err := resolveSecret(value)
		if err != nil {
			return fmt.Errorf("cookie_secret %d: %w", i+1, err)
		}
		if len(secret) < seal.MinSecretBytes {
			return fmt.Errorf("cookie_secret %d: it has %d bytes and needs at least %d: make one with `openssl rand -base64 48`",
				i+1, len(secret), seal.MinSecretBytes)
		}
		secrets = append(secrets, secret)
	}
	keys, err := seal.NewKeys(base, secrets)
	a.keys.Store(keys)
	return err
}

// Start reads or generates the cookie secret if none is configured, and cleans up in the shared state from time to time. Without the
// shared state it starts nevertheless: requests that need it get 503.
func (a *App) Start() error {
	ctx, cancel := context.WithCancel(context.Background())
	a.stop = cancel
	a.examineStorage(ctx)
	if err := a.startKeys(ctx); err != nil {
		return err
	}
	go a.sweep(ctx)
	a.background.Go(func() { a.followRevocations(ctx) })
	a.background.Go(func() { a.storeRevocations(ctx) })
	for _, file := range a.files {
		go file.Follow(ctx) // not in Provision, which `caddy validate` runs as well
	}
	return nil
}

func (a *App) startKeys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWaits)
	defer cancel()
	_, err := epoch.Read(ctx, a.storage) // before a login begins, which would be older than the state
	if err != nil && !a.localState {
		a.logger.Warn("the shared state cannot be read yet", zap.Error(err))
	}
	keys, err := a.cookieKeys(ctx)
	switch {
	case errors.Is(err, state.ErrUnavailable) && !a.localState: // a folder of this machine is not away, but wrong
		a.logger.Error("the cookie secret cannot be read from the shared state: until it can, all requests with a cookie of ours get 503", zap.Error(err))
		return nil
	case err != nil:
		return err
	}
	a.useKeys(keys)
	return nil
}

const (
	// startWaits is how long Start waits for the shared state.
	startWaits = 5 * time.Second

	// stopWaits is how long Stop waits for the shared state at a reload, and exitWaits how long when Caddy exits and has no
	// grace_period.
	stopWaits = 5 * time.Second
	exitWaits = 30 * time.Second
)

// Cleanup releases what Provision acquired.
func (a *App) Cleanup() error {
	if a.shared == nil {
		return nil
	}
	return releaseShared(a.sharedKey)
}

// cookieKeys returns the cookie keys. A request that comes before Start reads them from storage.
func (a *App) cookieKeys(ctx context.Context) (*seal.Keys, error) {
	if keys := a.keys.Load(); keys != nil {
		return keys, nil
	}
	a.keysLock.Lock()
	defer a.keysLock.Unlock()
	if keys := a.keys.Load(); keys != nil {
		return keys, nil
	}
	secret, err := a.generatedSecret(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: the cookie secret: %w", state.ErrUnavailable, err)
	}
	keys, err := seal.NewKeys(a.shared.client.Base, []string{secret})
	if err == nil {
		a.setGenerated(secret)
		a.keys.Store(keys)
		a.useKeys(keys)
	}
	return keys, err
}

// useKeys has outcomes of phone logins that could not be stored stored with this config.
func (a *App) useKeys(keys *seal.Keys) {
	a.shared.phones.Use(phone.Store{Shared: a.storage, Memory: a.shared.phones, Keys: keys})
}

func newSecret() string { return base64.RawStdEncoding.EncodeToString(seal.RandomBytes(48)) }

// brandDay is when MobilePay becomes Vipps.
const brandDay = "2027-01-12"

func (a *App) resolveBrandDay() error {
	day := cmp.Or(a.MobilePayUntil, brandDay)
	if err := resolveText("mobilepay_until", &day); err != nil {
		return err
	}
	oslo, err := time.LoadLocation("Europe/Oslo")
	if err != nil {
		oslo = time.FixedZone("CET", 3600) // a machine without time zones
	}
	if a.mobilePayUntil, err = time.ParseInLocation(time.DateOnly, day, oslo); err != nil {
		return fmt.Errorf("mobilepay_until: %q is not a day: write one such as %s", day, brandDay)
	}
	return nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
