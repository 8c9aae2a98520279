package vipps

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/seal"
)

// FuzzWebhookSignature: no header but the one that the secret makes is a signature.
func FuzzWebhookSignature(f *testing.F) {
	const target, host = "/vipps/webhook", "shop.example.no"
	f.Add("Mon, 01 Jan 2024 00:00:00 GMT", WebhookPrefix+"AAAA", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", []byte(""))
	f.Add("", WebhookPrefix, "", []byte(`{"auth_req_id":"x"}`))
	f.Fuzz(func(t *testing.T, date, authorization, hash string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, target, nil)
		r.Header["X-Ms-Date"], r.Header["Authorization"], r.Header["X-Ms-Content-Sha256"] = []string{date}, []string{authorization}, []string{hash}
		if IsSigned(r, r.URL.RequestURI(), host, body, []string{string(seal.RandomBytes(32))}) {
			t.Errorf("a signature: %q %q %q", date, authorization, hash)
		}
		if IsSigned(r, r.URL.RequestURI(), host, body, nil) {
			t.Error("signed by nobody")
		}
	})
}
