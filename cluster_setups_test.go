package vippslogin_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
)

// restartAll starts the instances of a cluster again, one after the other, with other global options, and
// calls between after each.
func (c *cluster) restartAll(between func(), changes func(member int) *strings.Replacer) {
	c.t.Helper()
	for i, m := range c.members {
		m.finish(stopped)
		started := c.startChangedInstance(m.port, c.sites, changes(i))
		m.mu.Lock()
		m.life, m.caddy, m.end = m.life+1, started, runs
		m.mu.Unlock()
		between()
	}
}

// behindBalancer are the global options of every member, and secrets where given.
func behindBalancer(secrets, storage string) *strings.Replacer {
	secret := ""
	if secrets != "" {
		secret = "\n\t\tcookie_secret " + secrets
	}
	return strings.NewReplacer(
		"protocols h1 h2", "protocols h1 h2\n\t\ttrusted_proxies static 127.0.0.0/8",
		"subscription_key "+partnerKey, "subscription_key "+partnerKey+secret,
		"storage file_system \"", "storage file_system \""+storage)
}

const (
	oldSecret = "the-old-cookie-secret-of-32-bytes-and-more"
	newSecret = "the-new-cookie-secret-of-32-bytes-and-more"
)

// TestClusterSecretRotation: the documented steps, restarting one instance after the other; whoever is logged
// in stays so everywhere, and logins begin at one instance and end at another, at each moment.
func TestClusterSecretRotation(t *testing.T) {
	c := newCluster(newClusterWorld(t), 2, clusterSites, 1)
	with := func(secrets string) func(int) *strings.Replacer {
		return func(int) *strings.Replacer { return behindBalancer(secrets, "") }
	}
	c.restartAll(func() {}, with(oldSecret))
	const page = "https://shop-a.localhost/account/"
	var people []*browser
	look := func() {
		for member := range c.members {
			b := c.newBrowser()
			callback := b.consent(b.follow(b.get(page, at(member))), map[string][]string{"user": {kari}, "answer": {"approve"}}).location()
			b.get(callback, at(1-member)).wantStatus(t, http.StatusFound)
			people = append(people, b)
		}
		for i, b := range people {
			for member := range c.members {
				if a := b.get(page, at(member)); a.StatusCode != http.StatusOK {
					t.Errorf("person %d at member %d: %d", i, member, a.StatusCode)
				}
			}
		}
	}
	look()
	c.restartAll(look, with(oldSecret+" "+newSecret))
	c.restartAll(look, with(newSecret+" "+oldSecret))
	people = people[len(people)-2:] // a session's lifetime later there are only those
	c.restartAll(look, with(newSecret))
}

// TestClusterWithoutSharedStorage: what docs/clusters.md says works with a common secret alone, and what does
// not.
func TestClusterWithoutSharedStorage(t *testing.T) {
	w := newClusterWorld(t)
	storages := []string{t.TempDir(), t.TempDir()}
	c := newCluster(w, 2, clusterSites, 1)
	c.restartAll(func() {}, func(i int) *strings.Replacer { return behindBalancer(oldSecret, storages[i]) })
	const page = "https://shop-a.localhost/account/"

	// A login begins here and ends there, and the session is good at both.
	b := c.newBrowser()
	callback := b.consent(b.follow(b.get(page, at(0))), map[string][]string{"user": {kari}, "answer": {"approve"}}).location()
	b.get(callback, at(1)).wantStatus(t, http.StatusFound)
	b.get(page, at(0)).wantStatus(t, http.StatusOK)
	b.get(page, at(1)).wantStatus(t, http.StatusOK)

	// A logout ends the copies at one instance only, however long one waits for the other.
	thief := "Cookie: " + b.cookies(page)
	b.get("https://shop-a.localhost/vipps/logout", at(0)).wantStatus(t, http.StatusFound)
	c.newBrowser().get(page, at(0), thief).wantStatus(t, http.StatusFound)
	deadline := time.Now().Add(4 * time.Second) // past refreshEvery
	waitFor(t, func() bool {
		c.newBrowser().get(page, at(1), thief).wantStatus(t, http.StatusOK)
		return time.Now().After(deadline)
	})

	// A phone login is known where it was started.
	phone := c.newBrowser()
	phone.client.Jar, phone.header = nil, nil
	till := till{phone, "https://shop-a.localhost"}
	id := till.call(http.MethodPost, "/phone", `{"phone_number":"+4712345678"}`, at(0)).wantStatus(t, http.StatusAccepted).state(t).ID
	till.call(http.MethodGet, "/phone/"+id, "", at(0)).wantStatus(t, http.StatusOK)
	till.call(http.MethodGet, "/phone/"+id, "", at(1)).wantStatus(t, http.StatusNotFound)

	// With generated secrets nothing works across.
	c.restartAll(func() {}, func(i int) *strings.Replacer { return behindBalancer("", storages[i]) })
	b = c.newBrowser()
	callback = b.consent(b.follow(b.get(page, at(0))), map[string][]string{"user": {kari}, "answer": {"approve"}}).location()
	b.get(callback, at(1)).wantStatus(t, http.StatusBadRequest)
}

// TestTakenOut: an instance that was taken out of the balancer and is then stopped cuts nobody off, not even
// one who waits for a phone login, or whose login is just being completed.
func TestTakenOut(t *testing.T) {
	w := newClusterWorld(t)
	port := freeport.New(t)
	i := w.startInstanceOn(port, clusterSites)
	shop := fmt.Sprintf("http://shop-a.localhost:%d", port)
	till := newTill(t, shop)
	id, _ := till.start(w, `{"phone_number":"+4712345678"}`)
	asked := make(chan struct{})
	w.vipps.answer(pathToken, func(rw http.ResponseWriter, r *http.Request) {
		select {
		case <-asked:
		default:
			close(asked)
		}
		w.vipps.sim.ServeHTTP(rw, r)
	})
	waited := make(chan phoneState, 1)
	go func() {
		waited <- till.call(http.MethodGet, "/phone/"+id+"?wait=60", "").wantStatus(t, http.StatusOK).state(t)
	}()
	<-asked
	began := time.Now()
	i.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	if s := <-waited; s.Status != "pending" {
		t.Errorf("%+v", s)
	}
}
