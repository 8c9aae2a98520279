// Package demo_test runs the demo the way its visitors do.
package demo_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-vipps/vippslogin"
	"github.com/caddy-vipps/vippslogin/internal/freeport"
	_ "github.com/caddy-vipps/vippslogin/simulator"
)

var transactionField = regexp.MustCompile(`name="transaction" value="([^"]+)"`)

// A person opens a shop, picks who they are, is greeted by name, and logs out.
func TestDemo(t *testing.T) {
	shops, vipps := startDemo(t)
	for name, test := range map[string]struct {
		start  string // the page to open
		public string // what it says to somebody who is not logged in
		page   string // where they are after the login
		user   string
		texts  []string
	}{
		"shop A": {
			"http://shop-a.localhost:" + shops + "/?from=mail", "",
			"http://shop-a.localhost:" + shops + "/?from=mail", "4740000001",
			[]string{"Hello Bjørn Ærlig-Åsen", ">X-Vipps-Msn</th><td>123456<", ">X-Vipps-Phone-Number</th><td>4740000001<"},
		},
		"shop B": {
			"http://shop-b.localhost:" + shops + "/", "This page is for everybody",
			"http://shop-b.localhost:" + shops + "/account/", "4712345678",
			[]string{"Hello Kari Nordmann", ">X-Vipps-Msn</th><td>234567<"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t)
			if test.public != "" {
				b.open(test.start)
				b.wantPage(test.start, test.public)
				b.open(test.page)
			} else {
				b.open(test.start)
			}
			b.wantPage(vipps, "Who are you?")
			b.approve(vipps, test.user)
			b.wantPage(test.page, test.texts...)
			shop, _ := url.Parse(test.page)
			b.open("http://" + shop.Host + "/vipps/logout?return_to=/bye.html")
			b.wantPage("http://"+shop.Host+"/bye.html", "You are logged out")
			b.open(test.page)
			b.wantPage(vipps, "Who are you?")
		})
	}
}

// The stylesheet of shop A's goodbye page needs no login, and the legacy
// site's parts of pages are not pages.
func TestPublicFiles(t *testing.T) {
	shops, _ := startDemo(t)
	b := newBrowser(t)
	b.open("http://shop-a.localhost:" + shops + "/style.css")
	b.wantPage("http://shop-a.localhost:"+shops+"/style.css", "color-scheme")
	b.open("http://shop-b.localhost:" + shops + "/_goods.html")
	if b.status != http.StatusNotFound {
		t.Errorf("_goods.html: %d, want 404", b.status)
	}
}

// startDemo runs demo/Caddyfile in this process, on free ports, and returns the
// shops' port and the simulator's address.
func startDemo(t *testing.T) (shops, vipps string) {
	t.Helper()
	shops, vippsPort := strconv.Itoa(freeport.New(t)), strconv.Itoa(freeport.New(t))
	t.Setenv("DEMO_SHOP_PORT", shops)
	t.Setenv("DEMO_VIPPS_PORT", vippsPort)
	t.Setenv("DEMO_LEGACY_PORT", strconv.Itoa(freeport.New(t)))
	t.Setenv("DEMO_STORAGE", t.TempDir())
	input, err := os.ReadFile("demo/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(input, map[string]any{"filename": "demo/Caddyfile"})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return shops, "http://localhost:" + vippsPort
}

// browser keeps cookies, follows redirects, and shows one page.
type browser struct {
	t      *testing.T
	client *http.Client
	status int
	url    string
	page   string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	// Browsers know that names below localhost are this machine (RFC 6761,
	// section 6.3); Go's resolver asks the system, which may not.
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
	}
	transport := &http.Transport{DialContext: dial}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: t, client: &http.Client{Jar: jar, Transport: transport}}
}

func (b *browser) open(target string) {
	b.t.Helper()
	request, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.send(request)
}

// approve answers the consent page that is shown.
func (b *browser) approve(vipps, user string) {
	b.t.Helper()
	match := transactionField.FindStringSubmatch(b.page)
	if match == nil {
		b.t.Fatalf("no consent page: %s", b.page)
	}
	form := url.Values{"transaction": {match[1]}, "answer": {"approve"}, "user": {user}}
	request, err := http.NewRequest(http.MethodPost, vipps+"/_simulator/consent", strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.send(request)
}

func (b *browser) send(request *http.Request) {
	b.t.Helper()
	request.Header.Set("Accept", "text/html")
	response, err := b.client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.status, b.url, b.page = response.StatusCode, response.Request.URL.String(), string(text)
}

// wantPage checks the address, which may go on, and texts of the page.
func (b *browser) wantPage(address string, texts ...string) {
	b.t.Helper()
	if b.status != http.StatusOK || !strings.HasPrefix(b.url, address) {
		b.t.Fatalf("at %s with status %d, want %s\n%s", b.url, b.status, address, b.page)
	}
	for _, text := range texts {
		if !strings.Contains(b.page, text) {
			b.t.Errorf("%s lacks %q:\n%s", b.url, text, b.page)
		}
	}
}
