package stacks_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// hardName has what decoders get wrong.
const hardName = `Bjørn + Ærlig 100%25-Åsen`

const hardNumber = "4740000009"

// language is one of docs/upstream-headers.md, with a program around its snippet.
type language struct {
	section, block string // of the page
	program        string // of testdata/snippets
	upstream       string
	nobody         any // sub without a login
}

var languages = []language{
	{"PHP", "php", "php.php", "root $RUN\n\trewrite php.php\n\tphp_fastcgi 127.0.0.1:$PHP_FPM", nil},
	{"Perl", "perl", "perl.cgi", "reverse_proxy 127.0.0.1:$PERL", nil},
	{"Django, Flask and other WSGI", "python", "with_flask.py", "reverse_proxy 127.0.0.1:$FLASK", nil},
	{"Django, Flask and other WSGI", "python", "with_django.py", "reverse_proxy 127.0.0.1:$DJANGO", nil},
	{"Rails and other Rack", "ruby", "rails.ru", "reverse_proxy 127.0.0.1:$RAILS", nil},
	{"Spring and other servlets", "java", "Snippets.java", "reverse_proxy 127.0.0.1:$TOMCAT", nil},
	{"Node and Express", "js", "express.js", "reverse_proxy 127.0.0.1:$EXPRESS", nil},
	{"Go", "go", "go.txt", "reverse_proxy 127.0.0.1:$GO", ""},
	{"Go", "go", behindNginx, "reverse_proxy 127.0.0.1:$NGINX", ""},
}

// behindNginx is the program in Go, behind the documentation's nginx.
const behindNginx = "go.txt behind nginx"

// blocks are the blocks of a language in a section of docs/upstream-headers.md.
func blocks(t *testing.T, section, language string) []string {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(content), "\n### "+section+"\n")
	text, _, _ = strings.Cut(text, "\n##")
	var found []string
	for _, match := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	if !ok || len(found) == 0 {
		t.Fatalf("%s has no %s under %s", page, language, section)
	}
	return found
}

var (
	encodingOfLine = regexp.MustCompile(`header_encoding (\w+(?:, \w+)*)`)
	placeOfSnippet = regexp.MustCompile(`(?m)^([ \t]*)\S+ SNIPPET (\w+)$`)
)

// withSnippet writes a program with the documentation's lines in it, and returns its path.
func (m *machine) withSnippet(l language) string {
	m.t.Helper()
	found := blocks(m.t, l.section, l.block)
	program, err := os.ReadFile(filepath.Join(m.programs, "snippets", l.program))
	if err != nil {
		m.t.Fatal(err)
	}
	lines := make(map[string]int)
	text := placeOfSnippet.ReplaceAllStringFunc(string(program), func(place string) string {
		match := placeOfSnippet.FindStringSubmatch(place)
		snippet := found[0]
		if match[2] == "middleware" {
			snippet = found[1]
		}
		var b strings.Builder
		for line := range strings.Lines(snippet) {
			var of []string
			if found := encodingOfLine.FindStringSubmatch(line); found != nil {
				of = strings.Split(found[1], ", ")
			}
			if of == nil || slices.Contains(of, match[2]) {
				b.WriteString(match[1] + line)
			}
			for _, encoding := range of {
				lines[encoding]++
			}
		}
		return b.String()
	})
	if len(lines) != len(encodings) {
		m.t.Fatalf("%s: %s has lines for %v", page, l.section, lines)
	}
	path := m.write(l.program, text)
	if err := os.Chmod(path, 0o755); err != nil { //nolint:gosec // a CGI program
		m.t.Fatal(err)
	}
	return path
}

