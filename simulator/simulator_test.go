package simulator

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func record(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	return recorder
}

func TestDiscovery(t *testing.T) {
	w := newWorld(t)
	a := w.do("GET", discoveryPath, "", nil)
	if a.status != 200 || a.header.Get("Cache-Control") != "max-age=3600" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %v", a.status, a.header)
	}
	v := a.json(t)
	for name, want := range map[string]any{
		"issuer":                              w.base + "/access-management-1.0/access/",
		"authorization_endpoint":              w.base + "/access-management-1.0/access/oauth2/auth",
		"token_endpoint":                      w.base + "/access-management-1.0/access/oauth2/token",
		"userinfo_endpoint":                   w.base + "/vipps-userinfo-api/userinfo",
		"jwks_uri":                            w.base + "/access-management-1.0/access/.well-known/jwks.json",
		"backchannel_authentication_endpoint": w.base + "/vipps-login-ciba/api/backchannel/authentication",
		"grant_types_supported": []any{
			"authorization_code", "urn:openid:params:grant-type:ciba", "urn:vipps:params:grant-type:ciba-redirect",
		},
		"id_token_signing_alg_values_supported": []any{"RS256"},
		"code_challenge_methods_supported":      []any{"S256"},
		"end_session_endpoint":                  nil,
	} {
		if !reflect.DeepEqual(v[name], want) {
			t.Errorf("%s is %v, want %v", name, v[name], want)
		}
	}
}

func TestConfiguredBaseURL(t *testing.T) {
	config := testConfig()
	config.BaseURL = "https://vipps.localhost"
	sim, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	body := record(sim, loopbackRequest("GET", discoveryPath, "")).Body.String()
	if !strings.Contains(body, `"issuer":"https://vipps.localhost/access-management-1.0/access/"`) {
		t.Error(body)
	}
}

func TestBaseURLOfTheRequest(t *testing.T) {
	sim, err := New(testConfig())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(sim)
	defer server.Close()
	w := &world{t: t, sim: sim, base: server.URL, client: server.Client()}
	if got := w.do("GET", discoveryPath, "", nil).json(t)["issuer"]; got != server.URL+"/access-management-1.0/access/" {
		t.Errorf("issuer is %v, want it below %s", got, server.URL)
	}
}

func TestPathsAndMethods(t *testing.T) {
	w := newWorld(t)
	tests := []struct {
		method, target string
		status         int
	}{
		{"GET", "/", 404},
		{"GET", "/_simulator", 404},
		{"GET", "/_simulator/other", 404},
		{"GET", discoveryPath + "/", 404},
		{"GET", "/" + discoveryPath, 404},
		{"GET", "/access-management-1.0/access%2F.well-known/openid-configuration", 404},
		{"GET", "/Access-Management-1.0/access/.well-known/openid-configuration", 404},
		{"POST", backchannelPath + "/", 404},
		{"HEAD", discoveryPath, 200},
		{"HEAD", jwksPath, 200},
		{"POST", discoveryPath, 405},
		{"GET", accessTokenPath, 405},
		{"POST", authorizePath, 405},
		{"HEAD", authorizePath, 405},
		{"GET", tokenPath, 405},
		{"GET", consentPath, 405},
		{"POST", userinfoPath, 405},
		{"GET", backchannelPath, 405},
		{"GET", userExistsPath, 405},
		{"HEAD", phonePath, 200},
		{"PUT", phonePath, 405},
	}
	for _, test := range tests {
		a := w.do(test.method, test.target, "", nil)
		if a.status != test.status {
			t.Errorf("%s %s: %d, want %d", test.method, test.target, a.status, test.status)
		}
		if (a.status == 405) != (a.header.Get("Allow") != "") {
			t.Errorf("%s %s: %d with Allow %q", test.method, test.target, a.status, a.header.Get("Allow"))
		}
	}
}

// Load tests in other processes read the counters as JSON.
func TestCalls(t *testing.T) {
	w := newWorld(t)
	want := map[string]any{
		"discovery": 1.0, "jwks": 0.0, "accesstoken": 1.0, "authorize": 2.0,
		"consent": 1.0, "token": 1.0, "userinfo": 1.0, "other": 1.0,
		"backchannel": 1.0, "exists": 1.0, "phone": 2.0, "slow_down": 0.0, "management": 0.0, "webhooks": 0.0,
	}
	w.do("GET", discoveryPath, "", nil)
	w.do("GET", "/nowhere", "", nil)
	w.do("GET", authorizePath+"?msn=123456", "", nil)
	w.userinfo(w.login(shopLogin(), kari)["access_token"].(string))
	w.do("GET", indexPath, "", nil)
	w.do("POST", backchannelPath, "", nil)
	w.do("POST", userExistsPath, "", nil)
	w.do("GET", phonePath, "", nil)
	w.do("POST", phonePath, "", nil)
	if got := w.do("GET", callsPath, "", nil).json(t); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if got := w.sim.Calls(); got["authorize"] != 2 || len(got) != len(want) {
		t.Errorf("Calls gives %v", got)
	}
}

// For the race detector, and for one code that many try to use.
func TestConcurrentUse(t *testing.T) {
	w := newWorld(t)
	header := w.partnerCall()
	body := form(exchange(w.code(shopLogin(), kari)))
	var group sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 8 {
		group.Go(func() {
			r := loopbackRequest("POST", tokenPath, body)
			for name, value := range header {
				r.Header.Set(name, value)
			}
			recorder := record(w.sim, r)
			mu.Lock()
			defer mu.Unlock()
			statuses[recorder.Code]++
			w.sim.Calls()
		})
	}
	group.Wait()
	if statuses[200] != 1 || statuses[400] != 7 {
		t.Errorf("got %v, want one 200 and seven 400", statuses)
	}
}
