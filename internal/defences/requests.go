package defences

var requests = []Defence{
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
		Threat: "identity header not removed",
		Name:   "headers are removed",
		File:   "internal/identity/identity.go",
		Old: `	id.stripHeader(r.Header)
	id.stripConnection`,
		New:  `	id.stripConnection`,
		Test: "TestSpoofedHeaders",
	},
	{
		Threat: "identity header not removed",
		Name:   "a program with a header login gets none",
		File:   "internal/identity/identity.go",
		Old: `	id.stripHeader(r.Header)
	id.stripConnection`,
		New:  `	id.stripConnection`,
		Test: "TestPrograms/calendar, Caddy filters",
	},
	{
		Threat: "identity header not removed",
		Name:   "without a session, too",
		File:   "module.go",
		Old: `	h.identity.Strip(r)
	if r.Context`,
		New: `	if len(r.Header["Cookie"]) > 0 {
		h.identity.Strip(r)
	}
	if r.Context`,
		Test: "TestSpoofedHeaders",
	},
	{
		Threat: "identity header not removed",
		Name:   "of OPTIONS requests, too",
		File:   "module.go",
		Old: `	h.identity.Strip(r)
	if r.Context`,
		New: `	if r.Method != http.MethodOptions {
		h.identity.Strip(r)
	}
	if r.Context`,
		Test: "TestSpoofedHeadersOverHTTP2And3",
	},
	{
		Threat: "identity header not removed",
		Name:   "in error routes, too",
		File:   "module.go",
		Old: `	h.identity.Strip(r)
	if r.Context`,
		New: `	if r.Context().Value(caddyhttp.ErrorCtxKey) == nil {
		h.identity.Strip(r)
	}
	if r.Context`,
		Test: "TestDirectiveTwice",
	},
	{
		Threat: "identity header not removed",
		Name:   "under the prefix of another site's endpoints, too",
		File:   "module.go",
		Old: `	h.identity.Strip(r)
	if r.Context`,
		New: `	if len(path) < 7 || path[:7] != "/vipps/" {
		h.identity.Strip(r)
	}
	if r.Context`,
		Test: "TestSpoofedHeadersOverHTTP2And3",
	},
	{
		Threat: "identity header not removed",
		Name:   "a directive that its endpoints do not reach is refused at load",
		File:   "provision.go",
		Old:    `return placement.Check(ctx, self)`,
		New:    `return placement.Check(ctx, placement.Directive{Endpoints: self.Endpoints[:0]})`,
		Test:   "TestPlacesThatNobodyReaches",
	},
	{
		Threat: "identity header not removed",
		Name:   "the directive is refused where it stands twice",
		File:   "visit.go",
		Old:    `return seen, placement.ErrTwice`,
		New:    `_ = placement.ErrTwice; return seen, nil`,
		Test:   "TestDirectiveTwice",
	},
	{
		Threat: "alias headers",
		Name:   "names under the prefix are folded",
		File:   "internal/identity/identity.go",
		Old: `		return c
	}
	return '-'`,
		New: `		return c
	}
	return c`,
		Test: "TestSpoofedHeaders",
	},
	{
		Threat: "alias headers",
		Name:   "names under the prefix are compared without case",
		File:   "internal/identity/identity.go",
		Old:    `	if HasFoldedPrefix(field, id.folded) {`,
		New:    `	if strings.HasPrefix(field, id.prefix) {`,
		Test:   "FuzzStrip",
	},
	{
		Threat: "alias headers",
		Name:   "configured names are folded",
		File:   "internal/identity/identity.go",
		Old: `id.foldedBy[Fold(field)]
}`,
		New: `id.fields[field] != ""
}`,
		Test: "TestSpoofedHeadersOverHTTP2And3",
	},
	{
		Threat: "alias headers",
		Name:   "gunicorn, which folds names, gets none",
		File:   "internal/identity/identity.go",
		Old: `		return c
	}
	return '-'`,
		New: `		return c
	}
	return c`,
		Test: "TestStacks/gunicorn, Flask HTTP",
	},
	{
		Threat: "identity in trailers",
		Name:   "announced trailers",
		File:   "internal/identity/identity.go",
		Old: `		id.stripHeader(r.Trailer)
`,
		New:  ``,
		Test: "TestSpoofedTrailers",
	},
	{
		Threat: "identity in trailers",
		Name:   "trailers as they come",
		File:   "internal/identity/identity.go",
		Old:    `t.id.stripHeader(t.request.Trailer)`,
		New:    `_ = t.id`,
		Test:   "TestSpoofedTrailers",
	},
	{
		Threat: "identity header made to vanish",
		Name:   "our names are taken out of Connection",
		File:   "internal/identity/identity.go",
		Old: `	id.stripConnection(r.Header)
`,
		New:  ``,
		Test: "TestIdentityCannotBeMadeToVanish",
	},
	{
		Threat: "identity header made to vanish",
		Name:   "no site behind reverse_proxy loses it",
		File:   "internal/identity/identity.go",
		Old: `	id.stripConnection(r.Header)
`,
		New:  ``,
		Test: "TestStacks/Puma, Rack HTTP",
	},
	{
		Threat: "identity header made to vanish",
		Name:   "a bad cookie does not stand for a login",
		File:   "module.go",
		Old:    `case needed && h.OnUnauthenticated`,
		New:    `case needed && !v.invalid && h.OnUnauthenticated`,
		Test:   "TestHeapsOfCookies",
	},
	{
		Threat: "request smuggling",
		Name:   "what Caddy lets through is treated as any request",
		File:   "module.go",
		Old: `	h.identity.Strip(r)
	if r.Context`,
		New: `	if r.ContentLength == 0 {
		h.identity.Strip(r)
	}
	if r.Context`,
		Test: "TestSmuggling",
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
	{
		Threat: "upstream content with the refusal",
		Name:   "where a login is needed, the site is not asked",
		File:   "module.go",
		Old:    `return h.serveUnauthenticated(w, incoming.AsSent(r), v)`,
		New: `_ = h.serveUnauthenticated(w, incoming.AsSent(r), v)
		return next.ServeHTTP(w, r)`,
		Test: "TestNothingOfTheSiteWithARefusal",
	},
	{
		Threat: "upstream content with the refusal",
		Name:   "an endpoint's answer is the end",
		File:   "module.go",
		Old:    `return serveEndpoint(endpoint, w, incoming.AsSent(r), v)`,
		New: `_ = serveEndpoint(endpoint, w, incoming.AsSent(r), v)
		return next.ServeHTTP(w, r)`,
		Test: "TestNothingOfTheSiteWithARefusal",
	},
	{
		Threat: "method override",
		Name:   "the method is the request line's",
		File:   "endpoints.go",
		Old:    `		if slices.Contains(methods, r.Method) {`,
		New: `		if method := r.Header.Get("X-HTTP-Method-Override"); method != "" {
			r.Method = method
		}
		if slices.Contains(methods, r.Method) {`,
		Test: "TestMethodOverride",
	},
	{
		Threat: "websockets and streams without a session",
		Name:   "an upgrade needs a session",
		File:   "module.go",
		Old:    `case needed && h.OnUnauthenticated`,
		New:    `case needed && r.Header.Get("Upgrade") == "" && h.OnUnauthenticated`,
		Test:   "TestUpgradedConnections",
	},
	{
		Threat: "websockets and streams without a session",
		Name:   "a stream needs a session",
		File:   "module.go",
		Old:    `case needed && h.OnUnauthenticated`,
		New:    `case needed && r.Header.Get("Accept") != "text/event-stream" && h.OnUnauthenticated`,
		Test:   "TestStreamsAndTheEndOfASession",
	},
	{
		Threat: "TLS early data",
		Name:   "what came in early data here",
		File:   "internal/incoming/request.go",
		Old:    `return r.TLS != nil && !r.TLS.HandshakeComplete || len(r`,
		New:    `return len(r`,
		Test:   "TestEarlyData",
	},
	{
		Threat: "TLS early data",
		Name:   "what came in early data at a proxy",
		File:   "internal/incoming/request.go",
		Old:    `!r.TLS.HandshakeComplete || len(r.Header["Early-Data"]) > 0`,
		New:    `!r.TLS.HandshakeComplete`,
		Test:   "TestEarlyData",
	},
	{
		Threat: "a sibling's page that starts logins",
		Name:   "a login starts as a page in a window",
		File:   "handler_auth.go",
		Old:    `incoming.IsPrefetch(r) || incoming.IsPartOfPage(r)`,
		New:    `incoming.IsPrefetch(r)`,
		Test:   "TestUnauthenticated",
	},
	{
		Threat: "a sibling's page that starts logins",
		Name:   "no page of another origin reads an endpoint's answer",
		File:   "internal/pages/headers.go",
		Old:    `"Cross-Origin-Resource-Policy", "same-origin")`,
		New:    `"Cross-Origin-Resource-Policy", "cross-origin")`,
		Test:   "TestUserinfoAndLogout",
	},
	{
		Threat: "XSS on error pages",
		Name:   "nothing of the request is shown",
		File:   "failures.go",
		Old:    `Reference: reference}`,
		New:    `Reference: reference + r.URL.RawQuery}`,
		Test:   "TestErrorCodes",
	},
	{
		Threat: "XSS on error pages",
		Name:   "what is shown is escaped",
		File:   "internal/pages/pages.go",
		Old: `		_, err = w.Write(body.Bytes())
	}
	return err
}

// Problem`,
		New: `		_, err = w.Write(append(body.Bytes(), p.Link...))
	}
	return err
}

// Problem`,
		Test: "TestNoWayElsewhere",
	},
	{
		Threat: "XSS on error pages",
		Name:   "a policy that runs nothing",
		File:   "internal/pages/pages.go",
		Old:    `errorPolicy = "default-src 'none'; `,
		New:    `errorPolicy = "`,
		Test:   "TestErrorPages",
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
		Threat: "upstream content with the refusal",
		Name:   "an error route asks the site for nothing that was refused",
		File:   "module.go",
		Old:    `if v.refused && incoming.SameAddress(r) {`,
		New:    `if false {`,
		Test:   "TestRefusalIsNotProxied",
	},
	{
		Threat: "upstream content with the refusal",
		Name:   "our cookies do not go to error routes",
		File:   "failures.go",
		Old:    `	h.takeCookies(r, v) // handle_errors`,
		New:    `	_ = h.takeCookies // handle_errors`,
		Test:   "TestRefusalIsNotProxied",
	},
	{
		Threat: "a shared cache that keeps a cookie of ours",
		Name:   "what sets a cookie says private",
		File:   "internal/cookie/cookie.go",
		Old:    `header.Add("Cache-Control", "private")`,
		New:    ``,
		Test:   "TestNoCacheKeepsACookie",
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
		Threat: "upstream content with the refusal",
		Name:   "an address is the same with a prefix less or more",
		File:   "internal/incoming/request.go",
		Old:    `return strings.HasSuffix(sent, now) || sent != "/" && strings.HasSuffix(now, sent)`,
		New:    `return sent == now`,
		Test:   "TestRefusalIsNotProxied",
	},
	{
		Threat: "websockets and streams",
		Name:   "placeholders see the GET, behind tracing too",
		File:   "internal/incoming/variants.go",
		Old:    `if other.Proto != proto { // asUpgrade`,
		New:    `if false {`,
		Test:   "TestWebsocketsByConnect",
	},
	{
		Threat: "TLS early data",
		Name:   "a matcher's word of early data is 425",
		File:   "module.go",
		Old:    `case incoming.IsTooEarly(err):`,
		New:    `case false:`,
		Test:   "TestEarlyData",
	},
}
