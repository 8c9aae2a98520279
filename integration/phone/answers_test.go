package phone_test

import (
	"net/http"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestPhoneExchangeSucceedsOnce: an exchange that succeeded, and whose answer cannot be used, ends the login as failed.
// There is no second one.
func TestPhoneExchangeSucceedsOnce(t *testing.T) {
	for name, alter := range map[string]func(w *harness.World){
		"no ID token": func(w *harness.World) {
			w.Vipps.Sim.SetFaults(simulator.Faults{Token: func(answer map[string]any) { delete(answer, "id_token") }})
		},
		"no access token": func(w *harness.World) {
			w.Vipps.Sim.SetFaults(simulator.Faults{Token: func(answer map[string]any) { answer["access_token"] = "" }})
		},
		"nothing in it": func(w *harness.World) { w.Vipps.Answer(harness.PathToken, harness.WithStatus(http.StatusOK, "{}")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := harness.NewPhoneWorld(t)
			c := harness.NewTill(t, w.Shop("shop-a.localhost"))
			id, authReqID := c.Start(w, `{"phone_number":"+4712345678"}`)
			harness.MustAnswer(t, w, authReqID, true)
			alter(w)
			w.Vipps.Counted()
			for range 3 {
				if s := c.Call("GET", "/phone/"+id+"?wait=3", "").State(t); s.Status != "failed" || s.Error != "bad_answer" {
					t.Errorf("%+v", s)
				}
			}
			if got := w.Vipps.Counted(); got[harness.PathToken] != 1 {
				t.Errorf("%d exchanges", got[harness.PathToken])
			}
		})
	}
}
