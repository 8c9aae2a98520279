package simulator

import "net/http"

// Calls says how many requests each endpoint has had so far, wrong ones
// included: "discovery", "jwks", "accesstoken", "authorize", "consent",
// "token", "userinfo", "backchannel", "exists", "management", "webhooks", "phone"
// (the page that plays the customer's phone), and "other" for paths that do not exist. A login with an
// MSN counts "authorize" twice, since Vipps redirects to the same endpoint with
// the client_id. Endpoints nobody has called are 0.
//
// "slow_down" is how many of the "token" calls were polls that came too soon.
func (s *Simulator) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := map[string]int{"other": s.calls["other"], "slow_down": s.calls["slow_down"]}
	for _, e := range s.endpoints {
		if e.name != "" {
			calls[e.name] = s.calls[e.name]
		}
	}
	return calls
}

func (s *Simulator) count(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[name]++
}

// callCounts serves Calls as JSON, for load tests in another process.
func (s *Simulator) callCounts(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.Calls())
}
