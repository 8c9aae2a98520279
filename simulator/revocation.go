package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// revokedFor is how long the JWT of a revoked consent says it is good, though Vipps MobilePay tells it for days.
const revokedFor = 5 * time.Minute

var errNoConsentURL = errors.New("the merchant has no consent_url, or nobody has this phone number")

// RevokeConsent has a user take back the consent that a merchant got: it is told so at its consent_url, and asked for
// consents again at the next login. It waits for the answer, which must be 200 within 10 seconds.
func (s *Simulator) RevokeConsent(msn, phoneNumber string) error {
	m, u := s.merchantByMSN(msn), s.userByPhone(phoneNumber)
	if m == nil || u == nil || m.ConsentURL == "" {
		return errNoConsentURL
	}
	s.mu.Lock()
	delete(s.asked, consentKey{msn, phoneNumber})
	s.mu.Unlock()
	body := s.revokedJWT(login{merchant: m, user: u}, time.Now())
	request, err := http.NewRequest(http.MethodPost, m.ConsentURL, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "text/plain")
	return s.send(request)
}

// revokedJWT is unsigned, whatever its form.
func (s *Simulator) revokedJWT(l login, now time.Time) string {
	header, _ := json.Marshal(map[string]string{"alg": "none", "typ": "JWT"})
	claims, _ := json.Marshal(map[string]any{
		"sub": l.sub(), "event": "CONSENT_REVOKED", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(revokedFor).Unix(),
	})
	jwt := encode(header) + "." + encode(claims)
	switch s.manners.consentJWT {
	case jwtTwoDot:
		return jwt + "."
	case jwtThree:
		return jwt + "." + randomText(32)
	}
	return jwt
}

// ChangeFlow has a merchant change its consents: every user is asked for them once more, and the merchant is told what
// they said.
func (s *Simulator) ChangeFlow(msn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.asked {
		if key.msn == msn {
			delete(s.asked, key)
		}
	}
}

// send sends a webhook, and fails unless it is answered with 200.
func (s *Simulator) send(request *http.Request) error {
	response, err := s.pingClient.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s, not 200", request.URL.Host+request.URL.Path, response.Status)
	}
	return nil
}

// revoke is a form of the index page: msn and user.
func (s *Simulator) revoke(w http.ResponseWriter, r *http.Request) {
	form, problem := readForm(w, r)
	if problem != nil {
		s.errorPage(w, problem.status, problem.description)
		return
	}
	message := "The consent is revoked, and the merchant was told."
	status := http.StatusOK
	if err := s.RevokeConsent(form.Get("msn"), form.Get("user")); err != nil {
		status, message = http.StatusBadRequest, "This did not work: "+err.Error()+"."
	}
	s.errorPage(w, status, message)
}
