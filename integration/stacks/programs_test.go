package stacks_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

const headerLogin = "examples/header-login"

// program is one that nobody here wrote, with a login by header of its own.
type program struct {
	host   string // in the example's Caddyfile
	page   string
	who    func(w *window) string // whom the program takes the browser's user for
	ask    *request               // has the program say who is logged in
	inside string                 // of the answer, where somebody is
	// fields are headers that would say who somebody is, if a client could set them.
	fields []string
	// port is where a client that gets past Caddy is whom the first of the fields says; "" where it cannot be.
	port string
}

type request struct{ method, path, body string }

const whoseCalendars = `<propfind xmlns="DAV:"><prop><current-user-principal/></prop></propfind>`

var programs = []program{
	{"calendar", "/.web/", radicaleUser, &request{"PROPFIND", "/", whoseCalendars}, "<current-user-principal><href>/", []string{"X-Remote-User"}, "RADICALE"},
	{"icinga", "/account", icingaUser, &request{"GET", "/account", ""}, "/authentication/logout", []string{"Remote-User", "X-Vipps-Sub", "Redirect-Remote-User"}, ""},
	{"pages", "/ikiwiki.cgi?do=prefs", ikiwikiUser, &request{"GET", "/ikiwiki.cgi?do=prefs", ""}, "Save Preferences", []string{"X-Vipps-Sub", "Remote-User"}, "IKIWIKI"},
}

// radicaleUser asks as a calendar does, in the page's own origin: whose calendars are here?
func radicaleUser(w *window) string {
	w.t.Helper()
	return eval[string](w, `fetch("/", {method: "PROPFIND", headers: {Depth: "0"}, body: '`+whoseCalendars+`'}).then(r => r.text()).then(text =>
		new DOMParser().parseFromString(text, "text/xml").querySelector("current-user-principal href")?.textContent.replaceAll("/", "") ?? text)`)
}

func icingaUser(w *window) string {
	w.t.Helper()
	return eval[string](w, `document.querySelector("#sidebar").outerHTML`)
}

// ikiwikiUser is the address that the user has in ikiwiki's preferences, where it shows nothing else of them. Who has none
// yet, writes their sub there.
func ikiwikiUser(w *window) string {
	w.t.Helper()
	const address = `document.querySelector("input[name=email]").value`
	if eval[string](w, address) == "" {
		page := eval[string](w, `location.href`)
		eval[string](w, `fetch("/vipps/userinfo").then(r => r.json()).then(u => `+address+` = u.sub + "@example.no")`)
		w.load("save", chromedp.Click(chromedp.CSS(`input[value="Save Preferences"]`)))
		w.open(page)
	}
	return eval[string](w, address)
}

func (m *machine) startPrograms(w *harness.World) {
	m.t.Helper()
	m.start([]string{"RADICALE"}, "radicale", "--config", m.write("radicale.ini", m.from(headerLogin+"/radicale.ini",
		"127.0.0.1:5232", "127.0.0.1:$RADICALE", "/var/lib/radicale", "$RUN/radicale")))

	icinga := filepath.Join(m.run, "icingaweb2")
	if err := os.CopyFS(icinga, os.DirFS(filepath.Join(headerLogin, "icingaweb2"))); err != nil {
		m.t.Fatal(err)
	}
	fpm := m.config("php-fpm.conf")
	m.write("php-fpm.conf", m.read(fpm)+"env[ICINGAWEB_CONFIGDIR] = "+icinga+"\nphp_admin_value[sys_temp_dir] = "+m.run+"\n")
	m.start([]string{"PHP_FPM"}, m.newest("/usr/sbin/php-fpm*"), "-F", "-O", "-R", "-y", fpm)

	setup := m.write("pages.setup", m.from(headerLogin+"/ikiwiki/pages.setup", "https://pages.example.no", w.Shop("pages.localhost"), "/srv/pages", "$RUN/pages", "06755", "0755"))
	for _, folder := range []string{"source/.ikiwiki", "html"} {
		if err := os.MkdirAll(filepath.Join(m.run, "pages", folder), 0o755); err != nil {
			m.t.Fatal(err)
		}
	}
	m.write("pages/source/index.mdwn", "Welcome.\n")
	if out, err := exec.Command("ikiwiki", "--setup", setup).CombinedOutput(); err != nil {
		m.t.Fatalf("ikiwiki: %v: %s", err, out)
	}
	m.giveTo("www-data", filepath.Join(m.run, "pages"))
	m.write("ikiwiki.conf", m.from(headerLogin+"/ikiwiki/apache.conf", "127.0.0.1:8080", "127.0.0.1:$IKIWIKI", "/srv/pages", "$RUN/pages"))
	m.start([]string{"IKIWIKI"}, "/usr/sbin/apache2", "-DFOREGROUND", "-f", m.config("programs-apache.conf"))
	m.ready()
}

