package stacks_test

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
)

// stack is a way for a request to get from Caddy to a site: a row of the tables.
type stack struct {
	name     string
	protocol string // what Caddy speaks with it
	upstream string // lines of a Caddyfile, with $ names
	setting  string // what was set so that large headers arrive; "" is the stack as it comes
}

func (s stack) String() string {
	if s.setting != "" {
		return s.name + " with `" + s.setting + "`"
	}
	return s.name
}

const (
	http1   = "HTTP/1.1"
	h2c     = "h2c"
	fastCGI = "FastCGI"
)

func overHTTP1(name, port, setting string) stack {
	return stack{name, http1, "reverse_proxy 127.0.0.1:$" + port, setting}
}

func overH2C(name, port, setting string) stack {
	return stack{name, h2c, "reverse_proxy h2c://127.0.0.1:$" + port, setting}
}

func overFastCGI(name, port, setting string) stack {
	return stack{name, fastCGI, "reverse_proxy 127.0.0.1:$" + port + " {\n\t\ttransport fastcgi\n\t}", setting}
}

// stacks are all that the tables show.
var stacks = []stack{
	{"php-fpm", fastCGI, "root $PROGRAMS/php\n\tphp_fastcgi 127.0.0.1:$PHP_FPM", ""},
	overHTTP1("Apache, mod_php", "MOD_PHP", ""),
	overHTTP1("Apache, mod_php", "MOD_PHP_LARGE", "LimitRequestFieldSize 32768"),
	overHTTP1("Apache, php-fpm", "APACHE_FPM", ""),
	overHTTP1("nginx, php-fpm", "NGINX_FPM", ""),
	overHTTP1("Apache, Perl CGI", "APACHE_CGI", ""),
	overHTTP1("Apache, Perl CGI", "APACHE_CGI_LARGE", "LimitRequestFieldSize 32768"),
	overH2C("Apache, Perl CGI", "APACHE_CGI_H2C", ""),
	overH2C("Apache, Perl CGI", "APACHE_CGI_H2C_LARGE", "LimitRequestFieldSize 32768"),
	overHTTP1("Apache, mod_wsgi", "MOD_WSGI", ""),
	overHTTP1("gunicorn, Flask", "FLASK", ""),
	overHTTP1("gunicorn, Flask", "FLASK_LARGE", "--limit-request-field_size 32768"),
	overHTTP1("gunicorn, Django", "DJANGO", ""),
	overHTTP1("uWSGI", "UWSGI", ""),
	overHTTP1("uWSGI", "UWSGI_LARGE", "buffer-size = 65535"),
	overFastCGI("uWSGI", "UWSGI_FASTCGI", ""),
	overFastCGI("uWSGI", "UWSGI_FASTCGI_LARGE", "buffer-size = 65535"),
	overHTTP1("Puma, Rack", "PUMA", ""),
	overHTTP1("Tomcat", "TOMCAT", ""),
	overHTTP1("Tomcat", "TOMCAT_LARGE", "maxHttpRequestHeaderSize=32768"),
	overH2C("Tomcat", "TOMCAT_H2C", ""),
	overH2C("Tomcat", "TOMCAT_H2C_LARGE", "maxHttpRequestHeaderSize=32768"),
	overHTTP1("Node, Express", "EXPRESS", ""),
	overHTTP1("Node, Express", "EXPRESS_LARGE", "--max-http-header-size=32768"),
	overH2C("Node, http2", "NODE_H2C", ""),
	overHTTP1("Go", "GO", ""),
	overH2C("Go", "GO", ""),
	overHTTP1("Apache as a proxy, Go", "APACHE_PROXY", ""),
	overH2C("Apache as a proxy, Go", "APACHE_PROXY_H2C", ""),
	overHTTP1("nginx as a proxy, Go", "NGINX_PROXY", ""),
	overHTTP1("nginx as a proxy, Go", "NGINX_PROXY_LARGE", "large_client_header_buffers 4 32k"),
	overH2C("nginx as a proxy, Go", "NGINX_PROXY_H2C", ""),
	overH2C("nginx as a proxy, Go", "NGINX_PROXY_H2C_LARGE", "large_client_header_buffers 4 32k"),
}

