package vippslogin_test

import (
	"net/http"
	"testing"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestPhoneExchangeSucceedsOnce: an exchange that succeeded, and whose answer cannot be used, ends the login as failed.
// There is no second one.
func TestPhoneExchangeSucceedsOnce(t *testing.T) {
	for name, alter := range map[string]func(w *world){
		"no ID token": func(w *world) {
			w.vipps.sim.SetFaults(simulator.Faults{Token: func(answer map[string]any) { delete(answer, "id_token") }})
		},
		"no access token": func(w *world) {
			w.vipps.sim.SetFaults(simulator.Faults{Token: func(answer map[string]any) { answer["access_token"] = "" }})
		},
		"nothing in it": func(w *world) { w.vipps.answer(pathToken, status(http.StatusOK, "{}")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newPhoneWorld(t)
			c := newTill(t, w.shop("shop-a.localhost"))
			id, authReqID := c.start(w, `{"phone_number":"+4712345678"}`)
			mustAnswer(t, w, authReqID, true)
			alter(w)
			w.vipps.counted()
			for range 3 {
				if s := c.call("GET", "/phone/"+id+"?wait=3", "").state(t); s.Status != "failed" || s.Error != "bad_answer" {
					t.Errorf("%+v", s)
				}
			}
			if got := w.vipps.counted(); got[pathToken] != 1 {
				t.Errorf("%d exchanges", got[pathToken])
			}
		})
	}
}
