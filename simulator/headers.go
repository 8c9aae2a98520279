package simulator

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"unicode/utf8"
)

// systemHeaders are required of partners and plugins on every call from server
// to server, at most 30 characters each (Vipps MobilePay's HTTP header guide).
var systemHeaders = []string{
	"Vipps-System-Name", "Vipps-System-Version",
	"Vipps-System-Plugin-Name", "Vipps-System-Plugin-Version",
}

const systemHeaderLimit = 30

func checkSystemHeaders(h http.Header) *oauthError {
	for _, name := range systemHeaders {
		value, err := requiredHeader(h, name)
		if err != nil {
			return err
		}
		if utf8.RuneCountInString(value) > systemHeaderLimit {
			return badRequest("invalid_request", "The header %s is longer than %d characters.", name, systemHeaderLimit)
		}
	}
	return nil
}

// requiredHeader is the header's one value.
func requiredHeader(h http.Header, name string) (string, *oauthError) {
	switch values := h.Values(name); {
	case len(values) == 0 || values[0] == "":
		return "", badRequest("invalid_request", "The header %s is missing.", name)
	case len(values) > 1:
		return "", badRequest("invalid_request", "The header %s is there more than once.", name)
	default:
		return values[0], nil
	}
}

// sameSecret compares without telling by its duration how much was right. The
// hashes hide the length too.
func sameSecret(got, want string) bool {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
