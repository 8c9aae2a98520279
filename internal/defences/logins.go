package defences

// logins are the defences of logins in the browser: how they begin, return and end.
var logins = []Defence{
	{
		Threat: "session fixation, login CSRF",
		Name:   "a login is completed with the cookie of its browser",
		File:   "handler_callback.go",
		Old:    `case !h.ReturnInAnyBrowser || !told.Carried():`,
		New:    `case false:`,
		Test:   "TestOtherBrowser",
	},
	{
		Threat: "session fixation, login CSRF",
		Name:   "cookies that no other host can plant",
		File:   "internal/cookie/cookie.go",
		Old: `	if secure {
		return HostPrefix + name
	}
`,
		New:  ``,
		Test: "TestLoginCSRF",
	},
	{
		Threat: "session fixation, login CSRF",
		Name:   "the id that is sealed in the cookie counts",
		File:   "internal/login/login.go",
		Old:    `ok && l.ID == id && l.Carried()`,
		New:    `ok && l.Carried()`,
		Test:   "TestCallbackRefused",
	},
	{
		Threat: "session fixation, login CSRF",
		Name:   "a login opens a session of its own",
		File:   "handler_callback.go",
		Old: `	h.setSession(w, r, v, s)
`,
		New: `	if v.session == nil {
		h.setSession(w, r, v, s)
	}
`,
		Test: "TestSessionFixation",
	},
	{
		Threat: "session fixation, login CSRF",
		Name:   "a cookie's name is what the browser takes it for",
		File:   "internal/cookie/cookie.go",
		Old:    `strings.Trim(pair, " \t")`,
		New:    `strings.TrimSpace(pair)`,
		Test:   "TestSessionFixation",
	},
	{
		Threat: "session fixation, login CSRF",
		Name:   "no image or frame completes a login",
		File:   "handler_callback.go",
		Old:    `if incoming.IsPartOfPage(r) {`,
		New:    `if false {`,
		Test:   "TestNoImageCompletesALogin",
	},
	{
		Threat: "a late answer changes who is logged in",
		Name:   "a login ends the session it replaces",
		File:   "handler_callback.go",
		Old: `	h.endReplaced(r, v)
	h.recordLogin(v, flowBrowser`,
		New:  `	h.recordLogin(v, flowBrowser`,
		Test: "TestLateAnswer",
	},
	{
		Threat: "a late answer changes who is logged in",
		Name:   "a renewal leaves the session's cookies alone",
		File:   "visit.go",
		Old: `	idle := h.idleTimeout
`,
		New: `	idle := h.idleTimeout
	if values, _ := session.Seal(v.keys.Session, v.session, v.Host, v.msn); idle > 0 {
		cookie.Set(w, v.names.Session, values[0], v.Secure(), idle)
	}
`,
		Test: "TestLateAnswer",
	},
	{
		Threat: "a late answer changes who is logged in",
		Name:   "the site's answers clear nothing",
		File:   "module.go",
		Old: `	needed, err := incoming.Matches(h.matchers, r)
	switch {
	case incoming.IsTooEarly(err):`,
		New: `	v.clearInvalid(w, r)
	needed, err := incoming.Matches(h.matchers, r)
	switch {
	case incoming.IsTooEarly(err):`,
		Test: "TestLateAnswerEndsNothing",
	},
	{
		Threat: "a late answer changes who is logged in",
		Name:   "answers that come late clear nothing",
		File:   "visit.go",
		Old:    `if v.invalid && time.Since(v.began) < atOnce {`,
		New:    `if v.invalid && !v.began.IsZero() {`,
		Test:   "TestLateFailureEndsNothing",
	},
	{
		Threat: "a late answer changes who is logged in",
		Name:   "an outcome told again replaces no newer session",
		File:   "handler_callback.go",
		Old: `		err == nil && !first && v.session != nil && !h.app.shared.revocations.Now.Has(v.session, v.msn):
`,
		New: `		false:
`,
		Test: "TestLostAnswerAfterAnotherLogin",
	},
	{
		Threat: "two merchants on two ports of a host",
		Name:   "the MSN is in the names of cookies",
		File:   "visit.go",
		Old:    `h.app.sharedHosts.Has(v.Host) {`,
		New:    `false {`,
		Test:   "TestOneHostTwoMerchants",
	},
	{
		Threat: "logout by a part of a page",
		Name:   "GET is a page in a window",
		File:   "handler_session.go",
		Old:    `case r.Method == http.MethodGet && !incoming.IsPageInWindow(r), incoming.IsPrefetch(r):`,
		New:    `case incoming.IsPrefetch(r):`,
		Test:   "TestLogoutByPartsOfPages",
	},
	{
		Threat: "logout by a part of a page",
		Name:   "every spelling of a guess",
		File:   "internal/incoming/request.go",
		Old:    `if value != "" && (guess.values == nil || slices.ContainsFunc(guess.values, says)) {`,
		New:    `if guess.field == "Sec-Purpose" && value != "" && (guess.values == nil || slices.ContainsFunc(guess.values, says)) {`,
		Test:   "TestLogoutByPartsOfPages",
	},
	{
		Threat: "callback replayed, mixed up, ambiguous",
		Name:   "a state is spent by its first use",
		File:   "internal/login/attempts.go",
		Old: `		return nil, false, ErrSpent
`,
		New: `		s.cache.Delete(l.ID)
`,
		Test: "TestStateIsSpentOnce",
	},
	{
		Threat: "callback replayed, mixed up, ambiguous",
		Name:   "one of many at once spends it",
		File:   "internal/login/attempts.go",
		Old:    `if s.cache.Add(l.ID, struct{}{}, gocache.DefaultExpiration) != nil {`,
		New: `_, found := s.cache.Get(l.ID)
	s.mu.Unlock()
	time.Sleep(10 * time.Millisecond)
	s.mu.Lock()
	if s.cache.SetDefault(l.ID, struct{}{}); found {`,
		Test: "TestCallbackOnceOutOfMany",
	},
	{
		Threat: "callback replayed, mixed up, ambiguous",
		Name:   "what is spent outlives a reload",
		File:   "partnerclient.go",
		Old:    `	return value.(*shared), key`,
		New: `	login.Used = login.NewSpent()
	return value.(*shared), key`,
		Test: "TestSpentThroughReloads",
	},
	{
		Threat: "callback replayed, mixed up, ambiguous",
		Name:   "PKCE: the challenge",
		File:   "internal/vipps/authorizationurl.go",
		Old:    `add("code_challenge", `,
		New:    `add("x", `,
		Test:   "TestTabsMixedUp",
	},
	{
		Threat: "callback replayed, mixed up, ambiguous",
		Name:   "PKCE: the verifier",
		File:   "internal/vipps/client.go",
		Old:    `"code_verifier": {verifier},`,
		New:    `"x": {verifier},`,
		Test:   "TestTabsMixedUp",
	},
	{
		Threat: "callback replayed, mixed up, ambiguous",
		Name:   "the nonce",
		File:   "internal/idtoken/idtoken.go",
		Old:    `return checkNonce(claims, want.Nonce)`,
		New:    `return nil`,
		Test:   "TestTabsMixedUp",
	},
	{
		Threat: "callback replayed, mixed up, ambiguous",
		Name:   "an outcome is told again to the browser of the login",
		File:   "internal/login/attempts.go",
		Old:    `if attempt != nil && l.InCookie && attempt.fingerprint`,
		New:    `if attempt != nil && attempt.fingerprint`,
		Test:   "TestOutcomeIsToldAgain",
	},
	{
		Threat: "callback replayed, mixed up, ambiguous",
		Name:   "and for the same callback",
		File:   "internal/login/attempts.go",
		Old:    `attempt.fingerprint == fingerprint && `,
		New:    ``,
		Test:   "TestOutcomeIsToldAgain",
	},
	{
		Threat: "callback replayed, mixed up, ambiguous",
		Name:   "repeated parameters are refused",
		File:   "internal/incoming/request.go",
		Old:    `if _, twice := values[name]; twice || err != nil`,
		New:    `if err != nil`,
		Test:   "TestCallbackRefused",
	},
	{
		Threat: "callback replayed, mixed up, ambiguous",
		Name:   "a code and an error are refused",
		File:   "handler_callback.go",
		Old:    `|| (answer.code == "") == (answer.errorCode == "") {`,
		New:    `|| answer.code == "" && answer.errorCode == "" {`,
		Test:   "FuzzCallback",
	},
	{
		Threat: "state in a map that one attacker fills",
		Name:   "started logins take no storage",
		File:   "handler_auth.go",
		Old: `	h.recordStart(v, flowBrowser)
`,
		New: `	_ = h.app.storage.Write(r.Context(), "vipps_login/started/"+l.ID, []byte("1"))
	h.recordStart(v, flowBrowser)
`,
		Test: "TestNobodyFillsUpTheState",
	},
	{
		Threat: "state in a map that one attacker fills",
		Name:   "spent logins are bounded",
		File:   "internal/login/attempts.go",
		Old: `	if s.cache.ItemCount() >= maxSpent {
		s.cache.DeleteExpired()`,
		New: `	if false {
		s.cache.DeleteExpired()`,
		Test: "TestSpentLogins",
	},
	{
		Threat: "state in a map that one attacker fills",
		Name:   "logins take no memory",
		File:   "internal/login/attempts.go",
		Old: `func (s *Spent) Begin(l *Login, fingerprint [sha256.Size]byte) (attempt *Attempt, first bool, err error) {
`,
		New: `var everything [][]byte

func (s *Spent) Begin(l *Login, fingerprint [sha256.Size]byte) (attempt *Attempt, first bool, err error) {
	everything = append(everything, make([]byte, 8<<10))
`,
		Test: "TestNothingPilesUp",
	},
}
