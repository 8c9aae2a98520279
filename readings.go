package vippslogin

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// loginNeeded asks the directive's matcher. It asks about the request as the client sent it, as it is
// now, and as the site may read either: where these differ, each may say that a login is needed
// (CVE-2025-54576 and its like: the policy saw another path than the site).
func (h *Handler) loginNeeded(r *http.Request) (bool, error) {
	if len(h.matchers) == 0 {
		return true, nil
	}
	needed, err := h.matchers.AnyMatchWithError(r)
	if needed || err != nil {
		return needed, err
	}
	sent := asSent(r)
	readings := otherReadings(r)
	if sent != r {
		readings = append(append(readings, sent), otherReadings(sent)...)
	}
	for _, other := range readings {
		if needed, err := h.matchesAs(r, other); needed || err != nil {
			return needed, err
		}
	}
	return false, nil
}

// matchesAs asks the matcher about r as if it were another request. In place, since the placeholders of
// this request look at it and at no copy.
func (h *Handler) matchesAs(r, other *http.Request) (bool, error) {
	method, url, uri := r.Method, r.URL, r.RequestURI
	defer func() { r.Method, r.URL, r.RequestURI = method, url, uri }()
	r.Method, r.URL, r.RequestURI = other.Method, other.URL, other.RequestURI
	return h.matchers.AnyMatchWithError(r)
}

// otherReadings are the requests that some sites take r for; none for nearly every request. Caddy's path
// matcher resolves "/account/.." and sees "/"; many sites do not, and see something of the account's. Java
// servers cut parameters out of a path, so that "/;x/account" is the account's (Servlet 6.0 section 3.5.2).
// Windows reads a backslash as a slash, and does without dots and blanks at the end of a name and a colon
// and what follows it. Some servers decode twice, and C ends a text at NUL.
func otherReadings(r *http.Request) (readings []*http.Request) {
	path := r.URL.Path
	paths := []string{path}
	add := func(reading string) {
		if !slices.Contains(paths, reading) {
			paths = append(paths, reading)
			readings = append(readings, withPath(r, reading))
		}
	}
	if twice, err := url.PathUnescape(path); err == nil {
		add(twice)
	}
	for _, path := range slices.Clone(paths) {
		add(withoutPathParameters(path))
	}
	for _, path := range slices.Clone(paths) {
		add(withoutDotSegments(path))
	}
	return readings
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
