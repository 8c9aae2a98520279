package pages

import "net/http"

// SetHeaders sets the headers of every answer of the endpoints.
func SetHeaders(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Cross-Origin-Resource-Policy", "same-origin") // pages of sibling domains, whose requests have our cookies, cannot read it
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'")
}

// Challenge sets WWW-Authenticate, which a 401 must have (RFC 9110 section 15.5.2). Browsers ask for no password for Bearer.
func Challenge(w http.ResponseWriter, status int) {
	if status == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" {
		w.Header().Set("WWW-Authenticate", `Bearer realm="vipps_login"`)
	}
}
