package simulator

// Faults changes answers into ones that Vipps MobilePay should never give, for
// tests of a client's checks. A nil function changes nothing.
type Faults struct {
	// IDToken may change header and claims before they are signed.
	IDToken func(header, claims map[string]any)
	// Userinfo may change the claims of a userinfo answer.
	Userinfo func(claims map[string]any)

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
