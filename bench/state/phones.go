package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
	"github.com/caddy-vipps/vippslogin/state"
)

// customers stand for Vipps MobilePay and all its users: they answer when they are told to.
type customers struct {
	started, polls atomic.Int64
	answer         atomic.Bool
}

const (
	base    = "http://vipps.localhost"
	number0 = 4740000000
)

// RoundTrip implements http.RoundTripper.
func (c *customers) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := http.StatusOK, ""
	switch r.URL.Path {
	case "/accesstoken/get":
		body = `{"token_type":"Bearer","access_token":"partner-token","expires_in":"86399"}`
	case "/access-management-1.0/access/.well-known/openid-configuration":
		body = strings.ReplaceAll(`{"issuer":"B/access-management-1.0/access/","authorization_endpoint":"B/auth","token_endpoint":"B/token","userinfo_endpoint":"B/userinfo","jwks_uri":"B/keys","backchannel_authentication_endpoint":"B/backchannel"}`, "B", base)
	case "/backchannel":
		body = fmt.Sprintf(`{"auth_req_id":"request-%032d","expires_in":3600,"interval":5}`, c.started.Add(1))
	case "/token":
		c.polls.Add(1)
		if body = `{"access_token":"ciba.a","id_token":"i","token_type":"bearer","expires_in":300}`; !c.answer.Load() {
			status, body = http.StatusBadRequest, `{"error":"authorization_pending"}`
		}
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// check stands for the checks of an ID token, and for userinfo: that of a user with an address.
func check(_ context.Context, _ vipps.Tokens, want idtoken.Expectation) ([]userinfo.Claim, error) {
	if _, err := want.Phone(""); err != nil {
		return nil, err
	}
	return userinfo.Parse([]byte(`{"sub":"c06c4afe-d9e1-4c5d-939a-177d752a0944","name":"Kari Nordmann","given_name":"Kari","family_name":"Nordmann",
		"email":"kari@example.no","birthdate":"1990-05-17","address":{"street_address":"Robert Levins gate 5","postal_code":"0154","region":"OSLO","country":"NO","formatted":"Robert Levins gate 5\n0154\nOSLO\nNO"}}`))
}

type nobody struct{}

func (nobody) PhoneStarted(string)                                               {}
func (nobody) PhoneCompleted(string, []userinfo.Claim, time.Time, time.Duration) {}
func (nobody) PhoneFailed(string, error)                                         {}
func (nobody) PhoneReason(err error) string                                      { return err.Error() }

func (c *customers) desk(engine state.Engine) (*phone.Desk, error) {
	keys, err := seal.NewKeys("https://api.vipps.no", []string{secret})
	if err != nil {
		return nil, err
	}
	client := vipps.NewClient(base, vipps.Keys{ClientID: "id", ClientSecret: "secret", SubscriptionKey: "key"},
		vipps.System{Name: "a", Version: "1", PluginName: "b", PluginVersion: "2"}, func(string, int, time.Duration) {})
	client.HTTP.Transport = c
	return &phone.Desk{
		Store:  phone.Store{Shared: engine, Memory: phone.NewMemory(), Keys: keys},
		Client: client, Unit: &merchant.Unit{MSN: "123456", Scope: "openid name"}, MSN: "123456",
		Check: check, Outcomes: nobody{}, Logger: zap.NewNop(), Stopping: make(chan struct{}),
	}, nil
}

// measurePhones starts n logins at all instances in turn, lets up to a thousand clients wait for half a minute, and
// completes all.
func measurePhones(s shared, n int) error {
	c := new(customers)
	var desks []*phone.Desk
	for _, engine := range s.engines() {
		desk, err := c.desk(engine)
		if err != nil {
			return err
		}
		desks = append(desks, desk)
	}
	before, err := s.usage()
	if err != nil {
		return err
	}
	ids, empty, began := make([]string, n), heap(), time.Now()
	err = each(n, 50, func(i int) error {
		number := fmt.Sprint(number0 + i)
		login, err := desks[i%len(desks)].Start(context.Background(), vipps.PhoneRequest{Scope: "openid name", LoginHint: "urn:msisdn:" + number}, number, phone.FinishApp, "")
		if err == nil {
			ids[i] = login.ID
		}
		return err
	})
	if err != nil {
		return err
	}
	after, err := s.usage()
	if err != nil {
		return err
	}
	report(fmt.Sprintf("%d phone logins started, in %s; heap of %d instances %+.1f MiB", n, time.Since(began).Round(time.Millisecond), len(desks), float64(heap()-empty)/(1<<20)), n, before, after)
	if n <= 1000 {
		return waitForAll(s, c, desks, ids)
	}
	return completeAll(s, c, desks, ids)
}

// wait waits for a login as a till does: if it is still pending after a minute, it asks again.
func wait(desk *phone.Desk, id string) error {
	for {
		login, err := desk.Wait(context.Background(), id, time.Minute)
		switch {
		case err != nil:
			return err
		case login.Status == phone.Complete:
			return nil
		case login.Status != phone.Pending:
			return errors.New("a login is " + string(login.Status))
		}
	}
}

// waitForAll has a client for each login, at the instance where it was started.
func waitForAll(s shared, c *customers, desks []*phone.Desk, ids []string) error {
	completed := make(chan error, len(ids))
	begun, err := s.usage()
	if err != nil {
		return err
	}
	for i, id := range ids {
		go func() {
			completed <- wait(desks[i%len(desks)], id)
		}()
	}
	time.Sleep(10 * time.Second)
	before, err := s.usage()
	if err != nil {
		return err
	}
	report("their clients wait: the first ten seconds", len(ids), begun, before)
	polls := c.polls.Load()
	time.Sleep(20 * time.Second)
	after, err := s.usage()
	if err != nil {
		return err
	}
	report(fmt.Sprintf("the next 20 seconds, with %d polls", c.polls.Load()-polls), len(ids), before, after)
	c.answer.Store(true)
	for range ids {
		if err := <-completed; err != nil {
			return err
		}
	}
	done, err := s.usage()
	if err != nil {
		return err
	}
	report("all are completed", len(ids), after, done)
	return nil
}

// completeAll asks for each login once, when all customers have answered.
func completeAll(s shared, c *customers, desks []*phone.Desk, ids []string) error {
	c.answer.Store(true)
	before, err := s.usage()
	if err != nil {
		return err
	}
	began := time.Now()
	err = each(len(ids), 50, func(i int) error { return wait(desks[i%len(desks)], ids[i]) })
	if err != nil {
		return err
	}
	after, err := s.usage()
	if err != nil {
		return err
	}
	report(fmt.Sprintf("all are completed, in %s", time.Since(began).Round(time.Millisecond)), len(ids), before, after)
	return nil
}
