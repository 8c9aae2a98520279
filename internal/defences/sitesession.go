package defences

// siteSessions are the defences of site_session.
var siteSessions = []Defence{
	{
		Threat: "a site that goes by a session of its own",
		Name:   "to the person",
		File:   "internal/sitesession/sitesession.go",
		Old:    `		case b.person == o.Person:`,
		New:    `		case b.name != "":`,
		Test:   "TestSiteSessionOfAnother",
	},
	{
		Threat: "a site that goes by a session of its own",
		Name:   "ikiwiki does not take the next user for the last one",
		File:   "internal/sitesession/sitesession.go",
		Old:    `		case b.person == o.Person:`,
		New:    `		case b.name != "":`,
		Test:   "TestPrograms/pages, Caddy filters",
	},
	{
		Threat: "a site that goes by a session of its own",
		Name:   "to nobody",
		File:   "internal/sitesession/sitesession.go",
		Old:    `		case b.person == o.Person:`,
		New:    `		case b.person == o.Person || b.person == (Person{}):`,
		Test:   "TestVisitorsCookies",
	},
	{
		Threat: "a site that goes by a session of its own",
		Name:   "a session is never nobody's",
		File:   "internal/sitesession/bound.go",
		Old:    `	return Person(sum[:len(Person{})])`,
		New: `	if sub == "" {
		return Person{}
	}
	return Person(sum[:len(Person{})])`,
		Test: "TestVisitorsCookies",
	},
	{
		Threat: "a site that goes by a session of its own",
		Name:   "to the host",
		File:   "internal/sitesession/bound.go",
		Old:    `return seal.Context(o.Host, o.MSN, name)`,
		New:    `return seal.Context(o.MSN, name)`,
		Test:   "TestSiteSessionOfAnother",
	},
	{
		Threat: "a site that goes by a session of its own",
		Name:   "to the merchant",
		File:   "internal/sitesession/bound.go",
		Old:    `return seal.Context(o.Host, o.MSN, name)`,
		New:    `return seal.Context(o.Host, name)`,
		Test:   "TestBoundCookies",
	},
	{
		Threat: "a site that goes by a session of its own",
		Name:   "to the name",
		File:   "internal/sitesession/bound.go",
		Old:    `return seal.Context(o.Host, o.MSN, name)`,
		New: `_ = name
	return seal.Context(o.Host, o.MSN)`,
		Test: "TestSiteSessionOfAnother",
	},
	{
		Threat: "a site that goes by a session of its own",
		Name:   "error routes too",
		File:   "failures.go",
		Old:    `	h.takeCookies(r, v) // handle_errors`,
		New:    `	_ = h.takeCookies // handle_errors`,
		Test:   "TestSiteSessionErrorRoutes",
	},
	{
		Threat: "a site that goes by a session of its own",
		Name:   "trailers too",
		File:   "handler_site.go",
		Old: `	sitesession.DropTrailer(r)
`,
		New:  ``,
		Test: "TestSiteSessionInTrailers",
	},
	{
		Threat: "a site that goes by a session of its own",
		Name:   "and once",
		File:   "handler_site.go",
		Old:    `len(lines) == 0 || &lines[0] == v.fitting`,
		New:    `len(lines) == 0`,
		Test:   "TestSiteSessionErrorRoutes",
	},
	{
		Threat: "a site that goes by a session of its own",
		Name:   "its own cookies are not the site's",
		File:   "handler_site.go",
		Old:    `cookie.IsOwn(name)`,
		New:    `false`,
		Test:   "TestBadCaddyfiles",
	},
	{
		Threat: "a session cookie of the site that a sibling plants",
		Name:   "what nobody has bound goes",
		File:   "internal/sitesession/sitesession.go",
		Old: `		case !ok:
`,
		New: `		case !ok:
			keep(pair)
`,
		Test: "TestSiteSessionPlanted",
	},
	{
		Threat: "a session cookie of the site that a sibling plants",
		Name:   "names as stacks read them",
		File:   "internal/sitesession/sitesession.go",
		Old:    `if !c.mayBe(name) && `,
		New:    `if !c.isOne(name) && `,
		Test:   "TestNamesReadOtherwise",
	},
	{
		Threat: "a session cookie of the site that a sibling plants",
		Name:   "decoded",
		File:   "internal/sitesession/names.go",
		Old:    `		decoded := decodePercent(name)`,
		New:    `		decoded := name`,
		Test:   "TestNamesReadOtherwise",
	},
	{
		Threat: "a session cookie of the site that a sibling plants",
		Name:   "inside another's value",
		File:   "internal/sitesession/names.go",
		Old:    `	return slices.ContainsFunc(parts, `,
		New:    `	return false && slices.ContainsFunc(parts, `,
		Test:   "TestNamesReadOtherwise",
	},
	{
		Threat: "a session cookie of the site that a sibling plants",
		Name:   "a misfit ends none that fits",
		File:   "internal/sitesession/sitesession.go",
		Old: `	for _, b := range f.fits {
		done[b.place] = true`,
		New: `	for range f.fits {
		done[place{}] = true`,
		Test: "TestSiteSessionPlanted",
	},
	{
		Threat: "a session cookie of the site that gets out unbound",
		Name:   "interim answers",
		File:   "handler_site.go",
		Old:    `Interim: h.siteCookies.Remove,`,
		New:    `Interim: func(http.Header) func() { return func() {} },`,
		Test:   "TestSiteSessionInterimAnswers",
	},
	{
		Threat: "a session cookie of the site that gets out unbound",
		Name:   "trailers",
		File:   "handler_site.go",
		Old: `	h.siteCookies.RemoveTrailers(w.Header())
`,
		New:  ``,
		Test: "TestSiteSessionSetManyTimes",
	},
	{
		Threat: "a session cookie of the site that gets out unbound",
		Name:   "an answer that failed",
		File:   "handler_site.go",
		Old:    `		h.siteCookies.Remove(w.Header()) // of an answer that failed`,
		New:    `		_ = site`,
		Test:   "TestSiteSessionOfAnAnswerThatFailed",
	},
	{
		Threat: "a session cookie of the site that gets out unbound",
		Name:   "an answer without a word",
		File:   "handler_site.go",
		Old:    `		site.Begin()`,
		New:    `		_ = site`,
		Test:   "TestSiteSessionOfAnAnswerThatFailed",
	},
	{
		Threat: "a session cookie of the site that gets out unbound",
		Name:   "a flush",
		File:   "internal/outgoing/outgoing.go",
		Old: `	if !w.begun {
		w.WriteHeader(http.StatusOK)`,
		New: `	if false {
		w.WriteHeader(http.StatusOK)`,
		Test: "TestAnswersBegin",
	},
	{
		Threat: "a session cookie of the site that gets out unbound",
		Name:   "a body",
		File:   "internal/outgoing/outgoing.go",
		Old: `	w.Begin()
	return w.ResponseWriterWrapper.Write(b)`,
		New:  `	return w.ResponseWriterWrapper.Write(b)`,
		Test: "TestAnswersBegin",
	},
	{
		Threat: "a session cookie of the site that gets out unbound",
		Name:   "a copied body",
		File:   "internal/outgoing/outgoing.go",
		Old: `	w.Begin()
	return w.ResponseWriterWrapper.ReadFrom(from)`,
		New:  `	return w.ResponseWriterWrapper.ReadFrom(from)`,
		Test: "TestAnswersBegin",
	},
	{
		Threat: "a session cookie of the site that gets out unbound",
		Name:   "an upgrade",
		File:   "internal/outgoing/outgoing.go",
		Old: `	w.Begin()
	return http.NewResponseController(w.ResponseWriter).Hijack()`,
		New:  `	return http.NewResponseController(w.ResponseWriter).Hijack()`,
		Test: "TestUpgrades",
	},
	{
		Threat: "a session cookie of the site that gets out unbound",
		Name:   "any spelling of the field",
		File:   "internal/sitesession/sitesession.go",
		Old:    `		if textproto.CanonicalMIMEHeaderKey(field) != "Set-Cookie" {`,
		New:    `		if field != "Set-Cookie" {`,
		Test:   "TestSetCookieLines",
	},
	{
		Threat: "a session cookie of the site that gets out unbound",
		Name:   "what browsers would not take",
		File:   "internal/sitesession/sitesession.go",
		Old:    `> MaxBytes {`,
		New:    `> 1<<20 {`,
		Test:   "TestSiteSessionCookies",
	},
	{
		Threat: "a session cookie of the site that gets out unbound",
		Name:   "control characters",
		File:   "internal/sitesession/sitesession.go",
		Old:    `if err == nil && !hasControl(line) {`,
		New:    `if err == nil {`,
		Test:   "TestSetCookieLines",
	},
	{
		Threat: "a session cookie of the site that gets out unbound",
		Name:   "where the key is not known",
		File:   "internal/sitesession/sitesession.go",
		Old: `		c.Remove(answer)
		return nil`,
		New:  `		return nil`,
		Test: "TestSetCookieLines",
	},
}
