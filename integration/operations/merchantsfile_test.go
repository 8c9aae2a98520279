package operations_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// fileWorld is a Caddy whose merchants are in a file.
type fileWorld struct {
	*harness.World
	file string
}

// newFileWorld has three merchants at Vipps MobilePay, and no Caddy yet.
func newFileWorld(t *testing.T) *fileWorld {
	t.Helper()
	w := harness.WorldWith(t, func(w *harness.World) (all []simulator.Merchant) {
		for host, msn := range map[string]string{"shop-a": "123456", "shop-b": "234567", "shop-77": "100077"} {
			all = append(all, simulator.Merchant{MSN: msn, RedirectURIs: []string{w.Shop(host+".localhost") + "/vipps/callback"}})
		}
		return all
	})
	return &fileWorld{w, filepath.Join(t.TempDir(), "merchants.csv")}
}

func (w *fileWorld) site() string {
	return fmt.Sprintf("http://*.localhost:$HTTP {\n\tvipps_login /private/* {\n\t\tmerchants %s\n\t}\n\treverse_proxy $UPSTREAM\n}\n", w.file)
}

// write writes the file in place.
func (w *fileWorld) write(content string) {
	w.T.Helper()
	if err := os.WriteFile(w.file, []byte(content), 0o600); err != nil {
		w.T.Fatal(err)
	}
}

// replace puts another file in its place.
func (w *fileWorld) replace(content string) {
	w.T.Helper()
	beside := w.file + ".new"
	if err := os.WriteFile(beside, []byte(content), 0o600); err != nil {
		w.T.Fatal(err)
	}
	if err := os.Rename(beside, w.file); err != nil {
		w.T.Fatal(err)
	}
}

// waitForLine waits for the nth log line that has all the parts.
func (w *fileWorld) waitForLine(n int, parts ...string) {
	w.T.Helper()
	count := func() (found int) {
		for line := range strings.Lines(w.Logged()) {
			has := 0
			for _, part := range parts {
				if strings.Contains(line, part) {
					has++
				}
			}
			if has == len(parts) {
				found++
			}
		}
		return found
	}
	harness.WaitFor(w.T, func() bool { return count() >= n })
	if got := count(); got != n {
		w.T.Errorf("%d lines with %q, want %d", got, parts, n)
	}
}

// TestMerchantsFileSwapped: merchants come and go without a reload, and what is wrong changes nothing.
func TestMerchantsFileSwapped(t *testing.T) {
	const first, onlyA, onlyB = "host,msn\n", "shop-a.localhost,123456\n", "shop-b.localhost,234567\n"
	w := newFileWorld(t)
	w.write(first + onlyA)
	w.Load(w.site())
	a, b := w.Shop("shop-a.localhost")+"/private/", w.Shop("shop-b.localhost")+"/private/"
	person := harness.NewBrowser(t)
	person.Login(a, harness.Kari).WantStatus(t, http.StatusOK)
	person.Get(b).WantStatus(t, http.StatusMisdirectedRequest)
	w.waitForLine(1, `"level":"info"`, `"merchants file read"`, `"hosts":1`)

	w.replace(first + onlyA + onlyB)
	w.waitForLine(1, `"level":"info"`, `"merchants file read"`, `"hosts":2`)
	person.Login(b, harness.Kari).WantStatus(t, http.StatusOK)
	if got := w.Upstream.Last(t).Header.Get("X-Vipps-Msn"); got != "234567" {
		t.Errorf("the site is told of MSN %q", got)
	}
	person.Get(a).WantStatus(t, http.StatusOK)

	w.write(first + onlyB) // in place
	w.waitForLine(2, `"merchants file read"`, `"hosts":1`)
	person.Get(a).WantStatus(t, http.StatusMisdirectedRequest)
	person.Get(w.Shop("shop-a.localhost")+"/").WantStatus(t, http.StatusMisdirectedRequest)
	person.Get(b).WantStatus(t, http.StatusOK)

	w.write(first + onlyA + onlyB + "shop-b.localhost,345678\n")
	w.waitForLine(1, `"level":"error"`, `"merchants file refused`, "merchants.csv:4: ", "keep it at one of them")
	person.Get(b).WantStatus(t, http.StatusOK)
	person.Get(a).WantStatus(t, http.StatusMisdirectedRequest)
	if err := w.TryLoad(w.Globals() + w.site()); err == nil || !strings.Contains(err.Error(), "merchants.csv:4: ") {
		t.Errorf("a reload with it: %v", err)
	}
	person.Get(b).WantStatus(t, http.StatusOK)

	w.replace(first + onlyA + onlyB)
	w.waitForLine(2, `"merchants file read"`, `"hosts":2`)
	person.Get(a).WantStatus(t, http.StatusOK) // the session of before
	if err := os.Remove(w.file); err != nil {
		t.Fatal(err)
	}
	w.waitForLine(1, `"level":"error"`, `"merchants file refused`, "no such file or directory")
	person.Get(a).WantStatus(t, http.StatusOK)
	if err := w.TryLoad(w.Globals() + w.site()); err == nil || !strings.Contains(err.Error(), "no such file or directory") {
		t.Errorf("a reload without it: %v", err)
	}
	w.replace(first + onlyB)
	w.waitForLine(3, `"merchants file read"`, `"hosts":1`)
	person.Get(a).WantStatus(t, http.StatusMisdirectedRequest)
	w.waitForLine(2, `"merchants file refused`)
}

