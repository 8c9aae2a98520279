package simulator

import (
	"net/http"
	"strconv"
	"time"
)

// partnerTokenBytes makes a token of 1024 characters: Vipps' are longer than
// 1000, which has overflowed database columns before.
const partnerTokenBytes = 768

// accessToken is POST /accesstoken/get, which gives the partner access token.
// Everything is in headers, the body is empty, and the numbers of the answer
// are strings. Every call gives another token; the older ones stay good until
// they expire.
func (s *Simulator) accessToken(w http.ResponseWriter, r *http.Request) {
	err := checkSystemHeaders(r.Header)
	if err == nil {
		err = requireEmptyBody(r)
	}
	if err == nil {
		err = s.checkPartnerKeys(r.Header)
	}
	if err != nil {
		err.write(w)
		return
	}
	now := time.Now()
	expires := now.Add(s.tokenLifetime)
	// A second less than it lives: Vipps' answers say 86399, and a client that
	// counts on the last moment is not refused for it.
	seconds := strconv.Itoa(int(s.tokenLifetime/time.Second) - 1)
	writeJSON(w, http.StatusOK, map[string]string{
		"token_type":     "Bearer",
		"expires_in":     seconds,
		"ext_expires_in": seconds,
		"expires_on":     strconv.FormatInt(expires.Unix(), 10),
		"not_before":     strconv.FormatInt(now.Unix(), 10),
		"resource":       derivedUUID("resource", s.partner.ClientID),
		"access_token":   s.partnerTokens.add(partnerTokenBytes, struct{}{}),
	})
}

func requireEmptyBody(r *http.Request) *oauthError {
	if n, _ := r.Body.Read(make([]byte, 1)); n > 0 {
		return badRequest("invalid_request", "The body must be empty; the keys are sent as headers.")
	}
	return nil
}

func (s *Simulator) checkPartnerKeys(h http.Header) *oauthError {
	// An empty header is a missing one, so nothing matches a partner without keys.
	match := true
	for _, key := range []struct{ header, want string }{
		{"client_id", s.partner.ClientID},
		{"client_secret", s.partner.ClientSecret},
		{"Ocp-Apim-Subscription-Key", s.partner.SubscriptionKey},
	} {
		got, err := requiredHeader(h, key.header)
		if err != nil {
			return err
		}
		// All three are compared, so that the answer does not tell which is wrong.
		match = sameSecret(got, key.want) && match
	}
	if !match {
		return unauthorized("Bearer", "invalid_client", "These are not the partner's keys.")
	}
	return nil
}
