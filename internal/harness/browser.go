package harness

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Browser is a person at a browser: cookies, and no redirect followed unless told.
type Browser struct {
	T      testing.TB
	Client *http.Client
	Header http.Header
}

// NewBrowser returns a browser that finds every host name on this machine.
func NewBrowser(t testing.TB) *Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		},
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, // Caddy's local CA, on loopback
		DisableCompression: true,
		ForceAttemptHTTP2:  true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &Browser{
		T: t,
		Client: &http.Client{
			Jar: jar, Transport: transport, Timeout: 30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Header: http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Accept": {"text/html"}},
	}
}

// Answer is a response whose body was read.
type Answer struct {
	*http.Response
	Text string
}

// RedirectTo returns where the answer redirects to, or "".
func (a Answer) RedirectTo() string { return a.Header.Get("Location") }

// Do sends a request with the browser's own header fields, where it has no others, and reads the answer.
func (b *Browser) Do(req *http.Request) Answer {
	b.T.Helper()
	for name, values := range b.Header {
		if _, ok := req.Header[name]; !ok {
			req.Header[name] = values
		}
	}
	resp, err := b.Client.Do(req)
	for range 3 {
		// When Caddy reloads, the kernel resets connections that the old listener has not taken yet.
		if err == nil || req.Body != nil && req.GetBody == nil || !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			break
		}
		if req.GetBody != nil {
			req.Body, _ = req.GetBody() // a copy of what is in memory
		}
		resp, err = b.Client.Do(req)
	}
	if err != nil {
		b.T.Fatal(err)
	}
	defer resp.Body.Close()
	Collected.addCookies(resp)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.T.Fatal(err)
	}
	return Answer{resp, string(body)}
}

// Get opens an address; header gives further fields as "Name: value".
func (b *Browser) Get(address string, header ...string) Answer {
	b.T.Helper()
	return b.Do(NewRequest(b.T, http.MethodGet, address, nil, header...))
}

// NewRequest returns a request. header gives fields as "Name: value"; "Host: …" sets the host.
func NewRequest(t testing.TB, method, address string, body io.Reader, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	return req
}

// Cookies returns the cookies the browser would send to address, as one Cookie header.
func (b *Browser) Cookies(address string) string {
	b.T.Helper()
	u, err := url.Parse(address)
	if err != nil {
		b.T.Fatal(err)
	}
	var pairs []string
	for _, c := range b.Client.Jar.Cookies(u) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

// Follow follows redirects until something else is answered, n times at most.
func (b *Browser) Follow(a Answer) Answer {
	b.T.Helper()
	for range 10 {
		if a.StatusCode != http.StatusFound && a.StatusCode != http.StatusSeeOther {
			return a
		}
		next, err := a.Request.URL.Parse(a.RedirectTo())
		if err != nil {
			b.T.Fatal(err)
		}
		a = b.Get(next.String())
	}
	b.T.Fatal("redirected without end")
	return a
}

var transactionField = regexp.MustCompile(`name="transaction" value="([^"]*)"`)

// Consent answers the simulator's consent page and returns its redirect back to the site.
func (b *Browser) Consent(page Answer, form url.Values) Answer {
	b.T.Helper()
	field := transactionField.FindStringSubmatch(page.Text)
	if field == nil {
		b.T.Fatalf("no consent page but %d %s", page.StatusCode, page.Text)
	}
	form.Set("transaction", html.UnescapeString(field[1]))
	action := regexp.MustCompile(`<form[^>]* action="([^"]*)"`).FindStringSubmatch(page.Text)
	target := page.Request.URL
	if action != nil {
		var err error
		if target, err = target.Parse(html.UnescapeString(action[1])); err != nil {
			b.T.Fatal(err)
		}
	}
	req := NewRequest(b.T, http.MethodPost, target.String(), strings.NewReader(form.Encode()),
		"Content-Type: application/x-www-form-urlencoded")
	return b.Do(req)
}

const (
	Kari  = "4712345678"
	Bjorn = "4740000001"
)

// Approved opens an address that needs a login, approves as a user, and returns the redirect to the
// callback, which was not followed.
func (b *Browser) Approved(address, user string) Answer {
	b.T.Helper()
	return b.Consent(b.Follow(b.Get(address)), url.Values{"user": {user}, "answer": {"approve"}})
}

// Login opens an address that needs a login, logs in, and returns the page it ends at.
func (b *Browser) Login(address, user string) Answer {
	b.T.Helper()
	return b.Follow(b.Approved(address, user))
}

// WantStatus checks a status.
func (a Answer) WantStatus(t testing.TB, status int) Answer {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s %s: got %d %s, want %d\n%s", a.Request.Method, a.Request.URL, a.StatusCode, a.RedirectTo(), status, bytes.TrimSpace([]byte(a.Text)))
	}
	return a
}

// Refused opens a page that needs a login, and has the login fail with an OAuth error.
func (b *Browser) Refused(address, code string) Answer {
	b.T.Helper()
	page := b.Follow(b.Get(address))
	if code == "access_denied" {
		return b.Get(b.Consent(page, url.Values{"answer": {"cancel"}}).RedirectTo())
	}
	return b.Get(b.Consent(page, url.Values{"answer": {"fail"}, "error": {code}}).RedirectTo())
}

var ShownReference = regexp.MustCompile(`<code>([2-9a-z]{8})</code>`)

// LogLine returns the line of the log that holds all parts.
func (w *World) LogLine(parts ...string) map[string]any {
	w.T.Helper()
lines:
	for line := range strings.Lines(w.Logged()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue lines
			}
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			w.T.Fatal(err)
		}
		return fields
	}
	w.T.Fatalf("no line in the log has %q", parts)
	return nil
}

// ClickButton follows the page's one link.
func (b *Browser) ClickButton(page Answer) Answer {
	b.T.Helper()
	link := regexp.MustCompile(`<a class="button" href="([^"]*)">`).FindAllStringSubmatch(page.Text, -1)
	if len(link) != 1 {
		b.T.Fatalf("%d buttons: %s", len(link), page.Text)
	}
	target, err := page.Request.URL.Parse(strings.ReplaceAll(link[0][1], "&amp;", "&"))
	if err != nil {
		b.T.Fatal(err)
	}
	return b.Get(target.String())
}

// RedirectAt is location as an address of a site, whether it is absolute or not.
func (a Answer) RedirectAt(shop string) string {
	if strings.HasPrefix(a.RedirectTo(), "/") {
		return shop + a.RedirectTo()
	}
	return a.RedirectTo()
}

// Lacks is a script's request that is refused for want of more, and what it is told.
func (b *Browser) Lacks(address string, header ...string) problem {
	b.T.Helper()
	a := b.Get(address, append(slices.Clone(AsScript), header...)...).WantStatus(b.T, http.StatusUnauthorized)
	var p problem
	if err := json.Unmarshal([]byte(a.Text), &p); err != nil || p.Required == nil {
		b.T.Fatalf("%s: %v\n%s", address, err, a.Text)
	}
	if challenge := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, `Bearer error="insufficient_user_authentication"`) {
		b.T.Errorf("%s: challenge %s", address, challenge)
	}
	return p
}
