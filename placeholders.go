package vippslogin

import (
	"net/http"
	"strings"

	"github.com/caddy-vipps/vippslogin/internal/identity"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
)

// setErrorPlaceholders tells the site's error routes what has happened, the reference of our line in the
// log, and where a login starts that comes back to the page the person wanted.
func setErrorPlaceholders(r *http.Request, reason, reference, loginURL string) {
	replacer := incoming.Replacer(r)
	replacer.Set("http.vipps_login.error", reason)
	replacer.Set("http.vipps_login.error_id", reference)
	replacer.Set("http.vipps_login.login_url", loginURL)
}

// setPlaceholders tells the rest of the Caddyfile what is known about the visit. A claim's text is
// data: the replacer does not look into what it has put in.
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
			return "", true // of an error that is not ours; setErrorPlaceholders comes before this
		}
		name, ok := strings.CutPrefix(key, "http.auth.user.")
		if !ok {
			return nil, false
		}
		return identity.Placeholder(v.session, name), true
	})
}
