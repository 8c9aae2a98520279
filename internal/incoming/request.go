package incoming

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"
)

// OriginalPath returns the path as the client sent it, still encoded: a rewrite before us neither hides nor adds an endpoint,
// and only its exact spelling is an endpoint.
func OriginalPath(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.URL.EscapedPath()
	}
	return r.URL.EscapedPath()
}

// AsSent returns the request with the method and URL that the client sent, before rewrites.
func AsSent(r *http.Request) *http.Request {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || original.RequestURI == r.RequestURI && original.Method == r.Method {
		return r
	}
	sent := r.WithContext(r.Context())
	url := *original.URL // Caddy keeps the original
	sent.Method, sent.URL, sent.RequestURI = original.Method, &url, original.RequestURI
	return sent
}

// SameAddress reports whether r still asks for what the client asked for. The page of an error route has another path; a
// changed prefix, query or method makes no difference.
func SameAddress(r *http.Request) bool {
	now, sent := r.URL.Path, AsSent(r).URL.Path
	return strings.HasSuffix(sent, now) || sent != "/" && strings.HasSuffix(now, sent)
}

func Replacer(r *http.Request) *caddy.Replacer {
	return r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
}

// Target returns the path and query of r, byte for byte.
func Target(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI() // the absolute form (RFC 9112 section 3.2.2)
}

// SafeReturn returns a path, query and fragment to return to, or "/" for anything else. The redirect stays on our origin in any
// case (Origin.URL). This encodes characters that browsers and servers read differently, such as a backslash in a path
// (CVE-2020-5233), so that the path stays what was asked for.
func SafeReturn(target string) string {
	if target == "" || target[0] != '/' {
		return "/"
	}
	if isPlain(target) {
		return target
	}
	var out strings.Builder
	out.Grow(len(target))
	inPath, inFragment := true, false
	for i := range len(target) {
		c := target[i]
		switch {
		case c < ' ', c == 0x7f: // in no request target
			return "/"
		case c == '\\' && inPath, c > 0x7f, c == ' ', c == '#' && inFragment:
			fmt.Fprintf(&out, "%%%02X", c)
			continue
		case c == '?':
			inPath = false
		case c == '#': // a Location may have a fragment (RFC 9110 section 10.2.2)
			inPath, inFragment = false, true
		}
		out.WriteByte(c)
	}
	return out.String()
}

// isPlain reports whether there is nothing in target to encode, as in nearly all.
func isPlain(target string) bool {
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f || c == '\\' || c == '#' {
			return false
		}
	}
	return true
}

// WantedPage returns the page that r asks for, to return to. A request target has no fragment (RFC 9112 section 3.2).
func WantedPage(r *http.Request) string {
	return SafeReturn(strings.ReplaceAll(Target(r), "#", "%23"))
}

// ReturnTo returns the return_to parameter of a request to an endpoint.
func ReturnTo(r *http.Request) string {
	return SafeReturn(r.URL.Query().Get("return_to"))
}

// Parameters returns the parameters of a query that have these names. It is false if one of them cannot be parsed or is
// repeated. Other parameters may be anything: addresses get things like "rate=100%" and "a;b" appended.
func Parameters(query string, names ...string) (values map[string]string, ok bool) {
	values = make(map[string]string)
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		if err != nil || !slices.Contains(names, name) {
			continue
		}
		value, err = url.QueryUnescape(value)
		if _, twice := values[name]; twice || err != nil || strings.Contains(pair, ";") {
			return nil, false
		}
		values[name] = value
	}
	return values, true
}

// PageOf returns the page that a script's request came from, if it is on our origin: the user wants to return to that, not to
// what the script asked for.
func (o Origin) PageOf(r *http.Request) string {
	page, ok := strings.CutPrefix(r.Referer(), o.URL("/"))
	if !ok {
		return "/"
	}
	return SafeReturn("/" + page)
}

// IsNavigation reports whether the request opens a page in a window. Browsers say so (Fetch Metadata,
// https://www.w3.org/TR/fetch-metadata/), older ones ask for HTML.
func IsNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || IsPrefetch(r) {
		return false
	}
	if isFromScript(r) {
		return false
	}
	if saysWhatItIs(r) {
		return !IsPartOfPage(r)
	}
	return slices.ContainsFunc(r.Header["Accept"], acceptsHTML)
}

// IsForPerson reports whether the answer is shown to the user: it is a page in a window or in a frame, also as the result of a
// form. Anything else is for a script or a program.
func IsForPerson(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		return false // no link and no form sends it
	}
	if IsPrefetch(r) || isFromScript(r) {
		return false
	}
	if saysWhatItIs(r) {
		return first(r, "Sec-Fetch-Mode") == "navigate"
	}
	return slices.ContainsFunc(r.Header["Accept"], acceptsHTML)
}