// startSnippets starts a real server for each language.
func (m *machine) startSnippets() {
	m.t.Helper()
	m.t.Setenv("RUN", m.run)
	for _, l := range languages {
		if l.program == behindNginx {
			continue
		}
		path := m.withSnippet(l)
		switch l.program {
		case "php.php":
			m.start([]string{"PHP_FPM"}, m.newest("/usr/sbin/php-fpm*"), "-n", "-F", "-O", "-R", "-y", m.config("php-fpm.conf"))
		case "perl.cgi":
			m.start([]string{"PERL"}, "/usr/sbin/apache2", "-DFOREGROUND", "-f", m.config("snippets-apache.conf"))
		case "with_flask.py":
			m.start([]string{"FLASK"}, "gunicorn", "--chdir", m.run, "--bind", "127.0.0.1:"+m.port("FLASK"), "with_flask:app")
		case "with_django.py":
			m.start([]string{"DJANGO"}, "gunicorn", "--chdir", m.run, "--bind", "127.0.0.1:"+m.port("DJANGO"), "with_django:application")
		case "rails.ru":
			m.start([]string{"RAILS"}, "puma", "--bind", m.replace("tcp://127.0.0.1:$RAILS"), "--environment", "production", path)
		case "Snippets.java":
			m.start([]string{"TOMCAT"}, "java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", tomcatJars(m.t), path, m.run+"/tomcat", m.serverXML())
		case "express.js":
			if err := os.Symlink(m.programs+"/node/node_modules", m.run+"/node_modules"); err != nil {
				m.t.Fatal(err)
			}
			m.write("package.json", `{"type": "module"}`)
			m.start([]string{"EXPRESS"}, "node", path, m.port("EXPRESS"))
		case "go.txt":
			source, binary := m.write("main.go", m.read(path)), m.run+"/go-program"
			if out, err := exec.Command("go", "build", "-o", binary, source).CombinedOutput(); err != nil {
				m.t.Fatalf("%v: %s", err, out)
			}
			m.start([]string{"GO"}, binary, m.port("GO"))
			m.write("site.conf", m.swap(blocks(m.t, "nginx", "nginx")[0], "10.0.0.6:8080", "127.0.0.1:$NGINX", "10.0.0.5", "127.0.0.1", "127.0.0.1:9000", "127.0.0.1:$GO"))
			m.start([]string{"NGINX"}, "/usr/sbin/nginx", "-e", "stderr", "-p", m.run, "-c", m.config("snippets-nginx.conf"))
		}
	}
	m.ready()
}

// serverXML writes Tomcat's server.xml with the documentation's Connector.
func (m *machine) serverXML() string {
	m.t.Helper()
	if err := os.MkdirAll(m.run+"/tomcat/site/WEB-INF", 0o755); err != nil {
		m.t.Fatal(err)
	}
	m.write("tomcat/site/WEB-INF/web.xml", m.read(m.programs+"/conf/snippets-web.xml"))
	connector := m.swap(blocks(m.t, "Spring and other servlets", "xml")[0], `port="8080"`, `port="$TOMCAT" address="127.0.0.1"`)
	return m.write("server.xml", m.replace(strings.Replace(m.read(m.programs+"/conf/snippets-server.xml"), "CONNECTOR", connector, 1)))
}

func (m *machine) read(path string) string {
	m.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(content)
}

