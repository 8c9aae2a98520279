package simulator

import (
	"testing"
	"time"
)

// shopPhoneCallback is where the phone's browser lands.
const shopPhoneCallback = "http://shop-a.localhost:8080/vipps/phone/callback"

// phoneConfig is testConfig with what logins from a phone number need.
func phoneConfig() Config {
	config := testConfig()
	config.Merchants[0].RedirectURIs = append(config.Merchants[0].RedirectURIs, shopPhoneCallback)
	return config
}

// shopPhone are the fields of a good backchannel request, which ends in the app.
func shopPhone() map[string]string {
	return map[string]string{"scope": "openid name", "login_hint": hintPhoneNumber + kari, "nonce": "nonce-1"}
}

// shopPhoneBrowser is the same, and ends in the phone's browser.
func shopPhoneBrowser() map[string]string {
	return with(shopPhone(), map[string]string{"requested_flow": flowToWebpage, "redirect_uri": shopPhoneCallback})
}

func (w *world) backchannel(fields map[string]string) answer {
	w.t.Helper()
	return w.do("POST", backchannelPath, form(fields), w.partnerCall())
}

// startPhone starts a login and returns its auth_req_id.
func (w *world) startPhone(fields map[string]string) string {
	w.t.Helper()
	a := w.backchannel(fields)
	if a.status != 200 {
		w.t.Fatalf("backchannel: %d %s", a.status, a.body)
	}
	return a.json(w.t)["auth_req_id"].(string)
}

func (w *world) poll(authReqID string) answer {
	w.t.Helper()
	fields := map[string]string{"grant_type": "urn:openid:params:grant-type:ciba", "auth_req_id": authReqID}
	return w.do("POST", tokenPath, form(fields), w.partnerCall())
}

func (w *world) exchangeCallback(callbackURL string) answer {
	w.t.Helper()
	return w.do("POST", tokenPath, form(phoneCode(w.t, callbackURL)), w.partnerCall())
}

// phoneCode is the token request for a code that the phone's browser brought.
func phoneCode(t *testing.T, callbackURL string) map[string]string {
	t.Helper()
	code := mustParse(t, callbackURL).Query().Get("code")
	return map[string]string{"grant_type": "urn:vipps:params:grant-type:ciba-redirect", "code": code}
}

// answerPhone is the customer's answer.
func (w *world) answerPhone(authReqID string, approve bool) (callbackURL string) {
	w.t.Helper()
	callbackURL, err := w.sim.AnswerPhone(authReqID, approve)
	if err != nil {
		w.t.Fatal(err)
	}
	return callbackURL
}

// inPhoneBubble is inBubble with the phone's configuration.
func inPhoneBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	inBubbleWith(t, phoneConfig(), test)
}

// bornYearsAgo is the date of birth of who is that many years old today, or
// will be in so many days.
func bornYearsAgo(years, inDays int) string {
	return time.Now().UTC().AddDate(-years, 0, inDays).Format(time.DateOnly)
}
