package phone

import (
	"crypto/sha256"
	"sync"

	"github.com/caddy-vipps/vippslogin/internal/seal"
)

// Codes are the authorization codes of phone logins that are being exchanged. Phones and browsers send a callback
// twice at once; the code is good for one exchange.
type Codes struct {
	mu       sync.Mutex
	attempts map[[sha256.Size]byte]*CodeAttempt
}

// NewCodes returns none.
func NewCodes() *Codes { return &Codes{attempts: make(map[[sha256.Size]byte]*CodeAttempt)} }

// CodeAttempt is the one exchange of a code, and what came of it: where the user went, or an error and the reference
// to its line in the log. It holds nothing about the user.
type CodeAttempt struct {
	key  [sha256.Size]byte
	Done chan struct{} // closed when the rest is known

	ReturnTo  string
	Err       error
	Reference string
}

// Begin returns the attempt that is under way for a code at a merchant's host, or a new one and true.
func (c *Codes) Begin(host, msn, code string) (attempt *CodeAttempt, first bool) {
	key := sha256.Sum256(seal.Context(host, msn, code))
	c.mu.Lock()
	defer c.mu.Unlock()
	if attempt = c.attempts[key]; attempt != nil {
		return attempt, false
	}
	attempt = &CodeAttempt{key: key, Done: make(chan struct{})}
	c.attempts[key] = attempt
	return attempt, true
}

// Finish tells those who wait what came of the attempt. Who comes later gets what a code that was used before gets: it
// could be anybody.
func (c *Codes) Finish(attempt *CodeAttempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.attempts, attempt.key)
	close(attempt.Done)
}
