package defences

// life are the defences of a config, of logs, and of logins under load.
var life = []Defence{
	{
		Threat: "config fails open",
		Name:   "an empty secret is a mistake",
		File:   "placeholders.go",
		Old:    `		return "", errors.New("it is empty: set it")`,
		New:    `		return "", nil`,
		Test:   "TestBadJSON",
	},
	{
		Threat: "config fails open",
		Name:   "an unset variable is a mistake",
		File:   "placeholders.go",
		Old:    `resolved, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)`,
		New:    `resolved, err := caddy.NewReplacer().ReplaceAll(value, "x"), error(nil)`,
		Test:   "TestBadCaddyfiles",
	},
	{
		Threat: "config fails open",
		Name:   "no argument is accepted in silence",
		File:   "caddyfile_blocks.go",
		Old:    `if !d.AllArgs(value) || *value == "" {`,
		New:    `if !d.Args(value) {`,
		Test:   "TestSubdirectivesAreParsedStrictly",
	},
	{
		Threat: "tokens shown",
		Name:   "in no log: the callback is not in the access log",
		File:   "module.go",
		Old:    `caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)`,
		New:    `_ = caddyhttp.LogSkipVar`,
		Test:   "TestCodeNeverLogged",
	},
	{
		Threat: "tokens shown",
		Name:   "in no log: an error of a callback is not Caddy's to log",
		File:   "failures.go",
		Old: `path != h.paths.callback && path != h.paths.phoneCallback {
		return handlerError`,
		New: `path != "" {
		return handlerError`,
		Test: "TestCodeNeverLogged",
	},
	{
		Threat: "tokens shown",
		Name:   "in no log: of claims the sub alone",
		File:   "outcomes.go",
		Old:    `	if s.ID != "" { // a till`,
		New: `	for _, c := range s.Claims {
		fields = append(fields, zap.String(c.Name, c.Text))
	}
	if s.ID != "" { // a till`,
		Test: "TestNothingPersonalInTheLog",
	},
	{
		Threat: "tokens shown",
		Name:   "in no log: of an answer's text the error code alone",
		File:   "internal/vipps/answers.go",
		Old:    `		if IsErrorCode(code) {`,
		New:    `		if code != "" {`,
		Test:   "TestProviderFaultsAtEveryCall",
	},
	{
		Threat: "tokens shown",
		Name:   "in no log: every test looks at its log",
		File:   "handler_callback.go",
		Old:    `	l, err := h.findLogin(`,
		New: `	h.logger.Debug("callback " + answer.code)
	l, err := h.findLogin(`,
		Test: "TestLogsAreLookedAt",
	},
	{
		Threat: "tokens shown",
		Name:   "in no metric: labels are fixed words",
		File:   "app.go",
		Old:    `if a.perMerchant && v.unit != nil && v.msn == v.unit.MSN {`,
		New:    `if v.unit != nil {`,
		Test:   "TestMetrics",
	},
	{
		Threat: "a log that anybody fills",
		Name:   "a limit for each client",
		File:   "outcomes.go",
		Old:    `.Allow()`,
		New:    `.Limit() > 0`,
		Test:   "TestLogIsNotFilled",
	},
	{
		Threat: "logins lost under load",
		Name:   "what all need is fetched once",
		File:   "internal/vipps/cached.go",
		Old:    `k.flight.DoChan(k.name,`,
		New:    `k.flight.DoChan(time.Now().String(),`,
		Test:   "TestFiveHundredLoginsAtOnce",
	},
	{
		Threat: "logins lost under load",
		Name:   "it outlives a config",
		File:   "partnerclient.go",
		Old:    `	return hex.EncodeToString(sum[:])`,
		New:    `	return hex.EncodeToString(sum[:]) + string(seal.RandomBytes(8))`,
		Test:   "TestLoginsDuringReloads",
	},
	{
		Threat: "logins lost under load",
		Name:   "a login's state is in the browser, and opens at every instance",
		File:   "internal/seal/seal.go",
		Old: `// deriveKey derives the key for one purpose from a secret (HKDF, RFC 5869).
func deriveKey(environment, secret, purpose string) ([]byte, error) {
`,
		New: `var ofThisProcess = string(RandomBytes(8))

func deriveKey(environment, secret, purpose string) ([]byte, error) {
	secret += ofThisProcess
`,
		Test: "TestKilledDuringALogin",
	},
	{
		Threat: "logins lost under load",
		Name:   "sessions need no Vipps MobilePay",
		File:   "visit.go",
		Old:    `	return v, h.openVisit(r, v)`,
		New: `	if _, err = h.app.shared.client.Discovery.Get(r.Context()); err != nil {
		return v, err
	}
	return v, h.openVisit(r, v)`,
		Test: "TestVippsDown",
	},
	{
		Threat: "logins lost under load",
		Name:   "a clock may be off, by a minute",
		File:   "internal/idtoken/idtoken.go",
		Old:    `Leeway  = 60 * time.Second`,
		New:    `Leeway  = 0 * time.Second`,
		Test:   "TestClockOffByMinutes",
	},
	{
		Threat: "logins lost under load",
		Name:   "and by no more",
		File:   "internal/idtoken/idtoken.go",
		Old:    `Leeway  = 60 * time.Second`,
		New:    `Leeway  = 3 * time.Hour`,
		Test:   "TestClockOffByMinutes",
	},
}
