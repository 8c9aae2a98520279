package simulator

import (
	"errors"
	"net/url"
	"time"
)

// phoneLogin is a login from a phone number, from its start until it is
// forgotten. Simulator.phoneMu guards it.
type phoneLogin struct {
	login
	bindingMessage string
	redirectURI    string // where the phone's browser goes; empty: the login ends in the app
	expires        time.Time
	interval       time.Duration // grows with every poll that comes too soon
	polledAt       time.Time
	answer         phoneAnswer
	spent          bool // it has been exchanged
}

// phoneAnswer is what the customer did.
type phoneAnswer string

const (
	unanswered phoneAnswer = ""
	approved   phoneAnswer = "approved"
	cancelled  phoneAnswer = "cancelled"
)

func (p *phoneLogin) expired() bool { return !time.Now().Before(p.expires) }

// waiting says whether the customer can still answer.
func (p *phoneLogin) waiting() bool { return p.answer == unanswered && !p.expired() }

// addPhoneLogin remembers p, unless too many of its user wait already, whichever
// merchants they are for.
func (s *Simulator) addPhoneLogin(p *phoneLogin) *oauthError {
	s.phoneMu.Lock()
	defer s.phoneMu.Unlock()
	waiting := 0
	soonest := p.expires
	for _, other := range s.phoneLogins.all() {
		if other.user == p.user && other.waiting() {
			waiting++
			if other.expires.Before(soonest) {
				soonest = other.expires
			}
		}
	}
	if waiting >= maxWaiting {
		return tooMany("too_many_requests", "Too many logins of this user wait for an answer.", time.Until(soonest))
	}
	s.phoneLogins.put(p.authReqID, p)
	return nil
}

// PhoneLogin is a login from a phone number that waits for the customer.
type PhoneLogin struct {
	AuthReqID      string
	MSN            string
	PhoneNumber    string // also where the login was started with a customer token
	Scopes         []string
	BindingMessage string
	RedirectURI    string // of requested_flow=login_to_webpage, empty otherwise
	Expires        time.Time
}

// PhoneLogins are the logins that wait for the customer, the oldest first.
func (s *Simulator) PhoneLogins() []PhoneLogin {
	s.phoneMu.Lock()
	defer s.phoneMu.Unlock()
	waiting := []PhoneLogin{}
	for _, p := range s.phoneLogins.all() {
		if p.waiting() {
			waiting = append(waiting, PhoneLogin{
				AuthReqID: p.authReqID, MSN: p.merchant.MSN, PhoneNumber: p.user.PhoneNumber, Scopes: p.scopes,
				BindingMessage: p.bindingMessage, RedirectURI: p.redirectURI, Expires: p.expires,
			})
		}
	}
	return waiting
}

var errNotWaiting = errors.New("this login does not wait for an answer: it is over, or was never there")

// AnswerPhone does what the customer does: approve or cancel. callbackURL is
// what the phone's browser opens then, with its code; it is empty for a login
// that ends in the app. It sends no ping: see [Simulator.PingPhone].
func (s *Simulator) AnswerPhone(authReqID string, approve bool) (callbackURL string, err error) {
	s.phoneMu.Lock()
	defer s.phoneMu.Unlock()
	p, ok := s.phoneLogins.get(authReqID)
	if !ok || !p.waiting() {
		return "", errNotWaiting
	}
	if !approve {
		p.answer = cancelled
		return "", nil
	}
	p.answer = approved
	p.approvedAt = time.Now()
	p.firstTime = s.firstConsent(p.merchant, p.user)
	if p.redirectURI == "" {
		return "", nil
	}
	return p.redirectURI + "?" + url.Values{"code": {s.phoneCodes.add(32, p)}}.Encode(), nil
}

// ExpirePhone ends the time that a login has, as if the customer had not looked
// at the phone.
func (s *Simulator) ExpirePhone(authReqID string) error {
	s.phoneMu.Lock()
	defer s.phoneMu.Unlock()
	p, ok := s.phoneLogins.get(authReqID)
	if !ok || !p.waiting() {
		return errNotWaiting
	}
	p.expires = time.Now()
	return nil
}
