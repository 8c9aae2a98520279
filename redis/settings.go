package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	defaultAddress = "localhost:6379"
	defaultPrefix  = "vipps_login"
	defaultTimeout = 2 * time.Second
)

// settings are a config whose placeholders are resolved. It is never shown: it has the passwords.
type settings struct {
	Address   []string
	Master    string
	Sentinels []string

	Username, Password                 string
	SentinelUsername, SentinelPassword string

	DB       int
	Prefix   string
	Timeout  time.Duration
	PoolSize int

	UseTLS                                       bool
	CA, CACertificates, Certificate, Key, Server string
}

// resolver resolves the placeholders of fields, and keeps the first error.
type resolver struct{ err error }

// text resolves one field; none is optional once it is written: an unset placeholder is an error.
func (r *resolver) text(name, value string) string {
	if value == "" {
		return ""
	}
	resolved, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
	resolved = strings.TrimSpace(resolved)
	if err == nil && (resolved == "" || strings.ContainsFunc(resolved, func(c rune) bool { return c < ' ' || c == 0x7f })) {
		err = errors.New("it is blank or holds a control character")
	}
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("state redis: %s: %w: set the variable or write the value", name, err)
	}
	return resolved
}

// words resolves a list: a placeholder that gives several words gives several elements.
func (r *resolver) words(name string, values []string) (resolved []string) {
	for _, value := range values {
		resolved = append(resolved, strings.Fields(r.text(name, value))...)
	}
	return resolved
}

func (r *resolver) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("state redis: "+format, args...)
	}
}

// number resolves a whole number that is not less than least.
func (r *resolver) number(name, value string, least int) int {
	text := r.text(name, value)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least {
		r.fail("%s: %q is not a whole number from %d on", name, text, least)
	}
	return n
}

// settings resolves and checks the config.
func (r *Redis) settings() (*settings, error) {
	resolve := new(resolver)
	s := &settings{
		Address: resolve.words("address", r.Address), Username: resolve.text("username", r.Username), Password: resolve.text("password", r.Password),
		DB: resolve.number("db", r.DB, 0), Prefix: resolve.text("key_prefix", r.KeyPrefix), PoolSize: resolve.number("pool_size", r.PoolSize, 1),
		Timeout: defaultTimeout,
	}
	if s.Prefix == "" {
		s.Prefix = defaultPrefix
	}
	if strings.ContainsAny(s.Prefix, "{}*?[] ") {
		resolve.fail("key_prefix: %q has a character that means something to Redis", s.Prefix)
	}
	if text := resolve.text("timeout", r.Timeout); text != "" {
		var err error
		if s.Timeout, err = caddy.ParseDuration(text); err != nil || s.Timeout < 10*time.Millisecond || s.Timeout > time.Minute {
			resolve.fail("timeout: %q is not a duration from 10ms to 1m", text)
		}
	}
	r.sentinelSettings(resolve, s)
	r.tlsSettings(resolve, s)
	switch {
	case len(s.Address) == 0 && s.Master == "":
		s.Address = []string{defaultAddress}
	case len(s.Address) > 1 && s.DB != 0:
		resolve.fail("db: a Cluster has no database but 0")
	}
	if s.Username != "" && s.Password == "" { // the client would come as the default user
		resolve.fail("password: a username needs one")
	}
	for _, address := range append(s.Address, s.Sentinels...) {
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" || strings.ContainsAny(address, "@/") {
			if strings.ContainsAny(address, "@/") { // a URL, which may have a password
				address = "a URL"
			}
			resolve.fail("address: %q is not host:port", address)
		}
	}
	return s, resolve.err
}

func (r *Redis) sentinelSettings(resolve *resolver, s *settings) {
	if r.Sentinel == nil {
		return
	}
	s.Master, s.Sentinels = resolve.text("sentinel: master", r.Sentinel.Master), resolve.words("sentinel: address", r.Sentinel.Address)
	s.SentinelUsername, s.SentinelPassword = resolve.text("sentinel_username", r.Sentinel.Username), resolve.text("sentinel_password", r.Sentinel.Password)
	switch {
	case s.Master == "" || len(s.Sentinels) == 0:
		resolve.fail("sentinel: it takes the name of the master, and the addresses of the sentinels")
	case len(s.Address) > 0:
		resolve.fail("address: the sentinels know it: keep one of address and sentinel")
	case s.SentinelUsername != "" && s.SentinelPassword == "":
		resolve.fail("sentinel_password: a username needs one")
	}
}

func (r *Redis) tlsSettings(resolve *resolver, s *settings) {
	if r.TLS == nil {
		return
	}
	s.UseTLS = true
	s.CA, s.Server = resolve.text("tls: ca", r.TLS.CA), resolve.text("tls: server_name", r.TLS.ServerName)
	s.Certificate, s.Key = resolve.text("tls: client_auth", r.TLS.Certificate), resolve.text("tls: client_auth", r.TLS.Key)
	if s.CA != "" {
		content, err := os.ReadFile(s.CA)
		if err == nil && !x509.NewCertPool().AppendCertsFromPEM(content) {
			err = fmt.Errorf("%s has no certificate", s.CA)
		}
		if err != nil {
			resolve.fail("tls: ca: %w", err)
		}
		s.CACertificates = string(content)
	}
	if (s.Certificate == "") != (s.Key == "") {
		resolve.fail("tls: client_auth takes a certificate and its key")
	}
	if s.Certificate != "" {
		if _, err := tls.LoadX509KeyPair(s.Certificate, s.Key); err != nil {
			resolve.fail("tls: client_auth: %w", err)
		}
	}
}

// tlsConfig returns how connections are encrypted; nil for not at all.
func (s *settings) tlsConfig() *tls.Config {
	if !s.UseTLS {
		return nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.Server}
	if s.CACertificates != "" {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM([]byte(s.CACertificates))
	}
	if s.Certificate != "" {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			certificate, err := tls.LoadX509KeyPair(s.Certificate, s.Key)
			return &certificate, err
		}
	}
	return config
}

// client makes the client. It connects when it is first used, and calls connected for each connection.
func (s *settings) client(connected func(context.Context, *redis.Conn) error) redis.UniversalClient {
	options := &redis.UniversalOptions{
		Addrs: s.Address, MasterName: s.Master, DB: s.DB, Username: s.Username, Password: s.Password,
		SentinelUsername: s.SentinelUsername, SentinelPassword: s.SentinelPassword,
		ClientName: "vipps_login", OnConnect: connected, TLSConfig: s.tlsConfig(), PoolSize: s.PoolSize,
		DialTimeout: s.Timeout, ReadTimeout: s.Timeout, WriteTimeout: s.Timeout, PoolTimeout: s.Timeout, ContextTimeoutEnabled: true,
		// Every call of ours can be repeated (state.Engine).
		MaxRetries: 3, DialerRetries: 1,
		// Less for an ACL user to need: no CLIENT SETINFO, no CLIENT MAINT_NOTIFICATIONS.
		Protocol: 2, DisableIdentity: true, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if s.Master != "" {
		options.Addrs = s.Sentinels
	}
	return redis.NewUniversalClient(options)
}
