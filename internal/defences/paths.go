package defences

// paths are the defences of paths, hosts and redirects.
var paths = []Defence{
	{
		Threat: "open redirect after login or logout",
		Name:   "the redirect after a login is absolute",
		File:   "handler_callback.go",
		Old: `	h.setSession(w, r, v, s)
	return redirect(w, http.StatusFound, v.URL(returnTo))`,
		New: `	h.setSession(w, r, v, s)
	return redirect(w, http.StatusFound, returnTo)`,
		Test: "TestNoWayElsewhere",
	},
	{
		Threat: "open redirect after login or logout",
		Name:   "the redirect after a logout is absolute",
		File:   "handler_session.go",
		Old:    `redirect(w, status, v.URL(returnTo))`,
		New:    `redirect(w, status, returnTo)`,
		Test:   "TestNoWayElsewhere",
	},
	{
		Threat: "open redirect after login or logout",
		Name:   "backslashes are encoded",
		File:   "internal/incoming/request.go",
		Old:    `case c == '\\' && inPath, c > 0x7f,`,
		New:    `case inPath && c == 0, c > 0x7f,`,
		Test:   "TestReturnPaths",
	},
	{
		Threat: "open redirect after login or logout",
		Name:   "control characters are refused",
		File:   "internal/incoming/request.go",
		Old:    `case c < ' ', c == 0x7f: // in no request target`,
		New:    `case false:`,
		Test:   "TestReturnPaths",
	},
	{
		Threat: "open redirect after login or logout",
		Name:   "what is no path is the front page",
		File:   "internal/incoming/request.go",
		Old:    `if target == "" || target[0] != '/' {`,
		New:    `if target == "" {`,
		Test:   "FuzzReturnPath",
	},
	{
		Threat: "open redirect after login or logout",
		Name:   "of the absolute form of a target, path and query count",
		File:   "internal/incoming/request.go",
		Old:    `return r.URL.RequestURI() // the absolute form`,
		New:    `return r.RequestURI //`,
		Test:   "TestAbsoluteFormTarget",
	},
	{
		Threat: "path confusion around public rules",
		Name:   "the matcher is asked about the request as sent",
		File:   "internal/incoming/variants.go",
		Old:    `sent := AsSent(r)`,
		New:    `sent := r`,
		Test:   "TestRewrites",
	},
	{
		Threat: "path confusion around public rules",
		Name:   "the matcher is asked about the request as rewritten",
		File:   "internal/incoming/variants.go",
		Old: `needed, err := matchers.AnyMatchWithError(r)
	if needed`,
		New: `needed, err := matchesAs(matchers, r, AsSent(r))
	if needed || AsSent(r) != r`,
		Test: "TestPathTricks/rewrite to it",
	},
	{
		Threat: "path confusion around public rules",
		Name:   "the matcher is asked about what sites that do not resolve dots read",
		File:   "internal/incoming/variants.go",
		Old:    `add(withoutDotSegments(path))`,
		New:    `_ = path`,
		Test:   "TestPathsReadOtherwise",
	},
	{
		Threat: "path confusion around public rules",
		Name:   "the matcher is asked about what sites that cut parameters out read",
		File:   "internal/incoming/variants.go",
		Old:    `add(withoutPathParameters(path))`,
		New:    `_ = path`,
		Test:   "TestPathsReadOtherwise",
	},
	{
		Threat: "path confusion around public rules",
		Name:   "the matcher is asked about what sites that decode twice read",
		File:   "internal/incoming/variants.go",
		Old:    `add(twice)`,
		New:    `_ = twice`,
		Test:   "TestPathsReadOtherwise",
	},
	{
		Threat: "path confusion around public rules",
		Name:   "the matcher's placeholders look at the same reading",
		File:   "internal/incoming/variants.go",
		Old:    `r.Method, r.Proto, *r.URL, r.RequestURI, r.Header = other.Method, other.Proto, *other.URL, other.RequestURI, other.Header`,
		New:    `return matchers.AnyMatchWithError(other)`,
		Test:   "TestMatcherWithPlaceholders",
	},
	{
		Threat: "path confusion around public rules",
		Name:   "forwarded URI headers are nothing to the matcher",
		File:   "internal/incoming/variants.go",
		Old: `	needed, err := matchers.AnyMatchWithError(r)
`,
		New: `	if uri := r.Header.Get("X-Forwarded-Uri"); uri != "" {
		return matchesAs(matchers, r, withPath(r, uri))
	}
	needed, err := matchers.AnyMatchWithError(r)
`,
		Test: "TestPathTricks/nothing",
	},
	{
		Threat: "path confusion around public rules",
		Name:   "placeholders and expressions see resolved paths",
		File:   "internal/incoming/variants.go",
		Old: `		add(caddyhttp.CleanPath(path, true))
`,
		New: `		add(strings.Clone(path)); _ = caddyhttp.CleanPath
`,
		Test: "TestMatcherWithPlaceholders",
	},
	{
		Threat: "path confusion around public rules",
		Name:   "the matcher is asked about a query that is repaired",
		File:   "internal/incoming/variants.go",
		Old:    `for _, query := range otherQueries(request.URL.RawQuery) {`,
		New:    `for _, query := range otherQueries("") {`,
		Test:   "TestQueriesReadOtherwise",
	},
	{
		Threat: "path confusion around public rules",
		Name:   "a matcher that fails opens nothing",
		File:   "module.go",
		Old:    `		return h.fail(w, incoming.AsSent(r), v, errMatcher, incoming.WantedPage(incoming.AsSent(r)))`,
		New: `		_ = errMatcher
		return err`,
		Test: "TestMatcherThatFails",
	},
	{
		Threat: "path confusion around public rules",
		Name:   "a query that cannot be read needs a login",
		File:   "internal/incoming/variants.go",
		Old:    `if a.unreadable {`,
		New:    `if false {`,
		Test:   "TestQueriesReadOtherwise",
	},
	{
		Threat: "an endpoint reached, or missed, by another spelling",
		Name:   "exact paths",
		File:   "endpoints.go",
		Old:    `h.endpoints[path]; endpoint`,
		New:    `h.endpoints[strings.ToLower(path)]; endpoint`,
		Test:   "TestEndpointsAreExactPaths",
	},
	{
		Threat: "an endpoint reached, or missed, by another spelling",
		Name:   "paths are compared encoded",
		File:   "internal/incoming/request.go",
		Old:    `return original.URL.EscapedPath()`,
		New:    `return original.URL.Path`,
		Test:   "TestEndpointsAreExactPaths",
	},
	{
		Threat: "an endpoint reached, or missed, by another spelling",
		Name:   "paths count as the client sent them",
		File:   "module.go",
		Old:    `path := incoming.OriginalPath(r)`,
		New:    `path := r.URL.EscapedPath()`,
		Test:   "TestPathTricks/rewrite everything",
	},
	{
		Threat: "forwarded host or scheme trusted",
		Name:   "forwarded headers count from trusted proxies alone",
		File:   "internal/incoming/origin.go",
		Old: `return trusted
`,
		New: `return trusted || r != nil
`,
		Test: "TestForwardedHeaders",
	},
	{
		Threat: "forwarded host or scheme trusted",
		Name:   "nobody but the load balancer is believed",
		File:   "internal/incoming/origin.go",
		Old: `return trusted
`,
		New: `return trusted || r != nil
`,
		Test: "TestBalancers/HAProxy",
	},
	{
		Threat: "forwarded host or scheme trusted",
		Name:   "a public origin is nobody else's to say",
		File:   "internal/incoming/origin.go",
		Old:    `	case os.Public != nil:`,
		New:    `	case os.Public != nil && !fromTrustedProxy(r):`,
		Test:   "TestPublicOrigin",
	},
	{
		Threat: "forwarded host or scheme trusted",
		Name:   "a host that nobody configured has no login",
		File:   "internal/merchant/merchant.go",
		Old: `		return t.Wildcard[parent]
	}
	return nil`,
		New: `		if unit := t.Wildcard[parent]; unit != nil {
			return unit
		}
	}
	for _, unit := range t.Exact {
		return unit
	}
	return nil`,
		Test: "TestHostTricks",
	},
	{
		Threat: "forwarded host or scheme trusted",
		Name:   "a placeholder's MSN is of the host of the visit",
		File:   "visit.go",
		Old: `own != host {
		return ""`,
		New: `own != host {
		_ = host`,
		Test: "TestPlaceholderOfAnotherHost",
	},
	{
		Threat: "forwarded host or scheme trusted",
		Name:   "what is no host is no host",
		File:   "internal/merchant/merchant.go",
		Old:    `if !letter && c != '-' && c != '.' && c != '_' {`,
		New:    `if letter && c == '-' {`,
		Test:   "FuzzHost",
	},
	{
		Threat: "hosts compared with case",
		Name:   "one spelling of a host",
		File:   "internal/merchant/merchant.go",
		Old: `	host = strings.ToLower(host)
	return host, isHost(host)`,
		New:  `	return host, isHost(strings.ToLower(host))`,
		Test: "TestManyHosts",
	},
	{
		Threat: "hosts compared with case",
		Name:   "of a configured one, too",
		File:   "internal/merchant/merchant.go",
		Old: `	host = strings.ToLower(host)
	return host, isHost(host)`,
		New:  `	return host, isHost(strings.ToLower(host))`,
		Test: "TestHosts",
	},
	{
		Threat: "hosts compared with case",
		Name:   "without the dot at its end",
		File:   "internal/merchant/merchant.go",
		Old:    `	host = strings.TrimSuffix(host, ".")`,
		New:    ``,
		Test:   "TestCanonicalHost",
	},
}
