package redis_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// read waits until so many commands have read the login of a phone.
func (m *monitor) read(c *cluster, commands int) {
	c.t.Helper()
	harness.WaitFor(c.t, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		read := 0
		for _, command := range m.sent {
			if strings.HasPrefix(command, `"get" "vipps_login:phone`) {
				read++
			}
		}
		return read >= commands
	})
}

// TestRedisTillsWait: tills that wait at each instance go on waiting while Redis is out of order, and get the profile when it
// works again, although the customer has answered meanwhile.
func TestRedisTillsWait(t *testing.T) {
	c := newCluster(t)
	for n, o := range outages {
		if o.name == "paused" {
			continue // to a client it is hung, and only time ends it
		}
		t.Run(o.name, func(t *testing.T) {
			c.T, c.t = t, t
			m := c.monitor()
			id, authReqID := c.till(0).Start(c.World, `{"phone_number":"`+harness.ManyNumbers(len(outages))[n]+`"}`)
			answers := make(chan harness.Answer)
			for i := range 3 {
				till := c.till(i)
				go func() { answers <- till.Call("GET", "/phone/"+id+"?wait=50", "") }()
			}
			m.read(c, 3)
			o.begin(c)
			harness.MustAnswer(t, c.World, authReqID, true)
			wantUnavailable(t, "a phone login that begins now", c.till(1).Call("POST", "/phone", `{"phone_number":"+4799999999"}`))
			began, early := time.Now(), 0
			harness.WaitFor(t, func() bool { // until each till has wanted to poll, which is due once a second
				select {
				case a := <-answers:
					if early++; a.StatusCode != http.StatusOK || a.State(t).Status != "complete" { // unlike where it was polled
						t.Errorf("a till did not wait: %d %s", a.StatusCode, a.Text)
					}
				default:
				}
				return time.Since(began) > 3*time.Second
			})
			o.end(c)
			for range 3 - early {
				if a := <-answers; a.StatusCode != http.StatusOK || a.State(t).Status != "complete" {
					t.Errorf("%d %s", a.StatusCode, a.Text)
				}
			}
		})
	}
}
