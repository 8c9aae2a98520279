package main

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddy-vipps/vippslogin/bench/rig"
)

// variant is a config of the plugin, and the session that a login there begins.
type variant struct {
	options  string
	session  string      // the Cookie header of somebody who is logged in
	identity http.Header // what the session gives an upstream
}

var (
	name6 = &variant{options: "scope openid name"}
	all13 = &variant{options: "scope openid name phoneNumber email birthDate address"}
	sub2  = &variant{options: "scope openid name\n\t\tclaims sub"}
)

// sample is what is measured: somebody who is logged in, or not, at a site of each Caddy.
type sample struct {
	name, title string
	of          *variant
	site        string // what both sites do
	bare        string // what the bare one does, if that is something else
	anonymous   bool   // requests come without a session, and there is nothing to send in place of it
	status      int

	least, most         float64 // throughput and CPU time to those of the bare Caddy; 0: nothing was asked for
	leastSent, mostSent float64 // to those of the bare Caddy that is sent the headers
}

const proxy = "reverse_proxy $UPSTREAM"

// $UPSTREAM is the address of the upstream.
var cases = []sample{
	{name: "respond-6", title: "a session with 6 headers, in front of respond", of: name6, site: "respond ok", status: http.StatusOK, mostSent: 1.15},
	{name: "respond-13", title: "a session with 13 headers, in front of respond", of: all13, site: "respond ok", status: http.StatusOK, mostSent: 1.15},
	{name: "reverse_proxy-2", title: "a session with claims sub, in front of reverse_proxy", of: sub2, site: proxy, status: http.StatusOK, least: 0.92},
	{name: "reverse_proxy-6", title: "a session with 6 headers, in front of reverse_proxy", of: name6, site: proxy, status: http.StatusOK, leastSent: 0.97, mostSent: 1.03},
	{name: "reverse_proxy-13", title: "a session with 13 headers, in front of reverse_proxy", of: all13, site: proxy, status: http.StatusOK, leastSent: 0.97, mostSent: 1.03},
	{name: "redirect", title: "without a session: the redirect to Vipps MobilePay, against redir", of: name6, site: "respond ok",
		bare: "redir https://login.example/", anonymous: true, status: http.StatusFound, most: 1.3},
}

func caseNames() []string {
	var names []string
	for _, c := range cases {
		names = append(names, c.name)
	}
	return names
}

// bench is what runs: two Caddys with a site for each case.
type bench struct {
	with, bare *rig.Process
	admin      struct{ with, bare string }
	ports      map[string]pair
	upstream   *rig.Process
}

type pair struct{ with, bare int }

func start(r *rig.Rig) (*bench, error) {
	upstream, err := r.StartUpstream()
	if err != nil {
		return nil, err
	}
	b := &bench{ports: make(map[string]pair), upstream: upstream}
	if b.admin.with, err = rig.Admin(); err != nil {
		return nil, err
	}
	if b.admin.bare, err = rig.Admin(); err != nil {
		return nil, err
	}
	var with, bare strings.Builder
	var callbacks []string
	for _, c := range cases {
		ports, err := rig.Ports(2)
		if err != nil {
			return nil, err
		}
		b.ports[c.name] = pair{ports[0], ports[1]}
		site(&with, ports[0], c.of.directive()+c.site, upstream)
		if c.bare == "" {
			c.bare = c.site
		}
		site(&bare, ports[1], c.bare, upstream)
		callbacks = append(callbacks, address(ports[0])+"/vipps/callback")
	}
	vipps, err := r.StartVipps(false, callbacks...)
	if err != nil {
		return nil, err
	}
	if b.with, err = r.StartCaddy("with", r.GlobalOptions("with", b.admin.with, vipps.PluginOptions())+with.String()); err != nil {
		return nil, err
	}
	if b.bare, err = r.StartCaddy("without", r.GlobalOptions("without", b.admin.bare)+bare.String()); err != nil {
		return nil, err
	}
	return b, b.logIn()
}

// logIn logs in at a proxied site of each variant. Cookies are for a host name, whatever the port: one session serves all
// sites of a variant.
func (b *bench) logIn() (err error) {
	client := rig.Client(1)
	for _, c := range cases {
		if c.site != proxy {
			continue
		}
		at := address(b.ports[c.name].with)
		if c.of.session, err = rig.Login(client, at+"/"); err != nil {
			return err
		}
		if c.of.identity, err = identityHeaders(client, at, c.of.session); err != nil {
			return err
		}
	}
	return nil
}

func (v *variant) directive() string {
	return "vipps_login " + rig.MSN + " {\n\t\t" + v.options + "\n\t}\n\t"
}

func address(port int) string { return "http://localhost:" + strconv.Itoa(port) }

func site(caddyfile *strings.Builder, port int, directives string, upstream *rig.Process) {
	fmt.Fprintf(caddyfile, "%s {\n\tbind 127.0.0.1\n\t%s\n}\n", address(port), strings.ReplaceAll(directives, "$UPSTREAM", upstream.Address))
}

// side is one part of a case: a Caddy, and what it is sent.
type side struct {
	process *rig.Process
	admin   string
	url     string
	header  http.Header
}

// The sides of a case.
const (
	withPlugin  = iota
	bareCookies // the bare Caddy, sent the cookies
	bareHeaders // the bare Caddy, sent the headers in their place
	sideCount
)

func (b *bench) sides(c sample) []side {
	session, identity := rig.BrowserHeader(), rig.BrowserHeader()
	if !c.anonymous {
		session.Set("Cookie", c.of.session)
	}
	maps.Copy(identity, c.of.identity)
	at := func(process *rig.Process, admin string, port int, header http.Header) side {
		header = header.Clone()
		header.Set("Host", "localhost:"+strconv.Itoa(port))
		return side{process, admin, "http://127.0.0.1:" + strconv.Itoa(port) + "/account/orders?page=2", header}
	}
	ports := b.ports[c.name]
	sides := []side{at(b.with, b.admin.with, ports.with, session), at(b.bare, b.admin.bare, ports.bare, session)}
	if !c.anonymous {
		sides = append(sides, at(b.bare, b.admin.bare, ports.bare, identity))
	}
	return sides
}
