package simulator

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

type phonePage struct {
	Brand     brand
	Message   string
	Waiting   []phoneRow
	Answered  []phoneRow
	Users     []*User
	Action    string
	IndexPath string
	StylePath string
}

// phoneRow is one login on the page.
type phoneRow struct {
	AuthReqID      string
	Merchant       *Merchant
	User           *User
	BindingMessage string
	Scopes         []string
	ExpiresIn      time.Duration
	RedirectURI    string
	Answer         phoneAnswer
	CanPing        bool
}

// phone is the page that plays the customers' phones. The forms that it posts
// back to itself, and that tests may post without looking at the page's text,
// have the fields
//
//	auth_req_id  the hidden field's value
//	answer       approve, cancel, expire, or ping for an answered login
//
// approve answers with a redirect where the login ends in the browser.
func (s *Simulator) phone(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		s.showPhone(w, http.StatusOK, "")
		return
	}
	form, problem := readForm(w, r)
	if problem != nil {
		s.errorPage(w, problem.status, problem.description)
		return
	}
	message, callbackURL, err := s.usePhone(form.Get("answer"), form.Get("auth_req_id"))
	switch {
	case err != nil:
		s.showPhone(w, http.StatusBadRequest, "This did not work: "+err.Error()+".")
	case callbackURL != "":
		http.Redirect(w, r, callbackURL, http.StatusSeeOther)
	default:
		s.showPhone(w, http.StatusOK, message)
	}
}

// usePhone does what a button of the page says.
func (s *Simulator) usePhone(button, authReqID string) (message, callbackURL string, err error) {
	switch button {
	case "approve":
		callbackURL, err = s.AnswerPhone(authReqID, true)
		message = "Approved."
	case "cancel":
		_, err = s.AnswerPhone(authReqID, false)
		message = "Cancelled."
	case "expire":
		return "The time is over.", "", s.ExpirePhone(authReqID)
	case "ping":
		if !s.hasPing(authReqID) {
			return "", "", errNoPing
		}
	default:
		return "", "", errors.New("the answer must be approve, cancel, expire or ping")
	}
	if err == nil && s.hasPing(authReqID) {
		message += s.pingMessage(authReqID)
	}
	return message, callbackURL, err
}

func (s *Simulator) hasPing(authReqID string) bool {
	p, ok := s.phoneLogins.get(authReqID)
	return ok && s.canPing(p)
}

func (s *Simulator) pingMessage(authReqID string) string {
	if err := s.PingPhone(authReqID); err != nil {
		return " The ping failed: " + err.Error() + "."
	}
	return " The ping was taken."
}

// showPhone shows what waits, and what has been answered and not expired.
func (s *Simulator) showPhone(w http.ResponseWriter, status int, message string) {
	page := phonePage{
		Brand: brandOf("", time.Now()), Message: strings.TrimSpace(message), Users: s.users,
		Action: phonePath, IndexPath: indexPath, StylePath: stylePath,
	}
	origins := []string{}
	for _, row := range s.phoneRows() {
		if row.Answer != unanswered {
			page.Answered = append(page.Answered, row)
			continue
		}
		page.Waiting = append(page.Waiting, row)
		if row.RedirectURI != "" {
			origins = append(origins, originOf(row.RedirectURI))
		}
	}
	slices.Sort(origins)
	// Browsers hold the redirect that answers a form against form-action too.
	s.render(w, status, "phone.html", strings.Join(slices.Compact(origins), " "), page)
}

func (s *Simulator) phoneRows() []phoneRow {
	s.phoneMu.Lock()
	defer s.phoneMu.Unlock()
	rows := []phoneRow{}
	for _, p := range s.phoneLogins.all() {
		if p.expired() {
			continue
		}
		rows = append(rows, phoneRow{
			AuthReqID: p.authReqID, Merchant: p.merchant, User: p.user, BindingMessage: p.bindingMessage,
			Scopes: scopeTexts(p.scopes), ExpiresIn: time.Until(p.expires).Round(time.Second),
			RedirectURI: p.redirectURI, Answer: p.answer, CanPing: s.canPing(p),
		})
	}
	return rows
}
