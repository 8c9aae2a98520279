package cluster_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// restartAll starts the instances of a cluster again, one after the other, with other global options, and
// calls between after each.
func (c *cluster) restartAll(between func(), changes func(member int) *strings.Replacer) {
	c.T.Helper()
	for i, m := range c.members {
		m.finish(stopped)
		started := c.StartChangedInstance(m.port, c.sites, changes(i))
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
		"subscription_key "+harness.PartnerKey, "subscription_key "+harness.PartnerKey+secret,
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
	var people []*harness.Browser
	look := func() {
		for member := range c.members {
			b := c.newBrowser()
			callback := b.Consent(b.Follow(b.Get(page, at(member))), map[string][]string{"user": {harness.Kari}, "answer": {"approve"}}).RedirectTo()
			b.Get(callback, at(1-member)).WantStatus(t, http.StatusFound)
			people = append(people, b)
		}
		for i, b := range people {
			for member := range c.members {
				if a := b.Get(page, at(member)); a.StatusCode != http.StatusOK {
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
	w.UseFiles()
	storages := []string{t.TempDir(), t.TempDir()}
	c := newCluster(w, 2, clusterSites, 1)
	c.restartAll(func() {}, func(i int) *strings.Replacer { return behindBalancer(oldSecret, storages[i]) })
	const page = "https://shop-a.localhost/account/"

	// A login begins here and ends there, and the session is good at both.
	b := c.newBrowser()
	callback := b.Consent(b.Follow(b.Get(page, at(0))), map[string][]string{"user": {harness.Kari}, "answer": {"approve"}}).RedirectTo()
	b.Get(callback, at(1)).WantStatus(t, http.StatusFound)
	b.Get(page, at(0)).WantStatus(t, http.StatusOK)
	b.Get(page, at(1)).WantStatus(t, http.StatusOK)

	// A logout ends the copies at one instance only, however long one waits for the other.
	thief := "Cookie: " + b.Cookies(page)
	b.Get("https://shop-a.localhost/vipps/logout", at(0)).WantStatus(t, http.StatusFound)
	c.newBrowser().Get(page, at(0), thief).WantStatus(t, http.StatusFound)
	deadline := time.Now().Add(4 * time.Second) // past refreshEvery
	harness.WaitFor(t, func() bool {
		c.newBrowser().Get(page, at(1), thief).WantStatus(t, http.StatusOK)
		return time.Now().After(deadline)
	})

	// A phone login is known where it was started.
	phone := c.newBrowser()
	phone.Client.Jar, phone.Header = nil, nil
	till := harness.Till{Browser: phone, Shop: "https://shop-a.localhost"}
	id := till.Call(http.MethodPost, "/phone", `{"phone_number":"+4712345678"}`, at(0)).WantStatus(t, http.StatusAccepted).State(t).ID
	till.Call(http.MethodGet, "/phone/"+id, "", at(0)).WantStatus(t, http.StatusOK)
	till.Call(http.MethodGet, "/phone/"+id, "", at(1)).WantStatus(t, http.StatusNotFound)

	// With generated secrets nothing works across.
	c.restartAll(func() {}, func(i int) *strings.Replacer { return behindBalancer("", storages[i]) })
	b = c.newBrowser()
	callback = b.Consent(b.Follow(b.Get(page, at(0))), map[string][]string{"user": {harness.Kari}, "answer": {"approve"}}).RedirectTo()
	b.Get(callback, at(1)).WantStatus(t, http.StatusBadRequest)
}

// TestTakenOut: an instance that was taken out of the balancer and is then stopped cuts nobody off, not even
// one who waits for a phone login, or whose login is just being completed.
func TestTakenOut(t *testing.T) {
	w := newClusterWorld(t)
	port := freeport.New(t)
	i := w.StartInstanceOn(port, clusterSites)
	shop := fmt.Sprintf("http://shop-a.localhost:%d", port)
	till := harness.NewTill(t, shop)
	id, _ := till.Start(w, `{"phone_number":"+4712345678"}`)
	asked := make(chan struct{})
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
		select {
		case <-asked:
		default:
			close(asked)
		}
		w.Vipps.Sim.ServeHTTP(rw, r)
	})
	waited := make(chan harness.PhoneState, 1)
	go func() {
		waited <- till.Call(http.MethodGet, "/phone/"+id+"?wait=60", "").WantStatus(t, http.StatusOK).State(t)
	}()
	<-asked
	began := time.Now()
	i.Stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	if s := <-waited; s.Status != "pending" {
		t.Errorf("%+v", s)
	}
}
