package defences

// requests are the defences of requests: how they come, and what is answered to them.
var requests = []Defence{
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
		Threat: "upstream content with the refusal",
		Name:   "an address is the same with a prefix less or more",
		File:   "internal/incoming/request.go",
		Old:    `return strings.HasSuffix(sent, now) || sent != "/" && strings.HasSuffix(now, sent)`,
		New:    `return sent == now`,
		Test:   "TestRefusalIsNotProxied",
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
		Threat: "TLS early data",
		Name:   "a matcher's word of early data is 425",
		File:   "module.go",
		Old:    `case incoming.IsTooEarly(err):`,
		New:    `case false:`,
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
		Threat: "a shared cache that keeps a cookie of ours",
		Name:   "what sets a cookie says private",
		File:   "internal/cookie/cookie.go",
		Old:    `header.Add("Cache-Control", "private")`,
		New:    ``,
		Test:   "TestNoCacheKeepsACookie",
	},
	{
		Threat: "websockets and streams",
		Name:   "placeholders see the GET, behind tracing too",
		File:   "internal/incoming/variants.go",
		Old:    `if other.Proto != proto { // asUpgrade`,
		New:    `if false {`,
		Test:   "TestWebsocketsByConnect",
	},
}
