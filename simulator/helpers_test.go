package simulator

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

const (
	shopCallback = "http://shop-a.localhost:8080/vipps/callback"
	gymCallback  = "http://gym.localhost:8080/vipps/callback"
	kari         = "4712345678"
	bjorn        = "4740000001"
	ola          = "4740000003"
	gerd         = "4740000004"

	// Verifier and S256 challenge of RFC 7636, appendix B.
	verifier     = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge256 = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// testConfig has a shop without and a gym with keys of its own.
func testConfig() Config {
	return Config{
		Partner: Partner{"partner-id", "partner-secret", "partner-subscription"},
		Merchants: []Merchant{
			{MSN: "123456", Name: "Shop <A>", RedirectURIs: []string{shopCallback}, ClientID: "shop-id"},
			{
				MSN: "234567", RedirectURIs: []string{gymCallback}, ClientID: "gym:id", ClientSecret: "gym secret%+",
				Scopes: []string{"name", "email"},
			},
		},
	}
}

// world is a simulator on a real port, and a client that follows no redirect.
type world struct {
	t      *testing.T
	sim    *Simulator
	base   string
	client *http.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, testConfig())
}

func newWorldWith(t *testing.T, config Config) *world {
	t.Helper()
	sim, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &world{t, sim, server.URL, client}
}

type answer struct {
	status   int
	header   http.Header
	body     string
	location *url.URL
}

// do sends a request. header overrides; an empty value removes.
func (w *world) do(method, target, body string, header map[string]string) answer {
	w.t.Helper()
	request, err := http.NewRequest(method, w.base+target, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for name, value := range header {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	if host := header["Host"]; host != "" {
		request.Host = host
		request.Header.Del("Host")
	}
	response, err := w.client.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{response.StatusCode, response.Header, string(text), nil}
	if l := response.Header.Get("Location"); l != "" {
		a.location = mustParse(w.t, l)
	}
	return a
}

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("status %d, not JSON: %v\n%s", a.status, err, a.body)
	}
	return v
}

// wantError checks an OAuth error answer. text is part of its description.
func (a answer) wantError(t *testing.T, status int, code, text string) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	v := a.json(t)
	if v["error"] != code || !strings.Contains(v["error_description"].(string), text) {
		t.Errorf("got %v, want error %q and a description with %q", v, code, text)
	}
	if hasChallenge := a.header.Get("WWW-Authenticate") != ""; hasChallenge != (status == 401) {
		t.Errorf("status %d with WWW-Authenticate %q", status, a.header.Get("WWW-Authenticate"))
	}
}

func systemHeaderValues() map[string]string {
	return map[string]string{
		"Vipps-System-Name": "caddy", "Vipps-System-Version": "2.11.9",
		"Vipps-System-Plugin-Name": "vippslogin", "Vipps-System-Plugin-Version": "1.0.0",
	}
}

// with is base overridden by changes; an empty value removes.
func with(base, changes map[string]string) map[string]string {
	merged := maps.Clone(base)
	maps.Copy(merged, changes)
	return merged
}

func form(values map[string]string) string {
	v := url.Values{}
	for name, value := range values {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v.Encode()
}

func partnerKeyHeaders() map[string]string {
	return with(systemHeaderValues(), map[string]string{
		"client_id": "partner-id", "client_secret": "partner-secret",
		"Ocp-Apim-Subscription-Key": "partner-subscription",
	})
}

func (w *world) partnerToken() string {
	w.t.Helper()
	a := w.do("POST", accessTokenPath, "", partnerKeyHeaders())
	if a.status != http.StatusOK {
		w.t.Fatalf("accesstoken: %d %s", a.status, a.body)
	}
	return a.json(w.t)["access_token"].(string)
}

// shopLogin are the parameters of a good authorization request.
func shopLogin() map[string]string {
	return map[string]string{
		"client_id": "shop-id", "response_type": "code", "scope": "openid name",
		"state": "state-12345", "redirect_uri": shopCallback, "nonce": "nonce-1",
		"code_challenge": challenge256, "code_challenge_method": "S256",
	}
}

var transactionField = regexp.MustCompile(`name="transaction" value="([^"]+)"`)

// transaction starts a login and returns the hidden field of the consent page.
func (w *world) transaction(params map[string]string) string {
	w.t.Helper()
	a := w.do("GET", authorizePath+"?"+form(params), "", nil)
	match := transactionField.FindStringSubmatch(a.body)
	if match == nil {
		w.t.Fatalf("no consent page: %d %s", a.status, a.body)
	}
	return match[1]
}

var formHeaders = map[string]string{"Content-Type": "application/x-www-form-urlencoded"}

func (w *world) answerConsent(fields map[string]string) answer {
	w.t.Helper()
	return w.do("POST", consentPath, form(fields), formHeaders)
}

// code logs user in and returns the authorization code.
func (w *world) code(params map[string]string, user string) string {
	w.t.Helper()
	a := w.answerConsent(map[string]string{"transaction": w.transaction(params), "answer": "approve", "user": user})
	if a.location == nil || a.location.Query().Get("code") == "" {
		w.t.Fatalf("no code: %d %v %s", a.status, a.location, a.body)
	}
	return a.location.Query().Get("code")
}

// partnerCall are the headers of a token request with partner keys.
func (w *world) partnerCall() map[string]string {
	return with(systemHeaderValues(), map[string]string{
		"Content-Type":           "application/x-www-form-urlencoded",
		"Authorization":          "Bearer " + w.partnerToken(),
		"Merchant-Serial-Number": "123456",
	})
}

func basic(id, secret string) string {
	pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
}

func exchange(code string) map[string]string {
	return map[string]string{
		"grant_type": "authorization_code", "code": code,
		"redirect_uri": shopCallback, "code_verifier": verifier,
	}
}

// login runs a whole login and returns the token answer.
func (w *world) login(params map[string]string, user string) map[string]any {
	w.t.Helper()
	a := w.do("POST", tokenPath, form(exchange(w.code(params, user))), w.partnerCall())
	if a.status != http.StatusOK {
		w.t.Fatalf("token: %d %s", a.status, a.body)
	}
	return a.json(w.t)
}

func (w *world) userinfo(accessToken string) map[string]any {
	w.t.Helper()
	a := w.do("GET", userinfoPath, "", with(systemHeaderValues(), map[string]string{"Authorization": "Bearer " + accessToken}))
	if a.status != http.StatusOK {
		w.t.Fatalf("userinfo: %d %s", a.status, a.body)
	}
	return a.json(w.t)
}
