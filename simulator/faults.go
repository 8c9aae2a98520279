package simulator

import "time"

// Faults changes answers into ones that Vipps MobilePay should never give, for
// tests of a client's checks. A nil function changes nothing.
type Faults struct {
	// IDToken may change header and claims before they are signed.
	IDToken func(header, claims map[string]any)
	// Userinfo may change the claims of a userinfo answer.
	Userinfo func(claims map[string]any)

	// Token may change the token endpoint's answer to an exchange that
	// succeeded: take away the ID token, say.
	Token func(answer map[string]any)

	// SlowDownRetryAfter is what Retry-After says beside slow_down, in whole seconds.
	// 0 is no such header.
	SlowDownRetryAfter time.Duration

	// NoStore has the discovery document and the key set say that they must not
	// be kept, as ORY Hydra does since 25.4.
	NoStore bool

	// LastTabOnly has the login page work for the tab of a browser that came
	// there last. The others come back with request_forbidden, as ORY Hydra
	// has it: each start replaces the cookie that the answer must come with.
	LastTabOnly bool
}

// SetFaults replaces the faults of all later answers. The functions must be
// safe for concurrent use. There is no setting for this in Caddy.
func (s *Simulator) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

func (s *Simulator) currentFaults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}
