package vippslogin

import (
	"crypto/sha256"
	"sync"

	"github.com/caddy-vipps/vippslogin/internal/seal"
)

// openCodes knows the authorization codes of phone logins that are being exchanged. Phones and browsers send a callback
// twice at once; the code is good for one exchange.
type openCodes struct {
	mu       sync.Mutex
	attempts map[[sha256.Size]byte]*codeAttempt
}

// phoneCodes is for the whole process: a reload changes nothing about a code.
var phoneCodes = &openCodes{attempts: make(map[[sha256.Size]byte]*codeAttempt)}

// codeAttempt is the one exchange of a code, and what came of it: where the user went, or an error and the reference
// to its line in the log. It holds nothing about the user.
type codeAttempt struct {
	key  [sha256.Size]byte
	done chan struct{} // closed when the rest is known

	returnTo  string
	err       error
	reference string
}

// begin returns the attempt that is under way for a code at a merchant's host, or a new one and true.
func (c *openCodes) begin(v *visit, code string) (attempt *codeAttempt, first bool) {
	key := sha256.Sum256(seal.Context(v.Host, v.msn, code))
	c.mu.Lock()
	defer c.mu.Unlock()
	if attempt = c.attempts[key]; attempt != nil {
		return attempt, false
	}
	attempt = &codeAttempt{key: key, done: make(chan struct{})}
	c.attempts[key] = attempt
	return attempt, true
}

// finish tells those who wait what came of the attempt. Who comes later gets what a code that was used before gets: it
// could be anybody.
func (c *openCodes) finish(attempt *codeAttempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.attempts, attempt.key)
	close(attempt.done)
}