// followers counts who watches a merchants file.
func followers() int {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return strings.Count(string(stacks), "(*File).Follow(")
}

// TestMerchantsFileIsLeft: nobody watches the file of a config that does not run.
func TestMerchantsFileIsLeft(t *testing.T) {
	w := newFileWorld(t)
	w.write("host,msn\nshop-a.localhost,123456\n")
	adapted, err := harness.Adapt(t, w.Vars.Replace(w.Globals()+w.site()))
	if err != nil {
		t.Fatal(err)
	}
	if err := harness.Validate(adapted); err != nil {
		t.Fatal(err)
	}
	if n := followers(); n != 0 {
		t.Errorf("%d watch after `caddy validate`", n)
	}
	for range 5 {
		w.Reload(w.Globals() + w.site())
	}
	harness.WaitFor(t, func() bool { return followers() == 1 })
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	harness.WaitFor(t, func() bool { return followers() == 0 })
}

// TestCheckMerchantsFile: `caddy vipps-login check` sees the merchants of a file, and its mistakes.
func TestCheckMerchantsFile(t *testing.T) {
	w := newFileWorld(t)
	w.write("host,msn\nshop-a.localhost,123456\nshop-b.localhost,234567\nshop-c.localhost,999999\n")
	run := w.Check(w.Globals()+w.site(), "--json")
	report := run.Report(t)
	if len(report.Merchants) != 3 {
		t.Fatalf("%d merchants in %s", len(report.Merchants), run.Stdout)
	}
	for host, want := range map[string]string{"shop-a.localhost": "keys ok, msn ok, redirect_uri ok", "shop-c.localhost": "failed"} {
		if got := report.Outcome(host); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	w.write("host,msn\nshop-a.localhost,12\n")
	if run := w.Check(w.Globals() + w.site()); run.Status != 1 || !strings.Contains(run.Stderr, `merchants.csv:2: "12" is not a Merchant Serial Number`) {
		t.Errorf("exit status %d: %s", run.Status, run.Stderr)
	}
}

// manyMerchants is a merchants file with n hosts, shop-77 among them.
func manyMerchants(n int) string {
	content := new(strings.Builder)
	content.WriteString("host,msn\n")
	for i := range n {
		fmt.Fprintf(content, "shop-%d.localhost,%d\n", i, 100_000+i)
	}
	return content.String()
}

// startBound is what a start with 100,000 merchants may take. The target is 3 seconds and it takes a
// third of one; the race detector is ten times slower, on a machine that does other things as well.
const startBound = 30 * time.Second

// TestManyMerchants: 100,000 merchants start, log in, and change.
func TestManyMerchants(t *testing.T) {
	w := newFileWorld(t)
	many := manyMerchants(100_000)
	w.write(many)
	began := time.Now()
	w.Load(w.site())
	t.Logf("started in %s", time.Since(began))
	if took := time.Since(began); took > startBound {
		t.Errorf("it took %s to start", took)
	}
	person := harness.NewBrowser(t)
	person.Login(w.Shop("shop-77.localhost")+"/private/", harness.Kari).WantStatus(t, http.StatusOK)
	if got := w.Upstream.Last(t).Header.Get("X-Vipps-Msn"); got != "100077" {
		t.Errorf("the site is told of MSN %q", got)
	}
	w.replace(many + "shop-a.localhost,123456\n")
	w.waitForLine(1, `"merchants file read"`, `"hosts":100001`)
	person.Login(w.Shop("shop-a.localhost")+"/private/", harness.Kari).WantStatus(t, http.StatusOK)
}

// load is people who keep asking for a page.
type pageLoad struct {
	requests, failures atomic.Int64
	last               atomic.Pointer[string] // a failure
	stop               chan struct{}
	done               sync.WaitGroup
}

// ask asks for a page over and over, and wants a status each time.
func (l *pageLoad) ask(client *http.Client, request *http.Request, status int) {
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		l.requests.Add(1)
		response, err := client.Do(request.Clone(request.Context()))
		if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) {
			// When Caddy reloads, the kernel resets connections that the old listener has not taken yet.
			response, err = client.Do(request.Clone(request.Context()))
		}
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		if err == nil && response.StatusCode != status {
			err = fmt.Errorf("status %d", response.StatusCode)
		}
		if err != nil {
			text := fmt.Sprintf("%s: %v", request.URL, err)
			l.last.Store(&text)
			l.failures.Add(1)
		}
	}
}

