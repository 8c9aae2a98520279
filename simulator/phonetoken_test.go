package simulator

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestPollUntilApproved(t *testing.T) {
	inPhoneBubble(t, func(t *testing.T, w *world) {
		id := w.startPhone(shopPhone())
		w.poll(id).wantError(t, 400, "authorization_pending", "")
		w.answerPhone(id, true)
		// Right after the last poll: an answer is there, so it is not too soon.
		a := w.poll(id)
		v := a.json(t)
		if a.status != 200 || v["token_type"] != "bearer" || v["expires_in"] != 300.0 || !strings.HasPrefix(fmt.Sprint(v["access_token"]), "ciba.") || v["scope"] != "openid name" || v["id_token"] == "" {
			t.Errorf("got %d %v", a.status, v)
		}
		if info := w.userinfo(v["access_token"].(string)); info["name"] != "Kari Nordmann" || info["phone_number"] != nil {
			t.Errorf("got %v", info)
		}
		w.poll(id).wantError(t, 400, "invalid_grant", "used before")
	})
}

// Polls must be interval apart, to the millisecond. Each that is not adds five
// seconds.
func TestSlowDown(t *testing.T) {
	inPhoneBubble(t, func(t *testing.T, w *world) {
		id, other := w.startPhone(shopPhone()), w.startPhone(shopPhone())
		for _, step := range []struct {
			wait time.Duration
			want string
		}{
			{0, "authorization_pending"},
			{5 * time.Second, "authorization_pending"},
			{5*time.Second - time.Millisecond, "slow_down"},
			{10*time.Second - time.Millisecond, "slow_down"},
			{15 * time.Second, "authorization_pending"},
			{15*time.Second - time.Millisecond, "slow_down"},
			{20 * time.Second, "authorization_pending"},
		} {
			time.Sleep(step.wait)
			w.poll(id).wantError(t, 400, step.want, "")
		}
		if got := w.sim.Calls(); got["slow_down"] != 3 || got["token"] != 7 {
			t.Errorf("counted %v", got)
		}
		// Another login has an interval of its own.
		w.poll(other).wantError(t, 400, "authorization_pending", "")
	})
}

func TestPhoneLoginExpires(t *testing.T) {
	for name, test := range map[string]struct {
		fields   map[string]string
		lifetime time.Duration
	}{
		"by default": {nil, 600 * time.Second},
		"at least":   {map[string]string{"requested_expiry": "60"}, 60 * time.Second},
		"at most":    {map[string]string{"requested_expiry": "900"}, 900 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inPhoneBubble(t, func(t *testing.T, w *world) {
				fields := with(shopPhone(), test.fields)
				waits, fetched, unfetched := w.startPhone(fields), w.startPhone(fields), w.startPhone(fields)
				w.answerPhone(fetched, true)
				w.answerPhone(unfetched, true)
				until(test.lifetime, func(alive bool) {
					if alive {
						w.poll(waits).wantError(t, 400, "authorization_pending", "")
						if a := w.poll(fetched); a.status != 200 {
							t.Errorf("got %d %s", a.status, a.body)
						}
						return
					}
					w.poll(waits).wantError(t, 400, "expired_token", "")
					w.poll(unfetched).wantError(t, 400, "expired_token", "")
					w.poll(fetched).wantError(t, 400, "invalid_grant", "used before")
					if _, err := w.sim.AnswerPhone(waits, true); err == nil {
						t.Error("answered when it was over")
					}
				})
			})
		})
	}
}

// Everything is forgotten in the end.
func TestPhoneLoginsAreForgotten(t *testing.T) {
	inPhoneBubble(t, func(t *testing.T, w *world) {
		id := w.startPhone(shopPhone())
		w.answerPhone(w.startPhone(shopPhoneBrowser()), true)
		time.Sleep(phoneLoginKept + time.Second)
		w.poll(id).wantError(t, 400, "invalid_grant", "unknown")
		w.exchangeCallback("http://x/?code=y").wantError(t, 400, "invalid_grant", "unknown")
		if logins, codes := len(w.sim.phoneLogins.entries), len(w.sim.phoneCodes.entries); logins+codes > 0 {
			t.Errorf("%d logins and %d codes are still there", logins, codes)
		}
	})
}

func TestPollRefusals(t *testing.T) {
	w := newWorldWith(t, phoneConfig())
	cancelled, expired := w.startPhone(shopPhone()), w.startPhone(shopPhone())
	w.answerPhone(cancelled, false)
	if err := w.sim.ExpirePhone(expired); err != nil {
		t.Fatal(err)
	}
	waits := w.startPhone(shopPhone())
	toBrowser := w.startPhone(shopPhoneBrowser())
	w.answerPhone(toBrowser, true)
	gym := map[string]string{"Merchant-Serial-Number": "234567"}
	for name, test := range map[string]struct {
		id     string
		header map[string]string
		status int
		code   string
		text   string
	}{
		"cancelled":        {cancelled, nil, 400, "access_denied", ""},
		"expired":          {expired, nil, 400, "expired_token", ""},
		"unknown":          {"guess", nil, 400, "invalid_grant", "unknown"},
		"none":             {"", nil, 400, "invalid_request", "auth_req_id is missing"},
		"another merchant": {waits, gym, 400, "invalid_grant", "another merchant"},
		"to the browser":   {toBrowser, nil, 400, "invalid_grant", "browser"},
		"no authorization": {waits, map[string]string{"Authorization": ""}, 401, "invalid_client", ""},
	} {
		t.Run(name, func(t *testing.T) {
			fields := map[string]string{"grant_type": grantPhone, "auth_req_id": test.id}
			for range 2 { // the second is no other
				a := w.do("POST", tokenPath, form(fields), with(w.partnerCall(), test.header))
				a.wantError(t, test.status, test.code, test.text)
			}
		})
	}
	// None of that has spent or slowed the login that waits.
	w.poll(waits).wantError(t, 400, "authorization_pending", "")
}

