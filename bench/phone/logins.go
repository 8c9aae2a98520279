package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// login is one of the logins, with its client.
type login struct {
	id, authReqID string
	acted         time.Time     // when the user had answered, just before a ping
	done          chan struct{} // closed when the rest is known
	at            time.Time
	err           error
}

// startLogins starts the logins one after the other, so that each is known by both names.
func (b *bench) startLogins(from int) ([]*login, error) {
	start := time.Now()
	all := make([]*login, logins)
	for i := range all {
		body, err := b.call("POST", "/vipps/phone", `{"phone_number":"`+number(from+i)+`"}`)
		if err != nil {
			return nil, err
		}
		var answer struct{ ID string }
		if err := json.Unmarshal(body, &answer); err != nil {
			return nil, err
		}
		all[i] = &login{id: answer.ID, done: make(chan struct{})}
	}
	byNumber := make(map[string]string, logins)
	for _, l := range b.sim.PhoneLogins() {
		byNumber[l.PhoneNumber] = l.AuthReqID
	}
	for i, l := range all {
		if l.authReqID = byNumber[number(from+i)]; l.authReqID == "" {
			return nil, errors.New("a login is unknown to Vipps")
		}
	}
	fmt.Printf("started %d logins in %s\n", logins, time.Since(start).Round(time.Millisecond))
	return all, nil
}

// waitForAll has a client wait for each login.
func (b *bench) waitForAll(all []*login) {
	for _, l := range all {
		go func() {
			defer close(l.done)
			for range 5 {
				body, err := b.call("GET", "/vipps/phone/"+l.id+"?wait=60", "")
				if err != nil || bytes.Contains(body, []byte(`"status":"complete"`)) {
					l.at, l.err = time.Now(), err
					return
				}
			}
			l.at, l.err = time.Now(), errors.New("never completed")
		}()
	}
}

// answerSteadily approves every login over ten seconds, with or without a ping.
func (b *bench) answerSteadily(all []*login, ping bool) error {
	tick := time.NewTicker(10 * time.Second / logins)
	defer tick.Stop()
	for _, l := range all {
		<-tick.C
		if err := b.approve(l); err != nil {
			return err
		}
		if ping {
			go b.ping(l)
		}
	}
	return nil
}

// answerSingly approves the first 200 logins one after the other, each once the client before has its answer, while the others
// wait; and then the others.
func (b *bench) answerSingly(all []*login) error {
	single := all[:200]
	for _, l := range single {
		if err := b.approve(l); err != nil {
			return err
		}
		b.ping(l)
		<-l.done
	}
	if err := report("one ping at a time, while 800 or more wait", time.Second, single); err != nil {
		return err
	}
	for _, l := range all[200:] {
		if err := b.approve(l); err != nil {
			return err
		}
		b.ping(l)
		<-l.done
	}
	return nil
}

// answerAtOnce approves every login, and then sends all pings at the same moment.
func (b *bench) answerAtOnce(all []*login) error {
	for _, l := range all {
		if err := b.approve(l); err != nil {
			return err
		}
	}
	now := time.Now()
	var pings sync.WaitGroup
	for _, l := range all {
		l.acted = now
		pings.Go(func() { b.ping(l) })
	}
	pings.Wait()
	fmt.Printf("all pings were answered after %s\n", time.Since(now).Round(time.Millisecond))
	return nil
}

func (b *bench) approve(l *login) error {
	_, err := b.sim.AnswerPhone(l.authReqID, true)
	l.acted = time.Now()
	return err
}

func (b *bench) ping(l *login) {
	body := `{"auth_req_id":"` + l.authReqID + `"}`
	req, err := http.NewRequest("POST", b.url("/vipps/webhook"), strings.NewReader(body))
	if err != nil {
		return // and the client gets its answer by the next poll
	}
	simulator.SignPing(req, []byte(body), webhookSecret, time.Now())
	if resp, err := b.hooks.Do(req); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

func report(about string, limit time.Duration, all []*login) error {
	timeout := time.After(time.Minute)
	var took []time.Duration
	for _, l := range all {
		select {
		case <-l.done:
		case <-timeout:
			return errors.New("a login was lost")
		}
		if l.err != nil {
			return fmt.Errorf("a login was lost: %w", l.err)
		}
		took = append(took, l.at.Sub(l.acted))
	}
	slices.Sort(took)
	fmt.Printf("%s: answered after %s (median), %s (99 %%), %s (longest; at most %s)\n", about,
		rounded(took[len(took)/2]), rounded(took[len(took)*99/100]), rounded(took[len(took)-1]), limit)
	return nil
}

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
