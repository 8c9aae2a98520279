package simulator

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// pingTimeout is how long Vipps waits for the answer to a ping.
const pingTimeout = 10 * time.Second

// SignPing signs a ping as Vipps MobilePay does: it sets x-ms-date,
// x-ms-content-sha256 and Authorization. The signature covers the path, the
// query and the host of r as they are now, and body. The simulator signs its
// pings with it; tests can sign theirs.
func SignPing(r *http.Request, body []byte, secret string, date time.Time) {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	hash := sha256.Sum256(body)
	content := base64.StdEncoding.EncodeToString(hash[:])
	day := date.UTC().Format(http.TimeFormat)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "POST\n%s\n%s;%s;%s", r.URL.RequestURI(), day, host, content)
	r.Header.Set("X-Ms-Date", day)
	r.Header.Set("X-Ms-Content-Sha256", content)
	r.Header.Set("Authorization", "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature="+
		base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

var errNoPing = errors.New("no ping belongs to this login: it has no answer, ends in the browser, or its merchant has no ping_url and no registered webhook")

// PingPhone tells the merchant that the customer has answered, again if it has
// been told before: Vipps repeats pings, too. It waits for the answer, which
// must be 200 within 10 seconds. A login that ends in the browser has no ping.
func (s *Simulator) PingPhone(authReqID string) error {
	s.phoneMu.Lock()
	p, ok := s.phoneLogins.get(authReqID)
	ok = ok && p.answer != unanswered && s.canPing(p)
	s.phoneMu.Unlock()
	if !ok {
		return errNoPing
	}
	var failed []error
	for _, target := range s.pingTargets(p.merchant) {
		err := s.sendPing(target, authReqID)
		if target.registration != nil {
			s.note(target.registration, err == nil)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

func (s *Simulator) canPing(p *phoneLogin) bool {
	return p.redirectURI == "" && len(s.pingTargets(p.merchant)) > 0
}

func (s *Simulator) sendPing(target pingTarget, authReqID string) error {
	body, err := json.Marshal(map[string]string{"auth_req_id": authReqID})
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPost, target.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	SignPing(request, body, target.secret, time.Now())
	return s.send(request)
}

// newPingClient talks to this machine only, directly, and keeps no connection:
// nobody closes a simulator.
func newPingClient() *http.Client {
	return &http.Client{
		Timeout:       pingTimeout,
		Transport:     &http.Transport{DialContext: dialLoopback, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// dialLoopback never asks a resolver: not all of them know that names below
// localhost are this machine (RFC 6761, section 6.3).
func dialLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dialer := new(net.Dialer)
	if _, err := netip.ParseAddr(host); err == nil {
		return dialer.DialContext(ctx, network, address)
	}
	connection, err := dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return dialer.DialContext(ctx, network, net.JoinHostPort("::1", port))
	}
	return connection, nil
}
