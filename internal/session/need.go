package session

import (
	"strconv"
	"time"
)

// Need is what a request needs of a session (RFC 9470). The zero value needs nothing.
type Need struct {
	MaxAge    time.Duration // how long ago the login was completed, at most; 0: any time
	Scopes    Scopes        // scopes that logins have asked for, consented or not
	Confirmed bool          // the login was confirmed in the app
}

// IsZero reports whether nothing is needed.
func (n Need) IsZero() bool { return n == Need{} }

// And returns a Need that meets both.
func (n Need) And(other Need) Need {
	if n.MaxAge == 0 || other.MaxAge != 0 && other.MaxAge < n.MaxAge {
		n.MaxAge = other.MaxAge
	}
	n.Scopes = n.Scopes.With(other.Scopes)
	n.Confirmed = n.Confirmed || other.Confirmed
	return n
}

// Missing returns what a session lacks of n: all of it if the session is nil.
func (n Need) Missing(s *Session, now time.Time) Need {
	if s == nil {
		return n
	}
	if now.Sub(s.Issued.Add(s.Ahead)) < n.MaxAge {
		n.MaxAge = 0
	}
	n.Scopes = n.Scopes.Without(s.Scopes)
	n.Confirmed = n.Confirmed && !s.InApp
	return n
}

// Challenge returns the value of WWW-Authenticate that asks for n (RFC 9470 section 3). acr is what a confirmed login
// has.
func (n Need) Challenge(acr string) string {
	challenge := `Bearer error="insufficient_user_authentication"`
	if n.MaxAge > 0 {
		challenge += `, max_age="` + strconv.Itoa(n.Seconds()) + `"`
	}
	if n.Confirmed {
		challenge += `, acr_values="` + acr + `"`
	}
	return challenge
}

// Seconds returns MaxAge in whole seconds.
func (n Need) Seconds() int { return int(n.MaxAge / time.Second) }
