package demo_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

var phoneLoginField = regexp.MustCompile(`name="auth_req_id" value="([^"]+)"`)

// The cashier types a number, the customer approves, and the till has the
// profile, long before it would have asked again: the ping works.
func TestTill(t *testing.T) {
	shops, vipps := startDemo(t)
	till := "http://till.localhost:" + shops
	b := newBrowser(t)
	b.open(till)
	b.wantPage(till, "Till of shop A", `src="/till.js"`)
	b.fetch(http.MethodPost, till+"/start", `{"phone_number": "+47 12 34 56 78", "binding_message": "TILL-123", "finish": "app"}`)
	id := b.wantJSON(http.StatusAccepted, "status", "pending")["id"].(string)
	b.fetch(http.MethodGet, till+"/status/"+id, "")
	b.wantJSON(http.StatusOK, "status", "pending")
	b.open(till + "/phone")
	b.wantPage(vipps+"/_simulator/phone", "Kari Nordmann: log in at Shop A?", "TILL-123", "<li>Phone number</li>")
	b.approveOnPhone(vipps)
	b.wantPage(vipps, "Approved. The ping was taken.")
	b.fetch(http.MethodGet, till+"/status/"+id+"?wait=2", "")
	info := b.wantJSON(http.StatusOK, "status", "complete")["userinfo"].(map[string]any)
	if info["name"] != "Kari Nordmann" || info["phone_number"] != "4712345678" {
		t.Errorf("got %v", info)
	}
}

// The customer goes on in the phone's browser, which is logged in at shop A.
func TestTillOpensBrowser(t *testing.T) {
	shops, vipps := startDemo(t)
	till := "http://till.localhost:" + shops
	cashier, customer := newBrowser(t), newBrowser(t)
	cashier.fetch(http.MethodPost, till+"/start", `{"phone_number": "+4740000001", "finish": "browser"}`)
	id := cashier.wantJSON(http.StatusAccepted, "status", "pending")["id"].(string)
	customer.open(vipps + "/_simulator/phone")
	customer.wantPage(vipps, "Approve and open the browser")
	customer.approveOnPhone(vipps)
	customer.wantPage("http://shop-a.localhost:"+shops+"/", "Hello Bjørn Ærlig-Åsen")
	cashier.fetch(http.MethodGet, till+"/status/"+id, "")
	cashier.wantJSON(http.StatusOK, "status", "complete")
}

// The till's backend works for its own screen, not for any page that the
// browser has open, and no page is given the key.
func TestTillIsNoOpenDoor(t *testing.T) {
	shops, vipps := startDemo(t)
	till := "http://till.localhost:" + shops
	b := newBrowser(t)
	for _, site := range []string{"", "cross-site", "same-site", "none"} {
		b.fetchFrom(site, http.MethodPost, till+"/start", `{"phone_number": "+4712345678"}`)
		if b.status != http.StatusForbidden {
			t.Errorf("from %q: %d %s", site, b.status, b.page)
		}
	}
	b.fetch(http.MethodPost, till+"/vipps/phone", `{"phone_number": "+4712345678"}`)
	if b.status == http.StatusAccepted {
		t.Errorf("the whole phone API is open: %s", b.page)
	}
	b.open(vipps + "/_simulator/phone")
	b.wantPage(vipps, "No login waits")
	for _, path := range []string{"/", "/till.js"} {
		if b.open(till + path); b.status != http.StatusOK || strings.Contains(b.page, "api-key") {
			t.Errorf("%s: %d %s", path, b.status, b.page)
		}
	}
}

// fetch does what the script of a page does at the page's own site.
func (b *browser) fetch(method, target, body string) {
	b.t.Helper()
	b.fetchFrom("same-origin", method, target, body)
}

func (b *browser) fetchFrom(site, method, target, body string) {
	b.t.Helper()
	request, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Origin", "http://"+request.Host)
	if site != "" {
		request.Header.Set("Sec-Fetch-Site", site)
	}
	b.send(request)
}

// wantJSON checks the status and one field of the answer, which it returns.
func (b *browser) wantJSON(status int, field string, want any) map[string]any {
	b.t.Helper()
	var answer map[string]any
	if err := json.Unmarshal([]byte(b.page), &answer); err != nil || b.status != status || answer[field] != want {
		b.t.Fatalf("got %d %s, want %d with %s %v", b.status, b.page, status, field, want)
	}
	return answer
}

// approveOnPhone presses the first button of the phone page that is shown.
func (b *browser) approveOnPhone(vipps string) {
	b.t.Helper()
	match := phoneLoginField.FindStringSubmatch(b.page)
	if match == nil {
		b.t.Fatalf("no login waits: %s", b.page)
	}
	form := url.Values{"auth_req_id": {match[1]}, "answer": {"approve"}}
	request, err := http.NewRequest(http.MethodPost, vipps+"/_simulator/phone", strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.send(request)
}
