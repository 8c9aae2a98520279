package vippslogin

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// originalPath is the path as the client sent it, still encoded: no rewrite before us takes an
// endpoint away or adds one, and only its exact spelling is an endpoint.
func originalPath(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.URL.EscapedPath()
	}
	return r.URL.EscapedPath()
}

// asSent is the request with the method and URL that the client sent, whatever was rewritten before
// us.
func asSent(r *http.Request) *http.Request {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || original.RequestURI == r.RequestURI && original.Method == r.Method {
		return r
	}
	sent := r.WithContext(r.Context())
	url := *original.URL // Caddy keeps the original
	sent.Method, sent.URL, sent.RequestURI = original.Method, &url, original.RequestURI
	return sent
}

// otherReadings are the requests that some sites take r for; none for nearly every request. Caddy's path
// matcher resolves "/account/.." and sees "/"; many sites do not, and see something of the account's. Java
// servers cut parameters out of a path, so that "/;x/account" is the account's (Servlet 6.0 section 3.5.2).
// Windows reads a backslash as a slash.
func otherReadings(r *http.Request) (readings []*http.Request) {
	path := r.URL.Path
	if strings.ContainsAny(path, `;\`) {
		path = withoutPathParameters(path)
		readings = append(readings, withPath(r, path))
	}
	for _, path := range []string{r.URL.Path, path} {
		if literal := withoutDotSegments(path); literal != path {
			readings = append(readings, withPath(r, literal))
		}
	}
	return readings
}

func withPath(r *http.Request, path string) *http.Request {
	other, url := *r, *r.URL
	url.Path, url.RawPath = path, ""
	other.URL, other.RequestURI = &url, url.RequestURI()
	return &other
}

func withoutPathParameters(path string) string {
	var read []string
	for segment := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
		name, _, _ := strings.Cut(segment, ";")
		read = append(read, name)
	}
	return strings.Join(read, "/")
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

func replacer(r *http.Request) *caddy.Replacer {
	return r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
}

// requestTarget is the path and query of r, byte for byte as they came.
func requestTarget(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI() // the absolute form (RFC 9112 section 3.2.2)
}

// returnParameter is the return_to of a request to an endpoint.
func returnParameter(r *http.Request) string {
	return safeReturn(r.URL.Query().Get("return_to"))
}

// pageOf is the page that a script's request came from, as far as it is ours: the person wants to come
// back to that, not to what the script asked for.
func (v *visit) pageOf(r *http.Request) string {
	page, ok := strings.CutPrefix(r.Header.Get("Referer"), v.url("/"))
	if !ok {
		return "/"
	}
	return safeReturn("/" + page)
}

// isNavigation reports whether the request is somebody opening a page in a window: browsers say so
// (Fetch Metadata, https://www.w3.org/TR/fetch-metadata/), older ones ask for HTML.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || isPrefetch(r) {
		return false
	}
	if r.Header.Get("X-Requested-With") != "" || r.Header.Get("Upgrade") != "" {
		return false
	}
	mode, destination := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
	if mode != "" || destination != "" {
		return mode == "navigate" && destination == "document"
	}
	return slices.ContainsFunc(r.Header["Accept"], acceptsHTML)
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

// isPrefetch reports whether the browser only guesses that the person may come here.
func isPrefetch(r *http.Request) bool {
	return r.Header.Get("Sec-Purpose") != "" || r.Header.Get("Purpose") == "prefetch"
}

// isCrossSite reports whether another site made the browser send this: browsers say so
// (Sec-Fetch-Site), older ones name the page's origin on a POST.
func isCrossSite(r *http.Request, v *visit) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "cross-site"
	}
	from := r.Header.Get("Origin")
	return from != "" && from != v.url("")
}

// isCrossOrigin reports whether a page of another origin made the browser send this.
func isCrossOrigin(r *http.Request, v *visit) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return true
	}
	from := r.Header.Get("Origin")
	return from != "" && from != v.url("")
}