// TestReloadUnderLoad: while Caddy reloads and the file changes, nobody sees an error, with a session or
// without one.
func TestReloadUnderLoad(t *testing.T) {
	const merchants, reloads, people = 10_000, 10, 4
	w := newFileWorld(t)
	many := manyMerchants(merchants)
	w.write(many)
	w.Load(w.site())
	page := w.Shop("shop-77.localhost") + "/private/page"
	l := &pageLoad{stop: make(chan struct{})}
	for range people {
		person, stranger := harness.NewBrowser(t), harness.NewBrowser(t)
		person.Login(page, harness.Kari).WantStatus(t, http.StatusOK)
		stranger.Client.Jar = nil
		l.done.Go(func() { l.ask(person.Client, harness.NewRequest(t, http.MethodGet, page, nil), http.StatusOK) })
		navigation := harness.NewRequest(t, http.MethodGet, page, nil, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html")
		l.done.Go(func() { l.ask(stranger.Client, navigation, http.StatusFound) })
	}
	harness.WaitFor(t, func() bool { return l.requests.Load() > 100 })
	for i := range reloads {
		before := l.requests.Load()
		w.Reload(strings.Replace(w.Globals(), "grace_period 1s", fmt.Sprintf("grace_period %dms", 1000+i), 1) + w.site())
		harness.WaitFor(t, func() bool { return l.requests.Load() > before+100 })
	}
	w.replace(many + "shop-a.localhost,123456\n")
	w.waitForLine(1, `"merchants file read"`, fmt.Sprintf(`"hosts":%d`, merchants+1))
	close(l.stop)
	l.done.Wait()
	t.Logf("%d requests, %d failures", l.requests.Load(), l.failures.Load())
	if last := l.last.Load(); last != nil {
		t.Errorf("%d of %d requests failed, such as %s", l.failures.Load(), l.requests.Load(), *last)
	}
}