// first returns the first value of a header field, whose name is in its canonical form: Header.Get would make sure of that, at
// each of the many looks of one request.
func first(r *http.Request, field string) string {
	if values := r.Header[field]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// isFromScript reports whether the request says that it is from a script, or that it opens a websocket. In X-Requested-With,
// Android's web views send the name of their app.
func isFromScript(r *http.Request) bool {
	with := first(r, "X-Requested-With")
	return with != "" && !strings.Contains(with, ".") || httpguts.HeaderValuesContainsToken(r.Header["Upgrade"], "websocket")
}

// IsInFrame reports whether the page is opened inside another.
func IsInFrame(r *http.Request) bool {
	switch first(r, "Sec-Fetch-Dest") {
	case "iframe", "frame", "embed", "object", "fencedframe":
		return true
	}
	return false
}

// saysWhatItIs reports whether the request has Fetch Metadata.
func saysWhatItIs(r *http.Request) bool {
	return first(r, "Sec-Fetch-Mode") != "" || first(r, "Sec-Fetch-Dest") != ""
}

// IsPartOfPage reports whether the browser says that this is an image, a frame or a script's request rather than a page in a
// window.
func IsPartOfPage(r *http.Request) bool {
	if !saysWhatItIs(r) {
		return false
	}
	switch first(r, "Sec-Fetch-Dest") {
	case "document", "empty", "": // empty: a page that the site's own service worker opens
		return first(r, "Sec-Fetch-Mode") != "navigate"
	}
	return true
}

// acceptsHTML reports whether an Accept line names text/html.
func acceptsHTML(accept string) bool {
	for mediaRange := range strings.SplitSeq(accept, ",") {
		mediaType, _, _ := strings.Cut(mediaRange, ";")
		if strings.EqualFold(strings.TrimSpace(mediaType), "text/html") {
			return true
		}
	}
	return false
}

// guesses are the fields that mark a prefetch: the browser or a framework guesses that the user may open the page. Some of
// them have other values with other meanings.
var guesses = []struct {
	field  string
	values []string // parts of values that mark a prefetch; none: any value does
}{
	{"Sec-Purpose", nil},   // https://fetch.spec.whatwg.org/#sec-purpose-header
	{"X-Sec-Purpose", nil}, // Turbo 8
	{"Purpose", []string{"prefetch", "preview", "prerender"}},   // Chromium, Safari
	{"X-Purpose", []string{"prefetch", "preview", "prerender"}}, // Safari
	{"X-Moz", []string{"prefetch"}},                             // Firefox
	{"Next-Router-Prefetch", nil},                               // Next.js
	{"Next-Router-Segment-Prefetch", nil},
}

// IsPrefetch reports whether the request is a prefetch.
func IsPrefetch(r *http.Request) bool {
	for _, guess := range guesses {
		for _, value := range r.Header[guess.field] {
			says := func(part string) bool { return strings.Contains(strings.ToLower(value), part) }
			if value != "" && (guess.values == nil || slices.ContainsFunc(guess.values, says)) {
				return true
			}
		}
	}
	return false
}

// IsPageInWindow reports whether the request opens a page in a window, or does not say: a client that sends neither Fetch
// Metadata nor Accept may be an old browser, or curl.
func IsPageInWindow(r *http.Request) bool {
	if saysWhatItIs(r) || first(r, "X-Requested-With") != "" {
		return IsNavigation(r)
	}
	accept := r.Header["Accept"]
	anything := len(accept) == 0 || len(accept) == 1 && accept[0] == "*/*"
	return !IsPrefetch(r) && (anything || slices.ContainsFunc(accept, acceptsHTML))
}

// IsEarly reports whether the request came in TLS early data (HTTP/3's 0-RTT), here or at a proxy before us
// (RFC 8470 section 5.1, where every value is a 1).
func IsEarly(r *http.Request) bool {
	return r.TLS != nil && !r.TLS.HandshakeComplete || len(r.Header["Early-Data"]) > 0
}

// IsTooEarly reports whether a matcher has failed because of early data, as Caddy's matchers of client addresses do.
func IsTooEarly(err error) bool {
	if err == nil { // as nearly always: the variable below is an allocation
		return false
	}
	var raised caddyhttp.HandlerError
	return errors.As(err, &raised) && raised.StatusCode == http.StatusTooEarly
}

// IsCrossSite reports whether another site made the browser send the request. Browsers say so (Sec-Fetch-Site), older ones
// name the page's origin on a POST.
func IsCrossSite(r *http.Request, o Origin) bool {
	switch first(r, "Sec-Fetch-Site") {
	case "":
	case "same-site": // may be another merchant's site: a link is fine, an image or a script is not
		return first(r, "Sec-Fetch-Mode") != "navigate"
	default:
		return first(r, "Sec-Fetch-Site") == "cross-site"
	}
	from := first(r, "Origin")
	return from != "" && from != o.URL("")
}

// IsCrossOrigin reports whether a page of another origin made the browser send the request.
func IsCrossOrigin(r *http.Request, o Origin) bool {
	if site := first(r, "Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return true
	}
	from := first(r, "Origin")
	return from != "" && from != o.URL("")
}
