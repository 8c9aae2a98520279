package simulator

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The Webhooks API: where pings are sent
// (https://developer.vippsmobilepay.com/docs/APIs/webhooks-api/).

const (
	webhooksPath = "/webhooks/v1/webhooks"

	// pingEvent is the event of logins from a phone number.
	pingEvent = "login.merchant-initiated.ping.v1"

	// maxRegistrations is how many there can be for an event in a bucket: one sales unit's, or the partner's.
	maxRegistrations = 25

	// deletedAfter is how long an endpoint can fail before its registration is deleted.
	deletedAfter = 14 * 24 * time.Hour
)

// registration is one webhook.
type registration struct {
	ID     string   `json:"id"`
	URL    string   `json:"url"`
	Events []string `json:"events"`

	secret  string
	msn     string    // of the bucket; "" for all of the partner's sales units, future ones too
	failing time.Time // since when every ping has failed; zero: the last one was taken
}

// webhooks serves what is below the Webhooks API's path.
func (s *Simulator) webhooks(w http.ResponseWriter, r *http.Request) {
	merchant, err := s.authenticateAPI(r)
	if err != nil {
		err.write(w)
		return
	}
	msn := ""
	if merchant != nil {
		msn = merchant.MSN
	}
	id := strings.TrimPrefix(strings.TrimPrefix(r.URL.EscapedPath(), webhooksPath), "/")
	switch {
	case id == "" && r.Method == http.MethodGet:
		writeJSON(w, http.StatusOK, map[string]any{"webhooks": s.registrations(func(g *registration) bool { return g.msn == msn })})
	case id == "" && r.Method == http.MethodPost:
		s.register(w, r, msn)
	case id != "" && r.Method == http.MethodDelete:
		s.unregister(w, id, msn)
	default:
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	}
}

// register makes a registration. Its secret is shown this once.
func (s *Simulator) register(w http.ResponseWriter, r *http.Request, msn string) {
	var asked struct {
		URL    string   `json:"url"`
		Events []string `json:"events"`
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxFormBytes))
	if err != nil || json.Unmarshal(body, &asked) != nil || len(asked.Events) == 0 {
		badRequest("invalid_request", "The body must be JSON with url and events.").write(w)
		return
	}
	if u, err := parseWebURL(asked.URL); err != nil || !isLoopbackHost(u.Host) {
		badRequest("invalid_request", "The url must be one of this machine: the simulator calls no other.").write(w)
		return
	}
	for _, event := range asked.Events {
		same := s.registrations(func(g *registration) bool { return g.msn == msn && slices.Contains(g.Events, event) })
		if len(same) >= maxRegistrations {
			badRequest("invalid_request", "There are %d registrations for the event %s already.", maxRegistrations, event).write(w)
			return
		}
	}
	g := &registration{ID: randomUUID(), URL: asked.URL, Events: asked.Events, secret: randomText(32), msn: msn}
	s.mu.Lock()
	s.registered = append(s.registered, g)
	s.mu.Unlock()
	writeJSON(w, http.StatusCreated, map[string]string{"id": g.ID, "secret": g.secret})
}

func (s *Simulator) unregister(w http.ResponseWriter, id, msn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.registered)
	s.registered = slices.DeleteFunc(s.registered, func(g *registration) bool { return g.ID == id && g.msn == msn })
	if len(s.registered) == before {
		notFound("There is no such registration.").write(w)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// registrations returns those that have not been deleted, the oldest first.
func (s *Simulator) registrations(which func(*registration) bool) []*registration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registered = slices.DeleteFunc(s.registered, func(g *registration) bool {
		return !g.failing.IsZero() && time.Since(g.failing) >= deletedAfter
	})
	found := []*registration{}
	for _, g := range s.registered {
		if which(g) {
			found = append(found, g)
		}
	}
	return found
}

// note writes down how a ping ended.
func (s *Simulator) note(g *registration, taken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case taken:
		g.failing = time.Time{}
	case g.failing.IsZero():
		g.failing = time.Now()
	}
}

// pingTargets are where the ping of a login at a merchant goes, and the secret of each.
func (s *Simulator) pingTargets(m *Merchant) []pingTarget {
	var targets []pingTarget
	if m.PingURL != "" {
		targets = append(targets, pingTarget{url: m.PingURL, secret: m.PingSecret})
	}
	for _, g := range s.registrations(func(g *registration) bool {
		return (g.msn == "" || g.msn == m.MSN) && slices.Contains(g.Events, pingEvent)
	}) {
		targets = append(targets, pingTarget{url: g.URL, secret: g.secret, registration: g})
	}
	return targets
}

// pingTarget is one of them.
type pingTarget struct {
	url, secret  string
	registration *registration // nil for a ping_url of the config
}
