package cluster_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// clusterSeed repeats a run: the same people do the same, and the same instances end in the same order.
// Which requests those had at that moment is the machine's to say.
const clusterSeed = "VIPPSLOGIN_TEST_SEED"

const clusterSites = `
http://shop-a.localhost:$HTTP {
	vipps_login /account/* 123456 {
		phone {
			api_key {env.TILL_API_KEY}
			scope openid name phoneNumber
			webhook_secret ` + harness.WebhookSecret + `
		}
	}
	reverse_proxy $UPSTREAM
}
http://shop-b.localhost:$HTTP {
	vipps_login /account/* 234567 {
		return_in_any_browser
	}
	reverse_proxy $UPSTREAM
}
`

func clusterMerchants(*harness.World) []simulator.Merchant {
	return []simulator.Merchant{
		{MSN: "123456", RedirectURIs: []string{"https://shop-a.localhost/vipps/callback", "https://shop-a.localhost/vipps/phone/callback"}},
		{MSN: "234567", RedirectURIs: []string{"https://shop-b.localhost/vipps/callback"}},
	}
}

// exchange is a call to Vipps MobilePay's token endpoint for a code or an auth_req_id.
type exchange struct {
	at         time.Time
	port, life int // which instance
	poll       bool
	given      bool
}

// crowd is the people of the test, and what Vipps MobilePay saw of them.
type crowd struct {
	*cluster
	seed uint64

	mu        sync.Mutex
	exchanges map[string][]exchange // by code or auth_req_id
	pinged    map[string]bool
	excused   []string // logins that Vipps MobilePay had given to an instance when it was killed
	sessions  []keptSession
	slowest   time.Duration // a logout
}

// keptSession is the Cookie header of a session, and what is to become of it.
type keptSession struct {
	page, cookie string
	loggedOut    bool
}

// TestClusterAtRandom: three instances on one storage behind a balancer that throws dice for each request,
// killed and started all the time, and nothing is lost.
//
// One thing nobody can keep: Vipps MobilePay gives the outcome of a login once. When it has given it to an
// instance that is killed (-9) before that has answered the person, or written a phone login down, the
// person has to try again. The test excuses these, one by one, and nothing else.
func TestClusterAtRandom(t *testing.T) {
	seed := rand.Uint64()
	if given, err := strconv.ParseUint(os.Getenv(clusterSeed), 10, 64); err == nil {
		seed = given
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to repeat: %s=%d", clusterSeed, seed)
		}
	})
	w := newClusterWorld(t)
	p := &crowd{seed: seed, exchanges: make(map[string][]exchange), pinged: make(map[string]bool)}
	w.Upstream.Handler = func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, r.Header.Get("X-Vipps-Sub")) }
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) { p.exchange(w, rw, r) })
	p.cluster = newCluster(w, 3, clusterSites, seed)

	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() { p.newPerson(i).browse() })
	}
	for i := range 20 {
		all.Go(func() { p.newPerson(40 + i).usePhone() })
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	p.kill(12, done)
	p.checkSessions()
	p.checkExchanges()
	if slow := w.Vipps.Sim.Calls()["slow_down"]; slow > 0 {
		t.Errorf("%d polls were one too many for Vipps MobilePay", slow)
	}
	t.Logf("%d turns of the killer, %d requests; excused: %q; the slowest logout took %s", p.turns, p.requests, p.excused, p.slowest)
}

// exchange is the token endpoint, with a look over its shoulder.
func (p *crowd) exchange(w *harness.World, rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	e := exchange{at: time.Now(), poll: form.Has("auth_req_id")}
	e.port, _ = strconv.Atoi(r.Header.Get("Vipps-System-Name"))
	e.life, _ = strconv.Atoi(r.Header.Get("Vipps-System-Version"))
	recorded := httptest.NewRecorder()
	w.Vipps.Sim.ServeHTTP(recorded, r)
	e.given = recorded.Code == http.StatusOK
	p.mu.Lock()
	key := form.Get("code") + form.Get("auth_req_id")
	p.exchanges[key] = append(p.exchanges[key], e)
	p.mu.Unlock()
	for name, values := range recorded.Header() {
		rw.Header()[name] = values
	}
	rw.WriteHeader(recorded.Code)
	_, _ = rw.Write(recorded.Body.Bytes())
}

// lost reports whether Vipps MobilePay has given the outcome to an instance that was killed right then.
func (p *crowd) lost(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.exchanges[key] {
		if e.given {
			return p.diedWith(e)
		}
	}
	return false
}

