package defences

// identityHeaders are the defences of identity headers, and what a site is told.
var identityHeaders = []Defence{
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
}