func TestPhoneAnswersOnce(t *testing.T) {
	w := newWorldWith(t, phoneConfig())
	for _, approve := range []bool{true, false} {
		id := w.startPhone(shopPhone())
		if callback := w.answerPhone(id, approve); callback != "" {
			t.Errorf("a login that ends in the app opens %s", callback)
		}
		for _, again := range []bool{true, false} {
			if _, err := w.sim.AnswerPhone(id, again); err == nil {
				t.Errorf("answered %t after %t", again, approve)
			}
		}
		if err := w.sim.ExpirePhone(id); err == nil {
			t.Error("expired when it was answered")
		}
	}
	if _, err := w.sim.AnswerPhone("guess", true); err == nil {
		t.Error("answered a login that was never there")
	}
	if got := w.sim.PhoneLogins(); len(got) != 0 {
		t.Errorf("answered logins wait: %v", got)
	}
}

func TestPhoneBrowser(t *testing.T) {
	w := newWorldWith(t, phoneConfig())
	callback := w.answerPhone(w.startPhone(shopPhoneBrowser()), true)
	query := mustParse(t, callback).Query()
	if callback != shopPhoneCallback+"?code="+query.Get("code") || len(query.Get("code")) < 43 {
		t.Errorf("the browser opens %s", callback)
	}
	a := w.exchangeCallback(callback)
	if a.status != 200 || a.json(t)["scope"] != "openid name" {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	if info := w.userinfo(a.json(t)["access_token"].(string)); info["name"] != "Kari Nordmann" {
		t.Errorf("got %v", info)
	}
	w.exchangeCallback(callback).wantError(t, 400, "invalid_grant", "used before")
	if callback := w.answerPhone(w.startPhone(shopPhoneBrowser()), false); callback != "" {
		t.Errorf("a cancelled login opens %s", callback)
	}
}

func TestPhoneCodeRefusals(t *testing.T) {
	w := newWorldWith(t, phoneConfig())
	for name, test := range map[string]struct {
		header map[string]string
		form   map[string]string
		code   string
		text   string
	}{
		"another merchant":   {header: map[string]string{"Merchant-Serial-Number": "234567"}, code: "invalid_grant", text: "another merchant"},
		"no code":            {form: map[string]string{"code": ""}, code: "invalid_request", text: "code is missing"},
		"unknown code":       {form: map[string]string{"code": "guess"}, code: "invalid_grant", text: "unknown"},
		"as a browser login": {form: map[string]string{"grant_type": grantAuthorizationCode, "redirect_uri": shopPhoneCallback}, code: "invalid_grant", text: "unknown"},
		"a browser's code":   {form: map[string]string{"code": w.code(shopLogin(), kari)}, code: "invalid_grant", text: "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			id := w.startPhone(with(shopPhoneBrowser(), map[string]string{"login_hint": hintPhoneNumber + bjorn}))
			fields := phoneCode(t, w.answerPhone(id, true))
			a := w.do("POST", tokenPath, form(with(fields, test.form)), with(w.partnerCall(), test.header))
			a.wantError(t, 400, test.code, test.text)
			if name == "another merchant" {
				w.do("POST", tokenPath, form(fields), w.partnerCall()).wantError(t, 400, "invalid_grant", "used before")
			}
		})
	}
}

func TestPhoneCodeExpires(t *testing.T) {
	inPhoneBubble(t, func(t *testing.T, w *world) {
		callbacks := []string{
			w.answerPhone(w.startPhone(shopPhoneBrowser()), true),
			w.answerPhone(w.startPhone(shopPhoneBrowser()), true),
		}
		until(2*time.Minute, func(alive bool) {
			a := w.exchangeCallback(callbacks[0])
			callbacks = callbacks[1:]
			if (a.status == 200) != alive {
				t.Errorf("alive %t: %d %s", alive, a.status, a.body)
			}
		})
	})
}

// delegatedConsents come at the first login at a merchant in this flow, too.
func TestConsentsOfPhoneLogin(t *testing.T) {
	w := newWorldWith(t, phoneConfig())
	for _, want := range []bool{true, false} {
		id := w.startPhone(with(shopPhone(), map[string]string{"scope": "openid delegatedConsents"}))
		w.answerPhone(id, true)
		info := w.userinfo(w.poll(id).json(t)["access_token"].(string))
		if got := info["delegatedConsents"] != nil; got != want {
			t.Errorf("delegatedConsents there %t, want %t", got, want)
		}
	}
}
