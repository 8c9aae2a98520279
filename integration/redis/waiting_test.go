package redis_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestRedisTillWaitsThroughAnOutage: a till that waits goes on waiting while Redis is away, and ends well when it is back. An
// outcome that came during the outage is stored afterwards: the till at the instance that has polled gets it at once, and those at
// others when Redis is back. A ping gets 503, which Vipps MobilePay repeats.
func TestRedisTillWaitsThroughAnOutage(t *testing.T) {
	c := newCluster(t)
	numbers := harness.ManyNumbers(6)
	for n, o := range []outage{
		outages[0], // killed, and restarted with its append-only file
		outages[1], // hung: SIGSTOP, SIGCONT
		{"paused", func(c *cluster) { c.Redis.Do("CLIENT", "PAUSE", "3500", "ALL") }, func(c *cluster) {
			for c.Redis.Client.Ping(context.Background()).Err() != nil { // no command ends it
			}
		}, false},
	} {
		t.Run(o.name, func(t *testing.T) { c.T, c.t = t, t; c.waitsThrough(t, o, numbers[2*n:]) })
	}
}

func (c *cluster) waitsThrough(t *testing.T, o outage, numbers []string) {
	answered, authReqID := c.till(0).Start(c.World, `{"phone_number":"`+numbers[0]+`"}`)
	later, laterID := c.till(1).Start(c.World, `{"phone_number":"`+numbers[1]+`"}`)
	wait := func(i int, id string) <-chan harness.PhoneState {
		got := make(chan harness.PhoneState, 1)
		till := c.till(i)
		go func() {
			a := till.Call("GET", "/phone/"+id+"?wait=25", "")
			if a.StatusCode != http.StatusOK {
				t.Errorf("a till at instance %d: %d %s", i, a.StatusCode, a.Text)
				got <- harness.PhoneState{}
				return
			}
			got <- a.State(t)
		}()
		return got
	}
	c.Vipps.Counted()
	here := wait(0, answered)
	c.polls(0, 1) // by instance 0, which has the lease
	there := wait(1, answered)
	other := wait(2, later)
	c.polls(0, 2)

	o.begin(c)
	began := time.Now()
	harness.MustAnswer(t, c.World, authReqID, true)
	ping := `{"auth_req_id":"` + authReqID + `"}`
	wantUnavailable(t, "a ping", c.Ping(t, c.shop(2)+"vipps/webhook", ping, harness.WebhookSecret, nil))
	if s := <-here; s.Status != "complete" {
		t.Errorf("where it was polled: %+v", s)
	}
	t.Logf("the till at the instance that has polled: after %s", time.Since(began))
	select {
	case s := <-there:
		t.Errorf("at another instance, during the outage: %+v", s)
	case s := <-other:
		t.Errorf("one that is not answered, during the outage: %+v", s)
	default:
	}
	o.end(c)
	back := time.Now()
	if s := <-there; s.Status != "complete" {
		t.Errorf("at another instance: %+v", s)
	}
	t.Logf("the till at another instance: %s after Redis was back", time.Since(back))
	harness.MustAnswer(t, c.World, laterID, true)
	if s := <-other; s.Status != "complete" {
		t.Errorf("answered after the outage: %+v", s)
	}
	c.Ping(t, c.shop(2)+"vipps/webhook", ping, harness.WebhookSecret, nil).WantStatus(t, http.StatusOK)
	for i := range 3 {
		if s := c.till(i).Status(answered); s.Status != "complete" {
			t.Errorf("afterwards, at instance %d: %+v", i, s)
		}
	}
}