// startStacks starts the servers of all stacks.
func (m *machine) startStacks() {
	m.t.Helper()
	m.startGo()
	// -n: without the machine's php.ini; -R: also where the tests run as root.
	m.start([]string{"PHP_FPM"}, m.newest("/usr/sbin/php-fpm*"), "-n", "-F", "-O", "-R", "-y", m.config("php-fpm.conf"))
	m.start([]string{"APACHE_CGI", "MOD_WSGI", "APACHE_PROXY", "APACHE_FPM"}, "/usr/sbin/apache2", "-DFOREGROUND", "-f", m.config("apache.conf"))
	m.start([]string{"MOD_PHP", "MOD_PHP_LARGE"}, "/usr/sbin/apache2", "-DFOREGROUND", "-f", m.config("mod-php.conf"))
	m.start([]string{"NGINX_PROXY", "NGINX_FPM"}, "/usr/sbin/nginx", "-e", "stderr", "-p", m.run, "-c", m.config("nginx.conf"))
	m.startPython()
	m.start([]string{"PUMA"}, "puma", "--bind", m.replace("tcp://127.0.0.1:$PUMA"), "--environment", "production", m.programs+"/ruby/config.ru")
	tomcat := []string{"TOMCAT", "TOMCAT_LARGE", "TOMCAT_H2C", "TOMCAT_H2C_LARGE"}
	m.start(tomcat, "java", append([]string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", tomcatJars(m.t), m.programs + "/java/Seen.java", m.run + "/tomcat"}, m.portsOf(tomcat)...)...)
	m.start([]string{"EXPRESS"}, "node", m.programs+"/node/with_express.js", m.port("EXPRESS"))
	m.start([]string{"EXPRESS_LARGE"}, "node", "--max-http-header-size=32768", m.programs+"/node/with_express.js", m.port("EXPRESS_LARGE"))
	m.start([]string{"NODE_H2C"}, "node", m.programs+"/node/over_http2.js", m.port("NODE_H2C"))
	m.ready()
}

func (m *machine) startPython() {
	m.t.Helper()
	gunicorn := func(port, application string, options ...string) {
		m.start([]string{port}, "gunicorn", append(options, "--chdir", m.programs+"/python", "--bind", "127.0.0.1:"+m.port(port), application)...)
	}
	gunicorn("FLASK", "with_flask:app")
	gunicorn("FLASK_LARGE", "with_flask:app", "--limit-request-field_size", "32768")
	gunicorn("DJANGO", "with_django:application")
	uwsgi := func(port, socket string, options ...string) {
		m.start([]string{port}, "uwsgi", append(options, "--die-on-term", "--need-app", "--plugin", "python3", socket, "127.0.0.1:"+m.port(port),
			"--wsgi-file", m.programs+"/python/plain.py")...)
	}
	uwsgi("UWSGI", "--http-socket")
	uwsgi("UWSGI_LARGE", "--http-socket", "--ini", m.write("uwsgi.ini", blocks(m.t, "Django, Flask and other WSGI", "ini")[0]))
	// It answers nothing to what is too large, and waits: 4 seconds by itself.
	uwsgi("UWSGI_FASTCGI", "--fastcgi-socket", "--socket-timeout", "1")
	uwsgi("UWSGI_FASTCGI_LARGE", "--fastcgi-socket", "--buffer-size", "65535")
}

func (m *machine) portsOf(names []string) (ports []string) {
	m.t.Helper()
	for _, name := range names {
		ports = append(ports, m.port(name))
	}
	return ports
}

// startGo is the program in Go, which speaks HTTP/2 without TLS as well.
func (m *machine) startGo() {
	m.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:"+m.port("GO"))
	if err != nil {
		m.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(seen), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(listener) }()
	m.t.Cleanup(func() { server.Close() })
}

// seen is the program in Go: testdata/README.md.
func seen(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Cookie"), "sid=") {
		w.Header().Set("Set-Cookie", siteCookie+"; Path=/; HttpOnly; SameSite=Lax")
	}
	w.Header().Set("Content-Type", "application/json")
	headers := r.Header.Clone()
	headers.Set("Host", r.Host)
	var sub any
	if value := r.Header.Get("X-Vipps-Sub"); value != "" {
		sub = value
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"greeting": "Så " + r.Header.Get("X-Vipps-Name"), "sub": sub, "cookie": r.Header.Get("Cookie"), "headers": headers,
	})
}
