package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
)

// Nothing piles up: a Caddy in a process of its own is used hard, and has as many goroutines, as much memory and
// as many open files afterwards as before.

// watched is an instance that can be looked into.
type watched struct {
	*Instance
	w     *World
	shop  string
	admin string
}

// StartWatched starts one that logs nothing that anybody can cause: the look at the log at the end of a test
// would take longer than the test.
func (w *World) StartWatched(sites string, changes ...string) *watched {
	w.T.Helper()
	admin := fmt.Sprintf("127.0.0.1:%d", freeport.New(w.T))
	changed := strings.NewReplacer(append(changes, "admin off", "admin "+admin, "level DEBUG", "level ERROR")...)
	return &watched{w.StartChangedInstance(w.HTTP, sites, changed), w, w.Shop("shop-a.localhost"), admin}
}

// usage is what a process holds on to.
type usage struct{ goroutines, heap, files int }

var (
	goroutinesLine = regexp.MustCompile(`goroutine profile: total (\d+)`)
	heapLine       = regexp.MustCompile(`# HeapAlloc = (\d+)`)
)

// usage looks at the process after a garbage collection, with no connection left that somebody else holds open.
func (i *watched) usage() (u usage) {
	t := i.w.T
	t.Helper()
	i.w.Vipps.CloseClientConnections()
	i.w.Upstream.CloseClientConnections()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	read := func(path string, line *regexp.Regexp) int {
		resp, err := client.Get("http://" + i.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		found := line.FindSubmatch(body)
		if found == nil {
			t.Fatalf("%s: %d %s", path, resp.StatusCode, body)
		}
		n, _ := strconv.Atoi(string(found[1]))
		return n
	}
	read("/debug/pprof/heap?gc=1&debug=1", heapLine) // sync.Pool gives things back at the second only
	u.heap = read("/debug/pprof/heap?gc=1&debug=1", heapLine)
	u.goroutines = read("/debug/pprof/goroutine?debug=1", goroutinesLine)
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", i.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	u.files = len(files)
	return u
}

// Settled is usage once what has just ended is gone. Something is always going on: the list of ended sessions is read every
// three seconds, and on a busy machine each look takes a second.
func (i *watched) Settled() usage {
	u := i.usage()
	deadline := time.Now().Add(time.Minute)
	for same := 0; same < 3; same++ {
		next := i.usage()
		if max(next.goroutines-u.goroutines, u.goroutines-next.goroutines, next.files-u.files, u.files-next.files) > 1 {
			same = -1
		}
		u = next
		if time.Now().After(deadline) {
			i.w.T.Fatal("it does not settle")
		}
	}
	return u
}

// WantNoMore checks that nothing has piled up since before: some goroutines and files for what runs at
// the moment, and memory bytes.
func (i *watched) WantNoMore(what string, before usage, memory int) {
	t := i.w.T
	t.Helper()
	var after usage
	deadline := time.Now().Add(15 * time.Second)
	for ok := false; !ok && time.Now().Before(deadline); {
		after = i.usage()
		ok = after.goroutines <= before.goroutines+4 && after.files <= before.files+4
	}
	t.Logf("%s: %d to %d goroutines, %d to %d files, %d KiB to %d KiB of memory", what, before.goroutines, after.goroutines, before.files, after.files, before.heap>>10, after.heap>>10)
	if after.goroutines > before.goroutines+4 || after.files > before.files+4 || after.heap > before.heap+memory {
		t.Errorf("%s: it piles up", what)
	}
}

// visitors are many browsers with the connections of a few, and a Vipps MobilePay that approves at once and
// signs what is quickest to sign: it is not them that are tested.
type visitors struct {
	w         *World
	transport *http.Transport
}

func (w *World) NewVisitors() *visitors {
	c := &visitors{w, NewBrowser(w.T).Client.Transport.(*http.Transport)}
	c.transport.MaxIdleConnsPerHost = 64
	w.Vipps.Answer(PathKeys, quickKeys)
	w.Vipps.Answer(PathToken, c.Token)
	w.Vipps.Answer(PathUserinfo, WithStatus(http.StatusOK, `{"sub":"a-person","name":"Kari Nordmann"}`))
	return c
}

// RoundTrip approves without a network and without a page: the code is the nonce.
func (c *visitors) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(c.w.Vipps.URL, "http://"+r.URL.Host) {
		return c.transport.RoundTrip(r)
	}
	asked := r.URL.Query()
	back := asked.Get("redirect_uri") + "?" + url.Values{"state": asked["state"], "code": asked["nonce"]}.Encode()
	return &http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {back}}, Body: http.NoBody, Request: r}, nil
}

var quickKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

func quickKeys(rw http.ResponseWriter, _ *http.Request) {
	point, _ := quickKey().PublicKey.Bytes()
	text := base64.RawURLEncoding.EncodeToString
	fmt.Fprintf(rw, `{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"quick","x":%q,"y":%q}]}`, text(point[1:33]), text(point[33:]))
}

func (c *visitors) Token(rw http.ResponseWriter, r *http.Request) {
	now := time.Now().Unix()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": c.w.Vipps.URL + "/access-management-1.0/access/", "aud": "a", "sub": "a-person", "msn": "123456", "nonce": r.FormValue("code"), "iat": now, "exp": now + 300,
	})
	token.Header["kid"] = "quick"
	signed, err := token.SignedString(quickKey())
	if err != nil {
		c.w.T.Error(err)
	}
	fmt.Fprintf(rw, `{"access_token":"an-access-token","token_type":"Bearer","id_token":%q}`, signed)
}

// Someone is a browser among the visitors whom nobody has used.
func (c *visitors) Someone() *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		c.w.T.Fatal(err)
	}
	return &Browser{
		T: c.w.T, Header: http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Accept": {"text/html"}},
		Client: &http.Client{
			Jar: jar, Transport: c, Timeout: 30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Times does something n times, sixteen at a time, and forgets what the harness keeps of it.
func (c *visitors) Times(n int, do func(i int)) {
	var all sync.WaitGroup
	var next atomic.Int64
	for range 16 {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				do(int(i))
			}
		})
	}
	all.Wait()
	c.transport.CloseIdleConnections()
	c.w.Upstream.Mutex.Lock()
	c.w.Upstream.Requests = nil
	c.w.Upstream.Mutex.Unlock()
	c.w.Vipps.Mutex.Lock()
	c.w.Vipps.Seen = nil
	c.w.Vipps.Mutex.Unlock()
}

// LogIn has n people log in, each in a browser of their own.
func (c *visitors) LogIn(n int) {
	shop := c.w.Shop("shop-a.localhost")
	c.Times(n, func(int) {
		b := c.Someone()
		if page := b.Follow(b.Get(shop + "/page")); page.StatusCode != http.StatusOK || !strings.HasPrefix(page.Text, "hello") {
			c.w.T.Errorf("%d at %s: %s", page.StatusCode, page.Request.URL, page.Text)
		}
	})
}
