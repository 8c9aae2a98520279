package harness

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// Approve is what a person answers at the simulator's consent page.
func Approve(user string) url.Values { return url.Values{"user": {user}, "answer": {"approve"}} }

const (
	APIKey        = "an-api-key-of-the-till-with-32-characters"
	OlderAPIKey   = "an-older-api-key-with-32-characters-or-more"
	WebhookSecret = "a-webhook-secret"
)

const PhoneShops = `
http://shop-a.localhost:$HTTP {
	log
	vipps_login /account/* 123456 {
		phone {
			api_key {env.TILL_API_KEY} {env.TILL_OLDER_API_KEY}
			scope openid name phoneNumber
			webhook_secret another-webhook-secret ` + WebhookSecret + `
		}
	}
	reverse_proxy $UPSTREAM
}
http://shop-b.localhost:$HTTP {
	vipps_login /account/* 234567 {
		phone {
			api_key {env.TILL_API_KEY}
		}
	}
	reverse_proxy $UPSTREAM
}
http://shop-c.localhost:$HTTP {
	vipps_login /account/* 123456
	reverse_proxy $UPSTREAM
}
`

// NewPhoneWorld starts everything for phone logins, and a Caddy with PhoneShops.
func NewPhoneWorld(t *testing.T) *World {
	t.Helper()
	t.Setenv("TILL_API_KEY", APIKey)
	t.Setenv("TILL_OLDER_API_KEY", OlderAPIKey)
	w := WorldWith(t, func(w *World) []simulator.Merchant {
		return []simulator.Merchant{
			{MSN: "123456", RedirectURIs: []string{w.Shop("shop-a.localhost") + "/vipps/callback", w.Shop("shop-a.localhost") + "/vipps/phone/callback"}},
			{MSN: "234567", RedirectURIs: []string{w.Shop("shop-b.localhost") + "/vipps/callback", w.Shop("shop-b.localhost") + "/vipps/phone/callback"}},
		}
	})
	w.Load(PhoneShops)
	return w
}

// Till is a merchant's own system: no browser, an API key.
type Till struct {
	*Browser
	Shop string
}

// NewTill returns a till that calls the phone API of a shop.
func NewTill(t testing.TB, shop string) Till {
	b := NewBrowser(t)
	b.Client.Jar = nil
	b.Header = nil
	return Till{b, shop}
}

// Call sends a request to the phone API: a path below /vipps, and a body that is JSON or a form.
func (c Till) Call(method, path, body string, header ...string) Answer {
	c.T.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
		contentType := "application/json"
		if !strings.HasPrefix(body, "{") {
			contentType = "application/x-www-form-urlencoded"
		}
		header = append([]string{"Content-Type: " + contentType}, header...)
	}
	return c.Do(NewRequest(c.T, method, c.Shop+"/vipps"+path, reader, append([]string{"Authorization: Bearer " + APIKey}, header...)...))
}

// PhoneState is what the phone API says of a login.
type PhoneState struct {
	ID        string         `json:"id"`
	Status    string         `json:"status"`
	MSN       string         `json:"msn"`
	Error     string         `json:"error"`
	ExpiresIn int            `json:"expires_in"`
	Interval  int            `json:"interval"`
	Userinfo  map[string]any `json:"userinfo"`
	Detail    string         `json:"detail"`
}

// State reads the answer as the state of a phone login.
func (a Answer) State(t testing.TB) PhoneState {
	t.Helper()
	var state PhoneState
	if err := json.Unmarshal([]byte(a.Text), &state); err != nil {
		t.Fatalf("%s %s: %d %q: %v", a.Request.Method, a.Request.URL, a.StatusCode, a.Text, err)
	}
	return state
}

// Start starts a login and returns its id and Vipps MobilePay's.
func (c Till) Start(w *World, body string) (id, authReqID string) {
	c.T.Helper()
	known := map[string]bool{}
	for _, l := range w.Vipps.Sim.PhoneLogins() {
		known[l.AuthReqID] = true
	}
	id = c.Call("POST", "/phone", body).WantStatus(c.T, http.StatusAccepted).State(c.T).ID
	for _, l := range w.Vipps.Sim.PhoneLogins() {
		if !known[l.AuthReqID] {
			return id, l.AuthReqID
		}
	}
	c.T.Fatal("Vipps knows of no login")
	return "", ""
}

// Status asks for the state of a phone login.
func (c Till) Status(id string) PhoneState {
	c.T.Helper()
	return c.Call("GET", "/phone/"+id, "").WantStatus(c.T, http.StatusOK).State(c.T)
}

func MustAnswer(t *testing.T, w *World, authReqID string, approve bool) string {
	t.Helper()
	callback, err := w.Vipps.Sim.AnswerPhone(authReqID, approve)
	if err != nil {
		t.Fatal(err)
	}
	return callback
}

// Ping sends a signed ping, changed by change after it was signed.
func (w *World) Ping(t *testing.T, address, body, secret string, change func(*http.Request)) Answer {
	t.Helper()
	req := NewRequest(t, http.MethodPost, address, strings.NewReader(body), "Content-Type: application/json")
	simulator.SignPing(req, []byte(body), secret, time.Now())
	if change != nil {
		change(req)
	}
	b := NewBrowser(t)
	b.Header = nil
	return b.Do(req)
}

type recorder struct {
	header http.Header
	Body   strings.Builder
}

// NewRecorder returns a ResponseWriter that keeps the body.
func NewRecorder() *recorder { return &recorder{header: http.Header{}} }

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) Write(b []byte) (int, error) { return r.Body.Write(b) }

func (r *recorder) WriteHeader(int) {}