// story tells what became of a callback.
func (p *crowd) story(callback string, a harness.Answer) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	code := harness.MustQuery(p.T, callback).Get("code")
	text := fmt.Sprintf("instances it died with: %q; exchanges:", a.Header.Get(cutField))
	for _, e := range p.exchanges[code] {
		text += fmt.Sprintf(" %+v died with it %t", e, p.diedWith(e))
	}
	return text + "; " + regexp.MustCompile("<h1>.*</h1>").FindString(a.Text)
}

// diedWith reports whether the instance was killed when it can just have had the answer.
func (p *crowd) diedWith(e exchange) bool {
	for _, m := range p.members {
		if m.port == e.port {
			after, died := m.diedAfter(e.life, e.at)
			return died && after < 2*time.Second
		}
	}
	return false
}

func (p *crowd) excuse(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.excused = append(p.excused, what)
}

// checkExchanges: no code went to Vipps MobilePay twice, and no poll came too early or after the outcome was
// given, but where the first instance was killed with it.
func (p *crowd) checkExchanges() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, all := range p.exchanges {
		given, early := false, 0
		for i, e := range all {
			if given && !p.pinged[key] {
				t := all[i-1]
				p.T.Errorf("%s was exchanged again, by %d %d after %d %d, %s later", key, e.port, e.life, t.port, t.life, e.at.Sub(t.at))
			}
			if i > 0 && e.poll && e.at.Sub(all[i-1].at) < 900*time.Millisecond {
				early++
			}
			given = given || e.given && !p.diedWith(e)
		}
		if early > 1 || early == 1 && !p.pinged[key] {
			p.T.Errorf("%s: %d of %d polls came within the interval", key, early, len(all))
		}
	}
}

// person is somebody with dice of their own.
type person struct {
	*crowd
	n      int
	random *rand.Rand
	number string
}

func (p *crowd) newPerson(n int) *person {
	return &person{p, n, rand.New(rand.NewPCG(p.seed, uint64(n)+1)), fmt.Sprintf("47410%05d", n%50)}
}

// pause is a person who takes their time: until the killer has had a turn, or not at all.
func (p *person) pause() {
	for p.random.IntN(2) == 0 {
		p.nextTurn()
	}
}

var errLost = errors.New("lost with a killed instance")

// browse is a whole visit: a login, pages, and a logout or not.
func (p *person) browse() {
	shop := []string{"https://shop-a.localhost", "https://shop-b.localhost"}[p.n%2]
	page := fmt.Sprintf("%s/account/?n=%d", shop, p.n)
	p.pause()
	b, err := p.login(shop, page)
	for try := 0; err != nil; try++ {
		if try == 5 {
			p.T.Errorf("person %d: no session after %d tries", p.n, try)
			return
		}
		p.excuse(fmt.Sprintf("browser %d", p.n))
		b, err = p.login(shop, page)
	}
	var claims struct{ Sub string }
	_ = json.Unmarshal([]byte(b.Get(shop+"/vipps/userinfo").WantStatus(p.T, http.StatusOK).Text), &claims)
	for i := range 4 {
		p.pause()
		a := b.Get(fmt.Sprintf("%s/account/%d", shop, i)).WantStatus(p.T, http.StatusOK)
		if a.Text != claims.Sub || claims.Sub == "" {
			p.T.Errorf("person %d: page %d was for %q, want %q", p.n, i, a.Text, claims.Sub)
		}
	}
	p.pause()
	posted := b.Do(harness.NewRequest(p.T, http.MethodPost, shop+"/account/form", strings.NewReader("a=b")))
	if posted.StatusCode != http.StatusOK && posted.Header.Get(cutField) == "" {
		p.T.Errorf("person %d: the form was answered %d", p.n, posted.StatusCode)
	}
	p.pause()
	kept := keptSession{page, b.Cookies(page), p.random.IntN(2) == 0}
	if kept.loggedOut {
		p.logOut(b, shop, kept)
	}
	p.crowd.mu.Lock()
	defer p.crowd.mu.Unlock()
	p.sessions = append(p.sessions, kept)
}

