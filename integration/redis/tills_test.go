package redis_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// waiting is a login with a till that waits for it at one instance.
type waiting struct {
	id, authReqID string
	at            int // the instance
	answered      chan time.Time
}

// TestRedisTillsWait: tills that wait cost Redis nothing from one poll to the next, and each is woken when a ping comes to another
// instance, long before the next poll.
func TestRedisTillsWait(t *testing.T) {
	const interval = 5 * time.Second                       // as Vipps MobilePay has it
	numbers := harness.ManyNumbers(50 + waitingTills)[50:] // every World has the first
	c := newWorldWhere(t, func(config *simulator.Config) {
		config.PollInterval = caddy.Duration(interval)
		for _, number := range numbers {
			config.Users = append(config.Users, simulator.User{Name: "Customer", PhoneNumber: number, Birthdate: "1980-01-01"})
		}
	})
	c.UseRedis()
	var tills []harness.Till
	for i := range 3 {
		c.instances[i] = c.StartChangedInstance(c.instances[i].Port, sites, strings.NewReplacer("level DEBUG", "level ERROR"))
		till := c.till(i)
		till.Client.Timeout = 2 * time.Minute
		till.Client.Transport.(*http.Transport).MaxIdleConnsPerHost = waitingTills
		tills = append(tills, till)
	}
	logins := c.startAndWait(tills, numbers)
	polls := c.polls(0, waitingTills) // each till was polled for once, and so has its lease
	m := c.monitor()
	c.Redis.Do("CONFIG", "RESETSTAT")
	began := time.Now()
	c.polls(polls, 2*waitingTills) // and once more
	watched := time.Since(began)
	if sent := m.took(c, "waiting"); len(sent) > 0 {
		t.Errorf("%d commands while %d tills waited: %q", len(sent), waitingTills, sent[0])
	}
	t.Logf("%d tills, %s: commands of three instances, idle or not, and of the scripts: %s", waitingTills, watched, c.commands())

	took := make([]time.Duration, len(logins))
	atOnce(8, len(logins), func(n int) {
		l := logins[n]
		if _, err := c.Vipps.Sim.AnswerPhone(l.authReqID, true); err != nil {
			t.Error(err)
			return
		}
		sent := time.Now()
		a := c.Ping(t, c.shop((l.at+1)%3)+"vipps/webhook", `{"auth_req_id":"`+l.authReqID+`"}`, harness.WebhookSecret, nil)
		if a.StatusCode != http.StatusOK {
			t.Errorf("a ping: %d %s", a.StatusCode, a.Text)
		}
		took[n] = (<-l.answered).Sub(sent)
	})
	slices.Sort(took)
	median, longest := took[len(took)/2], took[len(took)-1]
	t.Logf("from the ping to the answer at the till: median %s, 99%% %s, max %s", median, took[len(took)*99/100], longest)
	if median > interval/5 || longest > interval {
		t.Errorf("median %s, max %s", median, longest)
	}
}

// startAndWait starts a login for each number, and has a till wait for it.
func (c *cluster) startAndWait(tills []harness.Till, numbers []string) []*waiting {
	c.t.Helper()
	logins := make([]*waiting, len(numbers))
	atOnce(16, len(numbers), func(n int) {
		l := &waiting{at: n % 3, answered: make(chan time.Time, 1)}
		l.id = tills[l.at].Call("POST", "/phone", `{"phone_number":"+`+numbers[n]+`"}`).WantStatus(c.t, http.StatusAccepted).State(c.t).ID
		logins[n] = l
	})
	byNumber := map[string]string{}
	for _, p := range c.Vipps.Sim.PhoneLogins() {
		byNumber[p.PhoneNumber] = p.AuthReqID
	}
	for n, l := range logins {
		l.authReqID = byNumber[numbers[n]]
		go func() {
			a := tills[l.at].Call("GET", "/phone/"+l.id+"?wait=60", "")
			l.answered <- time.Now()
			if !strings.Contains(a.Text, `"complete"`) {
				c.t.Errorf("a till: %d %s", a.StatusCode, a.Text)
			}
		}()
	}
	return logins
}

// polls waits until Vipps MobilePay was polled so often, known of which are known, and returns how often that was.
func (c *cluster) polls(known, want int) int {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); known < want; time.Sleep(10 * time.Millisecond) {
		if known += c.Vipps.Counted()[harness.PathToken]; time.Now().After(deadline) {
			c.t.Fatalf("%d polls, want %d", known, want)
		}
	}
	return known
}

var commandCalls = regexp.MustCompile(`(?m)^cmdstat_([a-z|]+):calls=([0-9]+)`)

// commands are what Redis has counted (INFO commandstats).
func (c *cluster) commands() string {
	c.t.Helper()
	var counted []string
	for _, m := range commandCalls.FindAllStringSubmatch(fmt.Sprint(c.Redis.Do("INFO", "commandstats")), -1) {
		counted = append(counted, m[1]+" "+m[2])
	}
	slices.Sort(counted)
	return strings.Join(counted, ", ")
}

// atOnce calls do with all numbers below n, so many at a time.
func atOnce(parallel, n int, do func(n int)) {
	var group sync.WaitGroup
	numbers := make(chan int)
	for range parallel {
		group.Go(func() {
			for n := range numbers {
				do(n)
			}
		})
	}
	for n := range n {
		numbers <- n
	}
	close(numbers)
	group.Wait()
}
