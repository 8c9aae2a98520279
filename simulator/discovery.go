package simulator

import "net/http"

// discovery serves the OpenID Connect discovery document with the values of
// Vipps MobilePay. The issuer ends in a slash there.
//
// It lists no end_session_endpoint: a merchant must not log a user out of Vipps
// MobilePay.
func (s *Simulator) discovery(w http.ResponseWriter, r *http.Request) {
	base := s.base(r)
	w.Header().Set("Cache-Control", "max-age=3600")
	if s.currentFaults().NoStore || s.manners.has(hydraNoStore) {
		w.Header().Set("Cache-Control", "private, no-store, no-cache, must-revalidate")
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                issuer(base),
		"authorization_endpoint":                base + authorizePath,
		"token_endpoint":                        base + tokenPath,
		"userinfo_endpoint":                     base + userinfoPath,
		"jwks_uri":                              base + jwksPath,
		"backchannel_authentication_endpoint":   base + backchannelPath,
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query"},
		"grant_types_supported":                 grantTypes,
		"subject_types_supported":               []string{"pairwise"},
		"scopes_supported":                      knownScopes,
		"acr_values_supported":                  []string{acrAppAuth},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"code_challenge_methods_supported":      []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic"},
	})
}

func issuer(base string) string { return base + "/access-management-1.0/access/" }
