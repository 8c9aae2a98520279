package incoming

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Matches reports whether matchers match the request as the client sent it, as it is now, or as the site may read either
// (CVE-2025-54576 and similar: the policy saw another path than the site). No matchers match everything.
func Matches(matchers caddyhttp.MatcherSets, r *http.Request) (bool, error) {
	return (&Readings{Request: r}).Match(matchers)
}

// Readings is a request in all the ways in which it may be read, for several matchers.
type Readings struct {
	Request *http.Request

	known      bool // whether the rest is set, which few requests need
	unreadable bool
	others     []*http.Request
}

// Match is Matches.
func (a *Readings) Match(matchers caddyhttp.MatcherSets) (bool, error) {
	if len(matchers) == 0 {
		return true, nil
	}
	r := a.Request
	needed, err := matchers.AnyMatchWithError(r)
	if needed || err != nil {
		return needed, err
	}
	if !a.known {
		a.unreadable = isUnreadable(r.URL.RawQuery) || isUnreadable(AsSent(r).URL.RawQuery)
		a.others, a.known = otherReadings(r), true
	}
	if a.unreadable {
		return true, nil
	}
	for _, other := range a.others {
		if needed, err := matchesAs(matchers, r, other); needed || err != nil {
			return needed, err
		}
	}
	return false, nil
}

// MatchesPage reports whether matchers match a page view of a path and query of this site. It guesses what the browser will
// ask for, and must not decide about access.
func MatchesPage(matchers caddyhttp.MatcherSets, r *http.Request, target string) bool {
	u, err := url.ParseRequestURI(target)
	if err != nil || len(matchers) == 0 {
		return err == nil
	}
	page, location := *r, *r.URL
	location.Path, location.RawPath, location.RawQuery = u.Path, u.RawPath, u.RawQuery
	page.Method, page.URL, page.RequestURI = http.MethodGet, &location, location.RequestURI()
	matched, err := matchesAs(matchers, r, &page)
	return matched && err == nil
}

// matchesAs asks matchers about r as if it were another request. It changes r in place, since the placeholders use r and not a
// copy, and also its URL, which r shares with the request that a directive before us has copied.
func matchesAs(matchers caddyhttp.MatcherSets, r, other *http.Request) (bool, error) {
	method, proto, url, uri, header := r.Method, r.Proto, *r.URL, r.RequestURI, r.Header
	defer func() { r.Method, r.Proto, *r.URL, r.RequestURI, r.Header = method, proto, url, uri, header }()
	r.Method, r.Proto, *r.URL, r.RequestURI, r.Header = other.Method, other.Proto, *other.URL, other.RequestURI, other.Header
	if other.Proto != proto { // asUpgrade
		defer showUpgrade(Replacer(r), header)()
	}
	return matchers.AnyMatchWithError(r)
}

// otherReadings are the requests that some sites take r for; none for nearly every request.
func otherReadings(r *http.Request) (readings []*http.Request) {
	requests := []*http.Request{r}
	if sent := AsSent(r); sent != r {
		requests = append(requests, sent)
	}
	if isExtendedConnect(r) {
		for _, request := range requests {
			requests = append(requests, asUpgrade(request))
		}
	}
	for _, request := range requests {
		if request != r {
			readings = append(readings, request)
		}
		for _, path := range otherPaths(request.URL.Path) {
			readings = append(readings, withPath(request, path))
		}
	}
	for _, request := range append(readings, r) {
		for _, query := range otherQueries(request.URL.RawQuery) {
			readings = append(readings, withQuery(request, query))
		}
	}
	return readings
}

// showUpgrade has placeholders show what asUpgrade has changed, also where they look at the request that a
// directive before us has copied, which has the same header; until what it returns is called.
func showUpgrade(placeholders *caddy.Replacer, header http.Header) (undo func()) {
	connection, upgrade := header["Connection"], header["Upgrade"]
	header["Connection"], header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	placeholders.Set("http.request.method", http.MethodGet)
	return func() {
		placeholders.Delete("http.request.method")
		for field, values := range map[string][]string{"Connection": connection, "Upgrade": upgrade} {
			header[field] = values
			if values == nil {
				delete(header, field)
			}
		}
	}
}

// isExtendedConnect reports whether r opens a websocket over HTTP/2 or HTTP/3 (RFC 8441, RFC 9220).
func isExtendedConnect(r *http.Request) bool {
	return r.Method == http.MethodConnect && (r.Proto == "websocket" || r.Header.Get(":protocol") != "")
}