// TestSnippets: the documentation's lines, on a real server of each language, read any name in each encoding.
func TestSnippets(t *testing.T) {
	m := newMachine(t)
	m.startSnippets()
	w := harness.WorldWhere(t, func(w *harness.World, c *simulator.Config) {
		c.Users = append(c.Users, simulator.User{Name: hardName, PhoneNumber: hardNumber, Birthdate: "1980-01-01",
			Addresses: []simulator.Address{{Street: hardName, PostalCode: "9008", Region: "TROMSØ", Country: "NO", Type: "home"}}})
		merchant := simulator.Merchant{MSN: "123456"}
		for i := range languages {
			for _, encoding := range encodings {
				merchant.RedirectURIs = append(merchant.RedirectURIs, w.Shop(host(i, encoding.name))+"/vipps/callback")
			}
		}
		c.Merchants = []simulator.Merchant{merchant}
	})
	var sites strings.Builder
	for i, l := range languages {
		for _, encoding := range encodings {
			fmt.Fprintf(&sites, "http://%s:$HTTP {\n\tvipps_login /account/* 123456 {\n\t\theader_encoding %s\n\t\tscope openid name address\n\t}\n\t%s\n}\n",
				host(i, encoding.name), encoding.name, m.replace(l.upstream))
		}
	}
	w.Load(sites.String())
	for i, l := range languages {
		t.Run(l.program, func(t *testing.T) {
			for _, encoding := range encodings {
				readsSnippet(t, l, w.Shop(host(i, encoding.name)), encoding.name)
			}
		})
	}
	t.Run("large headers at Tomcat", func(t *testing.T) {
		tomcat := slices.IndexFunc(languages, func(l language) bool { return l.program == "Snippets.java" })
		harness.NewBrowser(t).Get(w.Shop(host(tomcat, "utf8"))+"/utf8", "X-Fill: "+strings.Repeat("x", 14<<10)).WantStatus(t, http.StatusOK)
	})
	t.Run("nginx lets only Caddy in", func(t *testing.T) {
		for client, status := range map[string]int{"127.0.0.1": http.StatusOK, clientIP: http.StatusForbidden} {
			if got := statusFor(t, client, m.port("NGINX")); got != status {
				t.Errorf("%s gets %d", client, got)
			}
		}
	})
	t.Run("Django's users", func(t *testing.T) { djangoUsers(t, w.Shop(host(3, "percent"))) })
}

// statusFor is what a client at an address of this machine gets for /utf8.
func statusFor(t *testing.T, client, port string) int {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
	transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Get("http://127.0.0.1:" + port + "/utf8")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// reading is what a program around a snippet answers.
type reading struct {
	Sub, Name any
	Address   map[string]any
}

func readAs(b *harness.Browser, address string) (seen reading) {
	b.T.Helper()
	if err := json.Unmarshal([]byte(b.Ask(address)), &seen); err != nil {
		b.T.Fatal(err)
	}
	return seen
}

func readsSnippet(t *testing.T, l language, shop, encoding string) {
	t.Helper()
	b := harness.NewBrowser(t)
	if seen := readAs(b, shop+"/"+encoding); seen.Sub != l.nobody || seen.Name != "" || seen.Address != nil {
		t.Errorf("%s: nobody is %v", encoding, seen)
	}
	b.Login(shop+"/vipps/login?return_to=/"+encoding, hardNumber).WantStatus(t, http.StatusOK)
	seen := readAs(b, shop+"/"+encoding)
	if text, ok := seen.Sub.(string); !ok || text == "" || seen.Name != hardName {
		t.Errorf("%s: %v, want %q", encoding, seen, hardName)
	}
	if street := seen.Address["street_address"]; street != hardName {
		t.Errorf("%s: the address's street is %v", encoding, street)
	}
}

// djangoUsers: Django's user is who has logged in, nobody after the logout, and then somebody else.
func djangoUsers(t *testing.T, shop string) {
	t.Helper()
	b := harness.NewBrowser(t)
	var before any
	for _, number := range []string{hardNumber, harness.Kari} {
		if sub := readAs(b, shop+"/user").Sub; sub != nil {
			t.Errorf("logged out, Django has %v", sub)
		}
		b.Login(shop+"/vipps/login?return_to=/user", number)
		sub := readAs(b, shop+"/user").Sub
		if want := readAs(b, shop+"/percent").Sub; sub == nil || sub != want || sub == before {
			t.Errorf("Django has %v, want %v, and not %v", sub, want, before)
		}
		before = sub
		if number == hardNumber {
			b.Follow(b.Get(shop + "/vipps/logout?return_to=/user"))
		}
	}
	// Another person without a logout between.
	b.Login(shop+"/vipps/login?return_to=/user", hardNumber)
	if sub := readAs(b, shop+"/user").Sub; sub == before || sub == nil {
		t.Errorf("Django still has %v", sub)
	}
}