// login logs in, and returns the browser that has the session. shop-b's logins end in another browser than
// they began in.
func (p *person) login(shop, page string) (*harness.Browser, error) {
	b := p.newBrowser()
	first := b.Get(page).WantStatus(p.T, http.StatusFound)
	p.pause()
	callback := b.Consent(b.Follow(first), url.Values{"user": {p.number}, "answer": {"approve"}}).WantStatus(p.T, http.StatusSeeOther).RedirectTo()
	p.pause()
	if shop == "https://shop-b.localhost" {
		b = p.newBrowser()
	}
	landed := b.Get(callback)
	if landed.StatusCode != http.StatusFound && p.lost(harness.MustQuery(p.T, callback).Get("code")) {
		return nil, errLost
	}
	if landed.StatusCode != http.StatusFound || landed.RedirectTo() != page {
		p.T.Fatalf("person %d: %d %q, want %s; %s", p.n, landed.StatusCode, landed.RedirectTo(), page, p.story(callback, landed))
	}
	p.pause()
	b.Get(landed.RedirectTo()).WantStatus(p.T, http.StatusOK)
	if shop == "https://shop-b.localhost" {
		p.pause()
		p.newBrowser().Get(callback).WantStatus(p.T, http.StatusBadRequest) // spent, wherever it was completed
	}
	return b, nil
}

// logOut logs out, and looks that copies of the session end everywhere within ten seconds.
func (p *person) logOut(b *harness.Browser, shop string, kept keptSession) {
	b.Get(shop+"/vipps/logout").WantStatus(p.T, http.StatusFound)
	out := time.Now()
	harness.WaitFor(p.T, func() bool { // ten seconds
		for i, m := range p.members {
			if m.up() && p.opens(kept, i) {
				return false
			}
		}
		return true
	})
	p.crowd.mu.Lock()
	defer p.crowd.mu.Unlock()
	p.slowest = max(p.slowest, time.Since(out))
}

// opens reports whether a session opens at one member.
func (p *crowd) opens(kept keptSession, member int) bool {
	thief := p.newBrowser()
	defer thief.Client.CloseIdleConnections()
	return thief.Get(kept.page, at(member), "Cookie: "+kept.cookie).StatusCode == http.StatusOK
}

// checkSessions: at the end, whoever is not logged out is logged in, everywhere.
func (p *crowd) checkSessions() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sessions) != 40 {
		p.T.Errorf("%d people of 40 came to the end", len(p.sessions))
	}
	for _, kept := range p.sessions {
		for i := range p.members {
			if opens := p.opens(kept, i); opens == kept.loggedOut {
				p.T.Errorf("%s at member %d: logged out %t, opens %t", kept.page, i, kept.loggedOut, opens)
			}
		}
	}
}

// manyTries is how often a request that instances die with is sent at the most. One can take as long
// as a dead instance's lock stays, and meet many deaths meanwhile.
const manyTries = 15

// phoneCall is one login from a phone number.
type phoneCall struct {
	*person
	till        harness.Till
	id, request string
	inBrowser   bool
	over        atomic.Bool // nobody needs to wait any more
}

// usePhone is a whole login from a phone number: every fourth is denied, every fourth pinged, every fourth
// ends in the phone's browser, and every second is deleted in the end.
func (p *person) usePhone() {
	kind := []string{"approved", "denied", "pinged", "browser"}[p.n%4]
	p.pause()
	for try := range 4 {
		c := p.callPhone(kind)
		if c == nil {
			return // the reason was told
		}
		p.pause()
		ended, err := c.answer(kind)
		if err != nil {
			p.excuse(fmt.Sprintf("phone %d %s", p.n, kind))
			continue
		}
		want := "complete"
		if kind == "denied" {
			want = "denied"
		}
		if ended.Status != want || want == "complete" && ended.Userinfo["phone_number"] != p.number {
			p.T.Errorf("phone %d %s, try %d: %+v", p.n, kind, try, ended)
		}
		if p.random.IntN(2) == 0 {
			c.forget()
		}
		return
	}
	p.T.Errorf("phone %d: lost again and again", p.n)
}

// callPhone starts a login. A start that an instance died with is tried again, as a till does.
func (p *person) callPhone(kind string) *phoneCall {
	b := p.newBrowser()
	b.Client.Jar, b.Header = nil, nil
	c := &phoneCall{person: p, till: harness.Till{Browser: b, Shop: "https://shop-a.localhost"}, inBrowser: kind == "browser"}
	for try := range manyTries {
		message := fmt.Sprintf("%02d-%d-%d", p.n, try, p.random.IntN(100))
		body := map[string]string{"phone_number": "+" + p.number, "binding_message": message}
		if c.inBrowser {
			body["finish"], body["return_to"] = "browser", "/account/landed"
		}
		content, _ := json.Marshal(body)
		a := c.till.Call(http.MethodPost, "/phone", string(content))
		if a.Header.Get(cutField) != "" && a.StatusCode == http.StatusBadGateway {
			p.nextTurn()
			continue
		}
		c.id = a.WantStatus(p.T, http.StatusAccepted).State(p.T).ID
		for _, l := range p.Vipps.Sim.PhoneLogins() {
			if l.BindingMessage == message {
				c.request = l.AuthReqID
				return c
			}
		}
		p.T.Errorf("phone %d: Vipps knows nothing of it", p.n)
		return nil
	}
	p.T.Errorf("phone %d: it cannot be started", p.n)
	return nil
}