// giveTo gives a folder to the user that Apache runs as, where the tests run as root.
func (m *machine) giveTo(name, folder string) {
	m.t.Helper()
	owner, err := user.Lookup(name)
	if err != nil || os.Getuid() != 0 {
		return
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	err = filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// public is a header of requests that need no login here.
const public = "X-Public"

var protected = regexp.MustCompile(`(?m)^\tvipps_login (\d+)`)

var exampleHost = regexp.MustCompile(`(?m)^(\w+)\.example\.no \{$`)

// TestPrograms: programs of Debian's log in who has logged in at Vipps MobilePay, and nobody can be somebody else there.
func TestPrograms(t *testing.T) {
	m := newMachine(t)
	msns := map[string]string{"calendar": "345678", "icinga": "456789", "pages": "567890"}
	w := harness.WorldWith(t, func(w *harness.World) (merchants []simulator.Merchant) {
		for host, msn := range msns {
			merchants = append(merchants, simulator.Merchant{MSN: msn, RedirectURIs: []string{w.Shop(host+".localhost") + "/vipps/callback"}})
		}
		return merchants
	})
	m.startPrograms(w)
	_, sites, _ := strings.Cut(m.from(headerLogin+"/Caddyfile", "127.0.0.1:5232", "127.0.0.1:$RADICALE", "unix//run/php/php8.2-fpm.sock", "127.0.0.1:$PHP_FPM",
		"127.0.0.1:8080", "127.0.0.1:$IKIWIKI"), "\n}\n")
	sites = exampleHost.ReplaceAllString(sites, fmt.Sprintf("http://$1.localhost:%d {", w.HTTP))
	// What needs no login reaches the programs without one, as the examples here have nothing do.
	sites = protected.ReplaceAllString(sites, "\t@private not header "+public+" yes\n\tvipps_login @private $1")
	for name, filters := range map[string]string{
		"Caddy filters":   "protocols h1 h2",
		"nothing filters": "expected_underscore_headers X_Vipps_* X_Remote_* Remote_* Redirect_*\n\t\texpected_dot_headers X.Vipps.* X.Remote.* Remote.*",
	} {
		w.LoadWhole(strings.Replace(w.Globals(), "protocols h1 h2", filters, 1) + sites)
		for _, p := range programs {
			t.Run(p.host+", "+name, func(t *testing.T) { p.test(t, m, w.Shop(p.host+".localhost")) })
		}
	}
}

func (p program) test(t *testing.T, m *machine, shop string) {
	t.Helper()
	w := newWindow(t)
	w.login(shop+p.page, harness.Bjorn)
	bjorn := p.sub(w)
	w.send(network.Headers{public: "yes"})
	w.open(shop + p.page)
	p.wants(w, bjorn) // what needs no login, has the user all the same
	p.attack(w, shop, bjorn)
	w.open(shop + "/vipps/logout?return_to=" + p.page)
	w.asked()
	p.wantsNobody(w, shop, bjorn)
	w.login(shop+p.page, harness.Kari)
	kari := p.sub(w)
	if kari == bjorn {
		t.Errorf("Kari is %s as well", kari)
	}
	p.wants(w, kari)
	w.login(shop+"/vipps/login?return_to="+p.page, harness.Bjorn) // without a logout between
	p.wants(w, bjorn)
	if p.port != "" {
		p.pastThePlugin(t, "http://127.0.0.1:"+m.port(p.port))
	}
}

// attack: neither a user nor anybody else can be "evil", whatever headers they send.
func (p program) attack(w *window, shop, sub string) {
	w.t.Helper()
	for _, field := range p.fields {
		all := network.Headers{}
		for _, spelt := range []string{field, strings.ReplaceAll(field, "-", "_"), strings.ReplaceAll(field, "-", "."), strings.ToLower(field)} {
			all[spelt] = "evil"
			nobody := harness.NewBrowser(w.t) // to whom the program has given no cookie yet
			request := harness.NewRequest(w.t, http.MethodGet, shop+p.page, nil)
			request.Header[spelt] = []string{"evil"}
			if a := nobody.Do(request); a.StatusCode != http.StatusFound || !strings.Contains(a.RedirectTo(), harness.PathAuth) {
				w.t.Errorf("%s lets somebody in: %d %s", spelt, a.StatusCode, a.Text)
			}
			if a := p.asks(nobody, shop, spelt); a.StatusCode >= 500 || p.isInside(a.Text) {
				w.t.Errorf("the program is told who it is with %s: %d %s", spelt, a.StatusCode, a.Text)
			}
		}
		w.send(all)
		if status := w.open(shop + p.page); status != http.StatusOK {
			w.t.Errorf("with %v: status %d", all, status)
		}
		p.wants(w, sub)
	}
	w.send(network.Headers{})
}

// asks has the program itself say who is logged in, without a login, with a made-up field.
func (p program) asks(b *harness.Browser, origin, field string) harness.Answer {
	b.T.Helper()
	request := harness.NewRequest(b.T, p.ask.method, origin+p.ask.path, strings.NewReader(p.ask.body), public+": yes", "Depth: 0")
	request.Header[field] = []string{"evil"}
	return b.Do(request)
}

func (p program) isInside(answer string) bool {
	return strings.Contains(answer, p.inside) || strings.Contains(answer, "evil")
}

// wantsNobody: after the logout the program itself, by its own cookie, does not take the browser's user for anybody.
func (p program) wantsNobody(w *window, shop, sub string) {
	w.t.Helper()
	w.send(network.Headers{public: "yes"})
	w.open(shop + "/nothing-here") // a page of this origin
	// A redirect is an answer of the program's: to its own login. The plugin's would be 401.
	answer := eval[string](w, fmt.Sprintf(`fetch(%q, {method: %q, headers: {Depth: "0"}, body: %q || undefined, redirect: "manual"}).then(async r => r.status + " " + await r.text())`,
		p.ask.path, p.ask.method, p.ask.body))
	if strings.HasPrefix(answer, "401") || p.isInside(answer) || strings.Contains(answer, sub) {
		w.t.Errorf("logged out, %s takes the user for %s: %s", p.host, sub, answer)
	}
	w.send(network.Headers{})
}

// pastThePlugin: the attack would succeed if nothing removed the header.
func (p program) pastThePlugin(t *testing.T, origin string) {
	t.Helper()
	if a := p.asks(harness.NewBrowser(t), origin, p.fields[0]); a.StatusCode >= 300 || !p.isInside(a.Text) {
		t.Errorf("%s is nothing to %s: %d %s", p.fields[0], p.host, a.StatusCode, a.Text)
	}
}

// sub is whom the plugin has logged in.
func (p program) sub(w *window) string {
	w.t.Helper()
	return eval[string](w, `fetch("/vipps/userinfo").then(r => r.json()).then(u => u.sub)`)
}

func (p program) wants(w *window, sub string) {
	w.t.Helper()
	if got := p.who(w); !strings.Contains(got, sub) || strings.Contains(got, "evil") {
		w.t.Fatalf("%s takes the user for %q, want %s: %s", p.host, got, sub, w.shown())
	}
}
