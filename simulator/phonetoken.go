package simulator

import (
	"net/url"
	"time"
)

// slowDown is what every poll that comes too soon adds to the interval (CIBA
// Core, section 11).
const slowDown = 5 * time.Second

// exchangePhoneLogin answers a poll (CIBA Core, section 10.1 and 11). It gives
// the login once. Only while the customer has not answered can a poll come too
// soon: after the ping a client need not wait.
func (s *Simulator) exchangePhoneLogin(merchant *Merchant, form url.Values) (login, *oauthError) {
	if form.Get("auth_req_id") == "" {
		return login{}, badRequest("invalid_request", "The parameter auth_req_id is missing.")
	}
	s.phoneMu.Lock()
	defer s.phoneMu.Unlock()
	p, ok := s.phoneLogins.get(form.Get("auth_req_id"))
	switch {
	case !ok:
		return login{}, badRequest("invalid_grant", "The auth_req_id is unknown, or much too old.")
	case p.merchant != merchant:
		return login{}, badRequest("invalid_grant", "The auth_req_id was issued to another merchant.")
	case p.redirectURI != "":
		return login{}, badRequest("invalid_grant", "This login ends in the phone's browser. Exchange the code that comes there.")
	case p.spent:
		return login{}, badRequest("invalid_grant", "The auth_req_id was used before.")
	case p.expired():
		return login{}, badRequest("expired_token", "The user has not answered in time, or the answer was not fetched in time.")
	case p.answer == cancelled:
		return login{}, badRequest("access_denied", "The user has cancelled the login.")
	case p.answer == approved:
		p.spent = true
		return p.login, nil
	case p.polledTooSoon():
		s.count("slow_down")
		tooSoon := badRequest("slow_down", "The interval is %s from now on.", p.interval)
		tooSoon.retryAfter = s.currentFaults().SlowDownRetryAfter
		return login{}, tooSoon
	default:
		return login{}, badRequest("authorization_pending", "The user has not answered yet.")
	}
}

// polledTooSoon takes note of a poll. The first one may come at any time.
func (p *phoneLogin) polledTooSoon() bool {
	now := time.Now()
	tooSoon := now.Sub(p.polledAt) < p.interval // polledAt is ages ago at first
	p.polledAt = now
	if tooSoon {
		p.interval += slowDown
	}
	return tooSoon
}

// exchangePhoneCode checks the code that the phone's browser brought. The first
// use spends it, whatever comes of that.
func (s *Simulator) exchangePhoneCode(merchant *Merchant, form url.Values) (login, *oauthError) {
	if form.Get("code") == "" {
		return login{}, badRequest("invalid_request", "The parameter code is missing.")
	}
	s.phoneMu.Lock()
	defer s.phoneMu.Unlock()
	p, ok := s.phoneCodes.take(form.Get("code"))
	switch {
	case !ok:
		return login{}, badRequest("invalid_grant", "The code is unknown, too old, or was used before.")
	case p.merchant != merchant:
		return login{}, badRequest("invalid_grant", "The code was issued to another merchant.")
	}
	p.spent = true
	return p.login, nil
}