// asUpgrade is the request that reverse_proxy makes of an extended CONNECT.
func asUpgrade(r *http.Request) *http.Request {
	other := *r
	other.Method, other.Proto, other.Header = http.MethodGet, "HTTP/1.1", r.Header.Clone()
	other.Header.Del(":protocol")
	other.Header.Set("Connection", "Upgrade")
	other.Header.Set("Upgrade", "websocket")
	return &other
}

// otherPaths are what some sites take a path for. Caddy's path matcher resolves "/account/.." and sees "/";
// many sites do not, and see something of the account's; regular expressions and placeholders do not, where a
// site does. Java servers cut parameters out of a path, so that "/;x/account" is the account's (Servlet 6.0
// section 3.5.2). Windows reads a backslash as a slash, and does without dots and blanks at the end of a name
// and a colon and what follows it. Some servers decode twice, and C ends a text at NUL. Parsers of URLs take "//x/account"
// for the account at the host x.
func otherPaths(path string) []string {
	paths := []string{path}
	add := func(reading string) {
		if !slices.Contains(paths, reading) {
			paths = append(paths, reading)
		}
	}
	if strings.Contains(path, "%") {
		if twice, err := url.PathUnescape(escapeBarePercent(path)); err == nil {
			add(twice)
		}
	}
	for _, path := range slices.Clone(paths) {
		add(withoutPathParameters(path))
	}
	for _, path := range slices.Clone(paths) {
		add(withoutAuthority(path))
	}
	for _, path := range slices.Clone(paths) {
		add(withoutDotSegments(path))
		add(caddyhttp.CleanPath(path, true))
	}
	return paths[1:]
}

// otherQueries are what some sites take a query for that is not well formed, in which Caddy's query matcher
// finds nothing at all: a semicolon ends a parameter, or is part of it, and "%" may stand for itself.
func otherQueries(query string) []string {
	if !strings.ContainsAny(query, ";%") && len(query) < maxParameters {
		return nil // nothing in it can be wrong
	}
	if _, err := url.ParseQuery(query); err == nil {
		return nil
	}
	query = escapeBarePercent(query)
	return []string{strings.ReplaceAll(query, ";", "%3B"), strings.ReplaceAll(query, ";", "&")}
}

// maxParameters is how many parameters Go reads; a query of fewer bytes has fewer.
const maxParameters = 10_000

// isUnreadable reports whether a query cannot be repaired: Go, and so Caddy's matcher, reads none of more than
// 10,000 parameters, and many a site reads the first ones.
func isUnreadable(query string) bool {
	return slices.ContainsFunc(otherQueries(query), func(repaired string) bool {
		_, err := url.ParseQuery(repaired)
		return err != nil
	})
}

// escapeBarePercent encodes each "%" that encodes nothing.
func escapeBarePercent(query string) string {
	var escaped strings.Builder
	for i := range len(query) {
		escaped.WriteByte(query[i])
		if query[i] != '%' {
			continue
		}
		if _, err := url.QueryUnescape(query[i:min(i+3, len(query))]); err != nil {
			escaped.WriteString("25")
		}
	}
	return escaped.String()
}

func withQuery(r *http.Request, query string) *http.Request {
	other, u := *r, *r.URL
	u.RawQuery = query
	other.URL, other.RequestURI = &u, u.RequestURI()
	return &other
}

func withPath(r *http.Request, path string) *http.Request {
	other, u := *r, *r.URL
	u.Path, u.RawPath = path, ""
	other.URL, other.RequestURI = &u, u.RequestURI()
	return &other
}

func withoutPathParameters(path string) string {
	if !strings.ContainsAny(path, ";:\\\x00 ") && !strings.Contains(path, "./") && !strings.HasSuffix(path, ".") {
		return path
	}
	var read []string
	for segment := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
		if end := strings.IndexAny(segment, ";:\x00"); end >= 0 {
			segment = segment[:end]
		}
		if bare := strings.TrimRight(segment, ". "); bare != "" {
			segment = bare // and not of "." and ".."
		}
		read = append(read, segment)
	}
	return strings.Join(read, "/")
}

// withoutAuthority is the path of a network-path reference (RFC 3986 section 4.2), which sites see that parse the request
// target as a URL: new URL(req.url, base) in Node, parse_url in PHP, urlsplit in Python. Node skips any number of slashes.
func withoutAuthority(path string) string {
	if !strings.HasPrefix(path, "//") {
		return path
	}
	_, rest, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	return "/" + rest
}

// withoutDotSegments is the path with names in place of "." and "..": nothing is resolved in it.
func withoutDotSegments(path string) string {
	if !strings.Contains(path, "/.") {
		return path
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if segment == "." || segment == ".." {
			segments[i] = "dots"
		}
	}
	return strings.Join(segments, "/")
}
