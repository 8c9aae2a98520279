package simulator

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// randomText is size random bytes in base64url. crypto/rand does not fail: the
// program ends if the system has no randomness.
func randomText(size int) string {
	b := make([]byte, size)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// randomUUID looks like the identifiers of Vipps MobilePay.
func randomUUID() string {
	var b [16]byte
	rand.Read(b[:])
	return formatUUID(b, 4)
}

// derivedUUID is the same for the same parts, in every run: people write a
// user's sub into their test data.
func derivedUUID(parts ...string) string {
	hash := sha256.New()
	for _, part := range parts {
		// The length keeps "1","23" and "12","3" apart.
		fmt.Fprintf(hash, "%d:%s", len(part), part)
	}
	return formatUUID([16]byte(hash.Sum(nil)), 8)
}

// formatUUID sets version and variant (RFC 9562, section 4) and writes b out.
func formatUUID(b [16]byte, version byte) string {
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
