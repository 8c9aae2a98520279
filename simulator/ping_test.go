package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The signature was computed with openssl, by the words of Vipps MobilePay's
// page on webhooks.
func TestSignPing(t *testing.T) {
	body := `{"auth_req_id":"abc"}`
	date := time.Date(1994, time.November, 6, 9, 49, 37, 0, time.FixedZone("CET", 3600))
	fromClient, err := http.NewRequest("POST", "http://shop-a.localhost:8080/vipps/webhook?a=b%20c", nil)
	if err != nil {
		t.Fatal(err)
	}
	toServer := httptest.NewRequest("POST", "/vipps/webhook?a=b%20c", nil)
	toServer.Host = "shop-a.localhost:8080"
	for _, r := range []*http.Request{fromClient, toServer} {
		SignPing(r, []byte(body), "a secret", date)
		for name, want := range map[string]string{
			"x-ms-date":           "Sun, 06 Nov 1994 08:49:37 GMT",
			"x-ms-content-sha256": "+vl4u1N/szuW7JeuBL+Q1hpxR7W4NfJv/hMmvjps128=",
			"Authorization":       "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=8oAwtaMRiXh7gr2FvHiEjc+qYBnG6Lm4G5Pwp9YguEM=",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	}
}

// webhook is a merchant's end of the pings. It answers with status and keeps
// what came.
type webhook struct {
	url    string
	status int
	bodies []string
}

func newWebhook(t *testing.T, secret string) *webhook {
	t.Helper()
	hook := &webhook{status: http.StatusOK}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %v %v", r.Method, r.Header, err)
		}
		wantSigned(t, r, body, secret)
		hook.bodies = append(hook.bodies, string(body))
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(hook.status)
	}))
	t.Cleanup(server.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	hook.url = "http://shop-a.localhost:" + port + "/vipps/webhook"
	return hook
}

func wantSigned(t *testing.T, r *http.Request, body []byte, secret string) {
	t.Helper()
	date, err := http.ParseTime(r.Header.Get("x-ms-date"))
	if err != nil || time.Since(date).Abs() > time.Minute {
		t.Errorf("x-ms-date is %q", r.Header.Get("x-ms-date"))
	}
	hash := sha256.Sum256(body)
	content := base64.StdEncoding.EncodeToString(hash[:])
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("POST\n/vipps/webhook\n" + r.Header.Get("x-ms-date") + ";" + r.Host + ";" + content))
	want := "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=" + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if r.Header.Get("x-ms-content-sha256") != content || r.Header.Get("Authorization") != want {
		t.Errorf("the signature is wrong: %v", r.Header)
	}
}

func worldWithPing(t *testing.T) (*world, *webhook) {
	t.Helper()
	hook := newWebhook(t, "webhook-secret")
	config := phoneConfig()
	config.Merchants[0].PingURL, config.Merchants[0].PingSecret = hook.url, "webhook-secret"
	return newWorldWith(t, config), hook
}

func TestPingPhone(t *testing.T) {
	w, hook := worldWithPing(t)
	approvedID, cancelledID := w.startPhone(shopPhone()), w.startPhone(shopPhone())
	if err := w.sim.PingPhone(approvedID); err == nil {
		t.Error("pinged before the customer answered")
	}
	w.answerPhone(approvedID, true)
	w.answerPhone(cancelledID, false)
	if len(hook.bodies) != 0 {
		t.Error("AnswerPhone has pinged; tests do that themselves")
	}
	for _, id := range []string{approvedID, cancelledID, approvedID} {
		if err := w.sim.PingPhone(id); err != nil {
			t.Error(err)
		}
		if got := hook.bodies[len(hook.bodies)-1]; got != `{"auth_req_id":"`+id+`"}` {
			t.Errorf("got %s, want %s", got, id)
		}
	}
	w.poll(approvedID)
	if err := w.sim.PingPhone(approvedID); err != nil {
		t.Errorf("a ping that comes late: %v", err)
	}
}

func TestPingRefusals(t *testing.T) {
	w, hook := worldWithPing(t)
	id := w.startPhone(shopPhone())
	w.answerPhone(id, true)
	// A redirect is an answer like any other, and is not followed.
	for _, status := range []int{201, 302, 401, 500} {
		hook.status = status
		if err := w.sim.PingPhone(id); err == nil || !strings.Contains(err.Error(), "not 200") {
			t.Errorf("%d: %v", status, err)
		}
	}
	if len(hook.bodies) != 4 {
		t.Errorf("%d calls, want 4", len(hook.bodies))
	}
	hook.status = 200
	toBrowser := w.startPhone(shopPhoneBrowser())
	w.answerPhone(toBrowser, true)
	gym := with(w.partnerCall(), map[string]string{"Merchant-Serial-Number": "234567"})
	gymID := w.do("POST", backchannelPath, form(shopPhone()), gym).json(t)["auth_req_id"].(string)
	w.answerPhone(gymID, true)
	for name, id := range map[string]string{"to the browser": toBrowser, "no ping_url": gymID, "unknown": "guess"} {
		if err := w.sim.PingPhone(id); err == nil || !strings.Contains(err.Error(), "no ping belongs") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type never struct{}

func (never) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// A webhook that does not answer is given ten seconds.
func TestPingTimeout(t *testing.T) {
	config := phoneConfig()
	config.Merchants[0].PingURL, config.Merchants[0].PingSecret = "http://127.0.0.1:1/", "webhook-secret"
	inBubbleWith(t, config, func(t *testing.T, w *world) {
		w.sim.pingClient.Transport = never{}
		id := w.startPhone(shopPhone())
		w.answerPhone(id, true)
		begin := time.Now()
		if err := w.sim.PingPhone(id); err == nil || time.Since(begin) != 10*time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
	})
}
