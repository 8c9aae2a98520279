package defences

var state = []Defence{
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
		Threat: "cookie parsing",
		Name:   "at most three chunks, and no more than there are",
		File:   "internal/session/session.go",
		Old:    `n < 1 || n > cookie.MaxChunks || n > len(values)`,
		New:    `n < 1`,
		Test:   "FuzzOpenSession",
	},
	{
		Threat: "cookie parsing",
		Name:   "what an earlier, longer session left is no part of this one",
		File:   "internal/session/session.go",
		Old:    `return values[0][1:], true`,
		New:    `return strings.Join(values, "")[1:], true`,
		Test:   "TestHeapsOfCookies",
	},
	{
		Threat: "cookie parsing",
		Name:   "a chunk's name says which one it is",
		File:   "internal/cookie/cookie.go",
		Old: `			if name[len(prefix):] == chunkEndings[i] && values[i] == "" {
				values[i], any = value, true
			}`,
		New: `			if values[i] == "" {
				values[i], any = value, true
				break
			}`,
		Test: "TestMixedChunks",
	},
	{
		Threat: "cookie parsing",
		Name:   "our cookies are known, however they are spelt",
		File:   "internal/cookie/cookie.go",
		Old:    `case IsOwn(strings.TrimSpace(name)):`,
		New:    `case IsOwn(name + "="):`,
		Test:   "FuzzCookies",
	},
	{
		Threat: "cookie cryptography",
		Name:   "an opened session is for its host",
		File:   "internal/session/opened.go",
		Old:    `k.host == host && `,
		New:    ``,
		Test:   "TestOpenedSession",
	},
	{
		Threat: "cookie cryptography",
		Name:   "an opened session is for its merchant",
		File:   "internal/session/opened.go",
		Old:    ` && k.msn == msn`,
		New:    ``,
		Test:   "TestOpenedSession",
	},
	{
		Threat: "cookie cryptography",
		Name:   "an opened session is for its keys",
		File:   "internal/session/opened.go",
		Old:    ` && k.key == key`,
		New:    ` && key != nil`,
		Test:   "TestOpenedSession",
	},
	{
		Threat: "cookie cryptography",
		Name:   "what was altered does not open",
		File:   "internal/seal/seal.go",
		Old: `	return cipher.NewGCMWithRandomNonce(block)
}
`,
		New: `	return encryptedOnly{block}, nil
}

type encryptedOnly struct{ cipher.Block }

func (encryptedOnly) NonceSize() int { return 0 }
func (encryptedOnly) Overhead() int  { return 28 }

func (e encryptedOnly) Seal(_, _, plain, _ []byte) []byte {
	sealed := RandomBytes(28 + len(plain))
	cipher.NewCTR(e, sealed[:16]).XORKeyStream(sealed[28:], plain)
	return sealed
}

func (e encryptedOnly) Open(_, _, sealed, _ []byte) ([]byte, error) {
	if len(sealed) < 28 {
		return nil, aes.KeySizeError(0)
	}
	plain := make([]byte, len(sealed)-28)
	cipher.NewCTR(e, sealed[:16]).XORKeyStream(plain, sealed[28:])
	return plain, nil
}
`,
		Test: "TestEveryByteCounts",
	},
	{
		Threat: "cookie cryptography",
		Name:   "each value has one spelling",
		File:   "internal/login/login.go",
		Old:    `sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)`,
		New:    `sealed, err := base64.RawURLEncoding.DecodeString(value)`,
		Test:   "TestEveryByteOfEveryCookieCounts",
	},
	{
		Threat: "cookie cryptography",
		Name:   "random nonces",
		File:   "internal/seal/seal.go",
		Old: `	return cipher.NewGCMWithRandomNonce(block)
}
`,
		New: `	gcm, err := cipher.NewGCM(block)
	return oneNonce{gcm}, err
}

type oneNonce struct{ cipher.AEAD }

func (o oneNonce) Seal(_, _, plain, context []byte) []byte {
	return o.AEAD.Seal(make([]byte, 12), make([]byte, 12), plain, context)
}

func (o oneNonce) Open(dst, _, sealed, context []byte) ([]byte, error) {
	return o.AEAD.Open(nil, make([]byte, 12), sealed[min(12, len(sealed)):], context)
}
`,
		Test: "TestOnePurposeIsNoOther",
	},
	{
		Threat: "cookie cryptography",
		Name:   "keys of 256 bits",
		File:   "internal/seal/seal.go",
		Old:    `+purpose+" v1", 32)`,
		New:    `+purpose+" v1", 16)`,
		Test:   "TestOnePurposeIsNoOther",
	},
	{
		Threat: "cookie cryptography",
		Name:   "a key for each purpose",
		File:   "internal/seal/seal.go",
		Old:    `"github.com/caddy-vipps/vippslogin "+purpose+" v1"`,
		New:    `"github.com/caddy-vipps/vippslogin v1"`,
		Test:   "TestOnePurposeIsNoOther",
	},
	{
		Threat: "cookie cryptography",
		Name:   "a key for each environment",
		File:   "internal/seal/seal.go",
		Old:    `[]byte(secret), []byte(environment), "github.com`,
		New:    `[]byte(secret), nil, "github.com`,
		Test:   "TestSessionBelongsToEnvironment",
	},
	{
		Threat: "cookie cryptography",
		Name:   "host and MSN are associated data",
		File:   "internal/seal/seal.go",
		Old: `func Context(parts ...string) []byte {
`,
		New: `func Context(parts ...string) []byte {
	parts = parts[:0]
`,
		Test: "TestSessionBelongsToHostAndMerchant",
	},
	{
		Threat: "cookie cryptography",
		Name:   "associated data are joined with separators",
		File:   "internal/seal/seal.go",
		Old:    `append(append(context, part...), 0)`,
		New:    `append(context, part...)`,
		Test:   "TestOnePurposeIsNoOther",
	},
	{
		Threat: "logout that does not",
		Name:   "a revoked user is counted before it is in the list",
		File:   "internal/revocation/ended.go",
		Old: `		e.persons.Add(1) // first: it may be deleted at once, and must not be counted as another then
		if !e.people.add(personKey(entry.MSN, entry.Sub), m, mark.with) {
			e.persons.Add(-1)
		}`,
		New: `		if e.people.add(personKey(entry.MSN, entry.Sub), m, mark.with) {
			e.persons.Add(1)
		}`,
		Test: "TestRevokedWhileOthersExpire",
	},
	{
		Threat: "logout that does not",
		Name:   "a list of ended sessions",
		File:   "visit.go",
		Old:    `case h.app.shared.revocations.Now.Has(s, v.msn):`,
		New:    `case false:`,
		Test:   "TestLogoutEndsCopies",
	},
	{
		Threat: "logout that does not",
		Name:   "every instance writes its part",
		File:   "internal/revocation/add.go",
		Old:    `	if err := at.append(ctx, entries); err != nil {`,
		New:    `	if err := at.append(ctx, nil); err != nil {`,
		Test:   "TestRevocationsInACluster",
	},
	{
		Threat: "logout that does not",
		Name:   "every instance reads the others' parts",
		File:   "background.go",
		Old:    `	return a.shared.revocations.Follow(ctx, at, revocation.RefreshEvery)`,
		New: `	pause(ctx, revocation.RefreshEvery)
	return a.shared.revocations.Loaded(ctx, at)`,
		Test: "TestRevocationsInACluster",
	},
	{
		Threat: "logout that does not",
		Name:   "what could not be written is tried again",
		File:   "background.go",
		Old:    `	return a.shared.revocations.Flush(ctx, at)`,
		New:    `	return nil`,
		Test:   "TestReloadWhileStorageIsAway",
	},
	{
		Threat: "logout that does not",
		Name:   "no session opens before the list was read",
		File:   "internal/revocation/list.go",
		Old: `	if err := r.catchUpOnce(ctx, at, true); !r.IsLoaded() {
		return err
	}`,
		New:  `	_ = r.catchUpOnce(ctx, at, true)`,
		Test: "TestRevocationsWhileStorageIsAway",
	},
	{
		Threat: "a storage module that takes every failure for an absence",
		Name:   "what is always there is looked for",
		File:   "internal/store/prove.go",
		Old: `	if err := s.prove(ctx); err != nil {
		return nil, err
	}
`,
		New:  ``,
		Test: "TestAbsenceIsProven",
	},
	{
		Threat: "a storage module that takes every failure for an absence",
		Name:   "after that, the name is looked for again",
		File:   "internal/store/prove.go",
		Old: `	stored, err = s.Load(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, state.ErrNotFound`,
		New: `	if errors.Is(err, fs.ErrNotExist) {
		return nil, state.ErrNotFound`,
		Test: "TestAbsenceIsProven",
	},
	{
		Threat: "a storage module that takes every failure for an absence",
		Name:   "a list has what is always there",
		File:   "internal/store/prove.go",
		Old:    `case err == nil && slices.Contains(names, mark):`,
		New:    `case err == nil:`,
		Test:   "TestStorageThatLies",
	},
	{
		Threat: "a storage module that takes every failure for an absence",
		Name:   "a part that is listed is read",
		File:   "internal/store/prove.go",
		Old:    `if slices.Contains(names, file) {`,
		New:    `if false && slices.Contains(names, file) {`,
		Test:   "TestListedPartsThatAreGone",
	},
	{
		Threat: "a storage that has lost what was stored",
		Name:   "ended sessions are stored again",
		File:   "internal/revocation/list.go",
		Old:    `	entries, err := r.restore(ctx, at)`,
		New:    `	entries, err := 2, error(nil)`,
		Test:   "TestLostStorage",
	},
	{
		Threat: "locks that do not exclude, or never come",
		Name:   "a lock of the process comes first",
		File:   "internal/store/lock.go",
		Old:    `	release, err := inProcess.lock(lockCtx, name)`,
		New:    `	release, err := func() {}, error(nil)`,
		Test:   "TestLockThatDoesNotExclude",
	},
	{
		Threat: "locks that do not exclude, or never come",
		Name:   "nobody waits longer than they want to",
		File:   "internal/store/lock.go",
		Old:    `err = lockBounded(lockCtx, s.storage, name)`,
		New:    `err = lockStorage(lockCtx, s.storage, name)`,
		Test:   "TestLockThatHangs",
	},
	{
		Threat: "locks that do not exclude, or never come",
		Name:   "a storage whose locks are unfit is not used for what needs them",
		File:   "internal/store/examine.go",
		Old: `	if problem != "" {
		s.unfit`,
		New: `	if false {
		s.unfit`,
		Test: "TestExamine",
	},
	{
		Threat: "an undecodable cookie as an error for ever",
		Name:   "no session, and no error",
		File:   "visit.go",
		Old: `		results.unreadable.Inc()
`,
		New: `		results.unreadable.Inc()
		return errNoLogin
`,
		Test: "TestSecretRotation",
	},
	{
		Threat: "an undecodable cookie as an error for ever",
		Name:   "cleared",
		File:   "visit.go",
		Old:    `	if v.invalid && time.Since(v.began) < atOnce {`,
		New:    `	if false && time.Since(v.began) < atOnce {`,
		Test:   "TestSecretRotation",
	},
	{
		Threat: "an undecodable cookie as an error for ever",
		Name:   "a secret that is withdrawn opens nothing",
		File:   "internal/seal/seal.go",
		Old: `func NewKeys(environment string, secrets []string) (*Keys, error) {
`,
		New: `var everConfigured []string

func NewKeys(environment string, secrets []string) (*Keys, error) {
	secrets = append(secrets[:len(secrets):len(secrets)], everConfigured...)
	everConfigured = secrets
`,
		Test: "TestWithdrawnSecret",
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
	{
		Threat: "locked out by one's own cookies",
		Name:   "10 KiB for a session",
		File:   "internal/cookie/cookie.go",
		Old:    `MaxChunkBytes = 3380`,
		New:    `MaxChunkBytes = 5000`,
		Test:   "TestLargeSessions",
	},
	{
		Threat: "locked out by one's own cookies",
		Name:   "five logins in progress",
		File:   "internal/login/login.go",
		Old:    `if i >= cookie.MaxLogins-1 || room < 0`,
		New:    `if i >= 50 || room < 0`,
		Test:   "TestTabs",
	},
	{
		Threat: "locked out by one's own cookies",
		Name:   "4 KiB for logins in progress",
		File:   "internal/login/login.go",
		Old:    `if i >= cookie.MaxLogins-1 || room < 0`,
		New:    `if i >= cookie.MaxLogins-1 || room < -cookie.MaxLoginBytes`,
		Test:   "TestLoginCookiesFit",
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
		Threat: "a session of a login that nobody confirmed in the app",
		Name:   "the session remembers whether it was",
		File:   "visit.go",
		Old:    `case h.RequireAppConfirmation && !s.InApp:`,
		New:    `case false:`,
		Test:   "TestAppConfirmation",
	},
	{
		Threat: "session fixation, login CSRF",
		Name:   "no image or frame completes a login",
		File:   "handler_callback.go",
		Old:    `if incoming.IsPartOfPage(r) {`,
		New:    `if false {`,
		Test:   "TestNoImageCompletesALogin",
	},
}
