package pages

import "net/http"

// SetHeaders sets what every response of the endpoints carries.
func SetHeaders(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Cross-Origin-Resource-Policy", "same-origin") // a sibling's page, with whose requests our cookies come, reads none of it
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'")
}

// Challenge says on a 401 how to authenticate, which it must (RFC 9110 section 15.5.2). Bearer makes no browser ask for
// a password.
func Challenge(w http.ResponseWriter, status int) {
	if status == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" {
		w.Header().Set("WWW-Authenticate", `Bearer realm="vipps_login"`)
	}
}
