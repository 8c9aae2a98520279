package simulator

import (
	"strings"
	"testing"
)

// press presses a button of the phone page.
func (w *world) press(answer, authReqID string) answer {
	w.t.Helper()
	return w.do("POST", phonePath, form(map[string]string{"answer": answer, "auth_req_id": authReqID}), formHeaders)
}

func TestPhonePage(t *testing.T) {
	w, _ := worldWithPing(t)
	if a := w.do("GET", phonePath, "", nil); a.status != 200 || !strings.Contains(a.body, "No login waits") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	id := w.startPhone(with(shopPhone(), map[string]string{"binding_message": "TILL-4", "scope": "openid name phoneNumber"}))
	a := w.do("GET", phonePath, "", nil)
	for _, text := range []string{
		"<html lang=\"en\">", "simulator", "Kari Nordmann: log in at Shop &lt;A&gt;?", "MSN 123456", "<strong>TILL-4</strong>",
		"<li>Name</li>", "<li>Phone number</li>", "expires in 10m0s", `name="auth_req_id" value="` + id + `"`,
		`value="approve">Approve<`, `value="cancel"`, `value="expire"`, "<legend>", `href="/_simulator/phone">Refresh`,
		"4740000004: Gerd Gammel-App, whose app is too old", "any other: no such user", "kari-customer-token",
	} {
		if !strings.Contains(a.body, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
	for _, text := range []string{"<script", "style=", "webhook-secret", "ping"} {
		if strings.Contains(a.body, text) {
			t.Errorf("the page has %q", text)
		}
	}
	w.startPhone(shopPhoneBrowser())
	w.startPhone(shopPhoneBrowser()) // its origin is in the policy once
	a = w.do("GET", phonePath, "", nil)
	if !strings.Contains(a.body, "Approve and open the browser") {
		t.Error("the page does not say that the browser opens")
	}
	if policy := a.header.Get("Content-Security-Policy"); !strings.HasSuffix(policy, "form-action 'self' http://shop-a.localhost:8080") {
		t.Errorf("policy %q", policy)
	}
}

func TestPhoneButtons(t *testing.T) {
	w, hook := worldWithPing(t)
	tests := []struct {
		button, message string
		pings           int
		poll            string
	}{
		{"cancel", "Cancelled. The ping was taken.", 1, "access_denied"},
		{"expire", "The time is over.", 0, "expired_token"},
		{"approve", "Approved. The ping was taken.", 1, ""},
	}
	for _, test := range tests {
		id := w.startPhone(shopPhone())
		hook.bodies = nil
		a := w.press(test.button, id)
		if a.status != 200 || !strings.Contains(a.body, `<p role="status"><strong>`+test.message+"</strong>") {
			t.Errorf("%s: %d %s", test.button, a.status, a.body)
		}
		if len(hook.bodies) != test.pings {
			t.Errorf("%s: %d pings, want %d", test.button, len(hook.bodies), test.pings)
		}
		if test.poll != "" {
			w.poll(id).wantError(t, 400, test.poll, "")
		} else if a := w.poll(id); a.status != 200 {
			t.Errorf("approved, but %d %s", a.status, a.body)
		}
		if again := w.press(test.button, id); again.status != 400 || !strings.Contains(again.body, "does not wait") {
			t.Errorf("%s twice: %d", test.button, again.status)
		}
	}
}

// A merchant without a ping_url is not told, and the page does not mention it.
func TestPhoneButtonsWithoutPing(t *testing.T) {
	w := newWorldWith(t, phoneConfig())
	for button, message := range map[string]string{"approve": "Approved.", "cancel": "Cancelled."} {
		a := w.press(button, w.startPhone(shopPhone()))
		if a.status != 200 || !strings.Contains(a.body, "<strong>"+message+"</strong>") || strings.Contains(a.body, "ping") {
			t.Errorf("%s: %d %s", button, a.status, a.body)
		}
	}
}

func TestPingButton(t *testing.T) {
	w, hook := worldWithPing(t)
	id := w.startPhone(shopPhone())
	hook.status = 401
	if a := w.press("approve", id); a.status != 200 || !strings.Contains(a.body, "Approved. The ping failed:") || !strings.Contains(a.body, "401 Unauthorized") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	hook.status = 200
	a := w.press("ping", id)
	if a.status != 200 || !strings.Contains(a.body, "The ping was taken.") || !strings.Contains(a.body, "Send the ping again") || len(hook.bodies) != 2 {
		t.Errorf("got %d, %d pings: %s", a.status, len(hook.bodies), a.body)
	}
}

func TestPhoneButtonOpensBrowser(t *testing.T) {
	w, hook := worldWithPing(t)
	id := w.startPhone(shopPhoneBrowser())
	a := w.press("approve", id)
	if a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), shopPhoneCallback+"?code=") {
		t.Fatalf("got %d %s", a.status, a.header.Get("Location"))
	}
	if a := w.exchangeCallback(a.location.String()); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if len(hook.bodies) != 0 {
		t.Error("this variant has no ping")
	}
	if page := w.do("GET", phonePath, "", nil).body; !strings.Contains(page, "Shop &lt;A&gt;: approved") || strings.Contains(page, "Send the ping") {
		t.Errorf("got %s", page)
	}
}

func TestBadPhoneForms(t *testing.T) {
	w := newWorldWith(t, phoneConfig())
	id := w.startPhone(shopPhone())
	for name, test := range map[string]struct {
		body   string
		header map[string]string
		text   string
	}{
		"no answer":     {"auth_req_id=" + id, formHeaders, "answer must be"},
		"other answer":  {"answer=perhaps&auth_req_id=" + id, formHeaders, "answer must be"},
		"no login":      {"answer=approve", formHeaders, "does not wait"},
		"unknown login": {"answer=approve&auth_req_id=guess", formHeaders, "does not wait"},
		"ping too soon": {"answer=ping&auth_req_id=" + id, formHeaders, "no ping belongs"},
		"repeated":      {"answer=approve&answer=cancel&auth_req_id=" + id, formHeaders, "more than once"},
		"not a form":    {"answer=approve&auth_req_id=" + id, map[string]string{"Content-Type": "text/plain"}, "Content-Type"},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.do("POST", phonePath, test.body, test.header)
			if a.status != 400 || !strings.Contains(a.body, test.text) {
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
	if a := w.do("POST", phonePath+"?answer=approve&auth_req_id="+id, "", formHeaders); a.status != 400 {
		t.Errorf("a form in the URL: %d", a.status)
	}
	w.poll(id).wantError(t, 400, "authorization_pending", "")
}
