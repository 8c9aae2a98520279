package vippslogin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/internal/identity"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
)

// setErrorPlaceholders gives the site's error routes the reason, the reference of our log line, and the address of a login
// that returns to the page that the user wanted.
func setErrorPlaceholders(r *http.Request, reason, reference, loginURL string) {
	replacer := incoming.Replacer(r)
	replacer.Set("http.vipps_login.error", reason)
	replacer.Set("http.vipps_login.error_id", reference)
	replacer.Set("http.vipps_login.login_url", loginURL)
}

// setPlaceholders sets the placeholders for the rest of the Caddyfile. A claim's text is data: the replacer does not expand
// placeholders in it.
func setPlaceholders(r *http.Request, v *visit) {
	incoming.Replacer(r).Map(func(key string) (any, bool) {
		switch {
		case key == "http.vipps_login.msn":
			return v.msn, true
		case key == "http.vipps_login.new_login" && v.newLogin:
			return "true", true
		case key == "http.vipps_login.new_login":
			return "", true
		case key == "http.vipps_login.session" && v.session != nil:
			return v.session.IDText(), true
		case key == "http.vipps_login.error", key == "http.vipps_login.error_id", key == "http.vipps_login.login_url":
			return "", true // an error of another handler; setErrorPlaceholders takes precedence
		}
		name, ok := strings.CutPrefix(key, "http.auth.user.")
		if !ok {
			return nil, false
		}
		return identity.Placeholder(v.session, name), true
	})
}

// Placeholders are resolved when the config is loaded, by one rule for all fields: an unset or empty one is an error,
// as is one that only a request could fill. In a list, one with several words becomes several elements. Secrets are
// resolved by resolveSecret, into unexported fields.

// resolveText resolves the placeholders of one field.
func resolveText(name string, value *string) error {
	if !strings.Contains(*value, "{") {
		return nil
	}
	resolved, err := caddy.NewReplacer().ReplaceOrErr(*value, true, true)
	if err == nil && strings.TrimSpace(resolved) == "" {
		err = fmt.Errorf("%s is blank", *value)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: set the variable or write the value; what only a request knows cannot stand here", name, err)
	}
	*value = strings.TrimSpace(resolved)
	return nil
}

// resolveWords resolves the placeholders of a list.
func resolveWords(name string, values *[]string) error {
	var resolved []string
	for _, value := range *values {
		placeholder := strings.Contains(value, "{")
		if err := resolveText(name, &value); err != nil {
			return err
		}
		if placeholder {
			resolved = append(resolved, strings.Fields(value)...)
		} else {
			resolved = append(resolved, value)
		}
	}
	*values = resolved
	return nil
}

// resolvePlaceholders resolves the placeholders of all fields but secrets and the MSN, which may depend on the request. Hosts
// of merchants are resolved where they are added.
func (h *Handler) resolvePlaceholders() error {
	for _, field := range []struct {
		name  string
		value *string
	}{
		{"on_unauthenticated", &h.OnUnauthenticated}, {"base_path", &h.BasePath}, {"header_prefix", &h.HeaderPrefix},
		{"header_encoding", &h.HeaderEncoding}, {"market", &h.Market}, {"error_pages", &h.ErrorPages}, {"audience", &h.Audience},
		{"logout: return_to", &h.Logout.ReturnTo},
	} {
		if err := resolveText(field.name, field.value); err != nil {
			return err
		}
	}
	err := errors.Join(resolveWords("scope", &h.Scopes), resolveWords("claims", &h.Claims), resolveWords("logout: clear_site_data", &h.Logout.ClearSiteData))
	if err != nil {
		return err
	}
	if h.Assertion != nil {
		err := errors.Join(resolveText("assertion", &h.Assertion.Header), resolveText("assertion: audience", &h.Assertion.Audience), resolveWords("assertion: claims", &h.Assertion.Claims))
		if err != nil {
			return err
		}
	}
	if h.Phone != nil {
		if err := errors.Join(resolveWords("phone: scope", &h.Phone.Scopes), resolveWords("phone: countries", &h.Phone.Countries)); err != nil {
			return err
		}
	}
	return h.resolveHeaders()
}

func (h *Handler) resolveHeaders() error {
	headers := make(map[string]string, len(h.Headers))
	for _, field := range slices.Sorted(maps.Keys(h.Headers)) {
		claim := h.Headers[field]
		name := field
		if err := resolveText("header", &name); err != nil {
			return err
		}
		if err := resolveText("header "+name, &claim); err != nil {
			return err
		}
		headers[name] = claim
	}
	h.Headers = headers
	return nil
}

// resolvePlaceholders resolves the placeholders of a merchant, but for its keys and MSN.
func (m *Merchant) resolvePlaceholders() error {
	if err := resolveWords("host", &m.Hosts); err != nil {
		return err
	}
	if err := resolveWords("scope", &m.Scopes); err != nil {
		return err
	}
	return errors.Join(resolveText("market", &m.Market), resolveWords("claims", &m.Claims), resolveText("audience", &m.Audience))
}

// resolveSecret resolves the placeholders of a secret. An empty secret is an error, and so is a placeholder that is empty or
// unknown: secrets that silently become empty make configs fail open (CVE-2026-27586).
func resolveSecret(value string) (string, error) {
	if value == "" {
		return "", errors.New("it is empty: set it")
	}
	resolved, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
	if err != nil {
		return "", fmt.Errorf("%w: set the variable or write the value", err)
	}
	resolved = strings.TrimSpace(resolved)
	if resolved == "" || strings.ContainsFunc(resolved, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errors.New("it is blank or holds a control character")
	}
	return resolved, nil
}

// minAPIKey is the minimum length of a key that callers send, in characters.
const minAPIKey = 32

// hashedKeys returns the hashes of keys that callers send, ready to be compared.
func hashedKeys(name string, values []string) (hashes [][sha256.Size]byte, err error) {
	for i, value := range values {
		key, err := resolveSecret(value)
		if err != nil {
			return nil, fmt.Errorf("%s %d: %w", name, i+1, err)
		}
		if len(key) < minAPIKey {
			return nil, fmt.Errorf("%s %d: it has %d characters and needs at least %d: make one with `openssl rand -hex 32`", name, i+1, len(key), minAPIKey)
		}
		hashes = append(hashes, sha256.Sum256([]byte(key)))
	}
	return hashes, nil
}
