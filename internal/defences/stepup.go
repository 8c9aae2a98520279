package defences

// stepUp are the defences of require, of the end of login loops and of header_limit.
var stepUp = []Defence{
	{
		Threat: "more than a session is required",
		Name:   "requirements are asked about a request in all its readings",
		File:   "handler_require.go",
		Old:    `		matched, err := readings.Match(h.requirements[i].matchers)`,
		New: `		_ = readings.Request
		matched, err := h.requirements[i].matchers.AnyMatchWithError(r)`,
		Test: "TestRequirePathTricks",
	},
	{
		Threat: "more than a session is required",
		Name:   "with pass too",
		File:   "module.go",
		Old: `missing || err != nil {
		return h.serveMoreRequired(w, r, v, err)`,
		New: `missing && h.OnUnauthenticated != unauthenticatedPass || err != nil {
		return h.serveMoreRequired(w, r, v, err)`,
		Test: "TestRequireWhereNobodyIsSent",
	},
	{
		Threat: "more than a session is required",
		Name:   "with deny nobody is sent",
		File:   "handler_require.go",
		Old:    ` && h.OnUnauthenticated == unauthenticatedRedirect:`,
		New:    `:`,
		Test:   "TestRequireWhereNobodyIsSent",
	},
	{
		Threat: "more than a session is required",
		Name:   "with a session too",
		File:   "handler_require.go",
		Old: `	if len(h.requirements) == 0 {
		return false, nil`,
		New: `	if len(h.requirements) == 0 || v.session != nil {
		return false, nil`,
		Test: "TestRequireBehindRewrites",
	},
	{
		Threat: "more than a session is required",
		Name:   "the error page of what failed before the directive",
		File:   "module.go",
		Old: `missing || err != nil {
			v.refused = true`,
		New: `false && missing && err != nil {
			v.refused = true`,
		Test: "TestRequireErrorRoutes",
	},
	{
		Threat: "more than a session is required",
		Name:   "only a page view is sent to a login",
		File:   "handler_require.go",
		Old:    `	case incoming.IsNavigation(sent) && `,
		New:    `	case `,
		Test:   "TestRequireWhoAsks",
	},
	{
		Threat: "more than a session is required",
		Name:   "a matcher that fails shows nothing",
		File:   "handler_require.go",
		Old: `		if err != nil {
			return false, err
		}
		if matched {`,
		New:  `		if err == nil && matched {`,
		Test: "TestRequireMatcherThatFails",
	},
	{
		Threat: "the address of a login that asks for more",
		Name:   "what is read of the address is bounded",
		File:   "handler_require.go",
		Old:    `named[:min(len(named), maxRequire)]`,
		New:    `named[:max(0, min(len(named), 1<<20))]`,
		Test:   "TestRequireAddress",
	},
	{
		Threat: "a session that is taken for more",
		Name:   "the same person's sessions alone add up",
		File:   "visit.go",
		Old:    `v.session.Sub() == s.Sub()`,
		New:    `v.session.Sub() != ""`,
		Test:   "TestRequireOfAnother",
	},
	{
		Threat: "a session that is taken for more",
		Name:   "a login is confirmed where it asked for that",
		File:   "visit.go",
		Old:    `= asked.Confirmed, asked.Scopes,`,
		New:    `= true, asked.Scopes,`,
		Test:   "TestRequireConfirmation",
	},
	{
		Threat: "a session that is taken for more",
		Name:   "what was asked of a login is checked",
		File:   "handler_callback.go",
		Old:    `AppAuth: asked.Confirmed}`,
		New:    `AppAuth: h.RequireAppConfirmation}`,
		Test:   "TestRequireConfirmation",
	},
	{
		Threat: "a session that is taken for more",
		Name:   "max_age counts",
		File:   "internal/session/need.go",
		Old:    `if now.Sub(s.Issued.Add(s.Ahead)) < n.MaxAge {`,
		New:    `if !now.Before(s.Issued) {`,
		Test:   "TestRequireMaxAge",
	},
	{
		Threat: "a session that is taken for more",
		Name:   "scopes are those that were asked for",
		File:   "internal/session/need.go",
		Old:    `	n.Scopes = n.Scopes.Without(s.Scopes)`,
		New:    `	n.Scopes = Scopes{}`,
		Test:   "TestRequireScope",
	},
	{
		Threat: "a session that is taken for more",
		Name:   "what does not fit counts as never asked for",
		File:   "handler_require.go",
		Old:    `if !all.Has(scope) {`,
		New:    `if scope == "" {`,
		Test:   "TestBadCaddyfiles",
	},
	{
		Threat: "a session that is taken for more",
		Name:   "of old sessions no scopes are known",
		File:   "internal/session/session.go",
		Old:    `	if plain[0] == formatWithLogins {`,
		New: `	s.Scopes = Scopes{known: 1<<32 - 1}
	if plain[0] == formatWithLogins {`,
		Test: "TestRequireOfStoredSessions",
	},
	{
		Threat: "people sent from one login to the next",
		Name:   "the fourth login is none",
		File:   "handler_auth.go",
		Old:    `if wait := v.wait(now); wait > 0 {`,
		New:    `if wait := v.wait(now); wait > time.Hour {`,
		Test:   "TestLoop",
	},
	{
		Threat: "people sent from one login to the next",
		Name:   "the session remembers",
		File:   "visit.go",
		Old:    `s.Remember(v.history().After(`,
		New:    `s.Remember(session.History{}.After(`,
		Test:   "TestLoop",
	},
	{
		Threat: "people sent from one login to the next",
		Name:   "logins for more end too",
		File:   "internal/session/history.go",
		Old: `		times, most = h.stepUps, MaxStepUps
`,
		New: `		return 0
`,
		Test: "TestRequireLoops",
	},
	{
		Threat: "locked out by one's own headers",
		Name:   "what does not fit is left out",
		File:   "internal/identity/fit.go",
		Old:    `		if size(fitting) <= limit {`,
		New:    `		if true {`,
		Test:   "TestHeaderLimit",
	},
	{
		Threat: "locked out by one's own headers",
		Name:   "sub stays",
		File:   "internal/identity/fit.go",
		Old:    `		if largest.Name == "sub" {`,
		New:    `		if largest.Name == "" {`,
		Test:   "TestHeaderLimit",
	},
}