// answer lets two tills wait for the login while its person answers, and returns what the tills hear.
func (c *phoneCall) answer(kind string) (ended harness.PhoneState, err error) {
	var tills sync.WaitGroup
	var other harness.PhoneState
	tills.Go(func() { ended = c.wait() })
	tills.Go(func() { other = c.wait() })
	defer tills.Wait() // whatever fails
	c.pause()
	callback, err := c.Vipps.Sim.AnswerPhone(c.request, kind != "denied")
	if err != nil {
		c.T.Error(err)
		return harness.PhoneState{}, nil
	}
	c.pause()
	if kind == "pinged" {
		c.ping()
	}
	if c.inBrowser {
		err = c.land(callback)
		c.over.Store(err != nil)
	}
	tills.Wait()
	if err == nil && ended.Status == "failed" && c.lost(c.request) {
		err = errLost
	}
	if err == nil && fmt.Sprint(ended) != fmt.Sprint(other) {
		c.T.Errorf("phone %d: one till hears %+v, the other %+v", c.n, ended, other)
	}
	return ended, err
}

// wait asks until the login has ended; at most a minute.
func (c *phoneCall) wait() (s harness.PhoneState) {
	deadline := time.Now().Add(time.Minute)
	for wait := 1; ; wait = wait%7 + 2 {
		s = c.till.Call(http.MethodGet, fmt.Sprintf("/phone/%s?wait=%d", c.id, wait), "").WantStatus(c.T, http.StatusOK).State(c.T)
		if s.Status != "pending" || c.over.Load() {
			return s
		}
		if time.Now().After(deadline) {
			c.T.Errorf("phone %d: %+v after a minute", c.n, s)
			return s
		}
	}
}

// land is the phone's browser, which is logged in where it lands.
func (c *phoneCall) land(callback string) error {
	b := c.newBrowser()
	landed := b.Get(callback)
	if landed.StatusCode != http.StatusFound && c.lost(harness.MustQuery(c.T, callback).Get("code")) {
		return errLost
	}
	if landed.StatusCode != http.StatusFound {
		c.T.Fatalf("phone %d: landed with %d; %s", c.n, landed.StatusCode, c.story(callback, landed))
	}
	c.pause()
	if a := b.Get(landed.RedirectTo()).WantStatus(c.T, http.StatusOK); a.Text == "" {
		c.T.Errorf("phone %d: the site does not know the person", c.n)
	}
	return nil
}

// forget deletes the login, and every member forgets it.
func (c *phoneCall) forget() {
	a := c.till.Call(http.MethodDelete, "/phone/"+c.id, "")
	if cut := a.Header.Get(cutField); a.StatusCode != http.StatusNoContent && (cut == "" || a.StatusCode != http.StatusNotFound) {
		c.T.Fatalf("phone %d: deleted with %d, %q", c.n, a.StatusCode, cut)
	}
	harness.WaitFor(c.T, func() bool {
		for i, m := range c.members {
			if m.up() && c.till.Call(http.MethodGet, "/phone/"+c.id, "", at(i)).StatusCode == http.StatusOK {
				return false
			}
		}
		return true
	})
}

// ping is Vipps MobilePay's webhook, which sends a ping again that was not answered.
func (c *phoneCall) ping() {
	c.crowd.mu.Lock()
	c.pinged[c.request] = true
	c.crowd.mu.Unlock()
	body := []byte(`{"auth_req_id":"` + c.request + `"}`)
	for range manyTries {
		req := harness.NewRequest(c.T, http.MethodPost, c.till.Shop+"/vipps/webhook", bytes.NewReader(body), "Content-Type: application/json")
		simulator.SignPing(req, body, harness.WebhookSecret, time.Now())
		a := c.till.Do(req)
		if a.Header.Get(cutField) == "" {
			a.WantStatus(c.T, http.StatusOK)
			return
		}
		c.nextTurn()
	}
	c.T.Errorf("phone %d: the ping finds nobody", c.n)
}
