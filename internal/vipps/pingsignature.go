package vipps

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
)

// MaxWebhook bounds the body of a webhook, in bytes.
const MaxWebhook = 64 << 10

// WebhookPrefix is how the Authorization header of Vipps MobilePay's webhooks starts, to the letter.
const WebhookPrefix = "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature="

// IsSigned reports whether one of the secrets signed the request: target, its path and query, date, host
// and body (https://developer.vippsmobilepay.com/docs/APIs/webhooks-api/request-authentication/).
func IsSigned(r *http.Request, target, host string, body []byte, secrets []string) bool {
	sum := sha256.Sum256(body)
	hash := base64.StdEncoding.EncodeToString(sum[:])
	if !hmac.Equal([]byte(r.Header.Get("X-Ms-Content-Sha256")), []byte(hash)) {
		return false
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), WebhookPrefix)
	if !ok {
		return false
	}
	signed := "POST\n" + target + "\n" + r.Header.Get("X-Ms-Date") + ";" + host + ";" + hash
	valid := false
	for _, secret := range secrets { // all of them, whichever fits
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(signed))
		if hmac.Equal([]byte(given), []byte(base64.StdEncoding.EncodeToString(mac.Sum(nil)))) {
			valid = true
		}
	}
	return valid
}
