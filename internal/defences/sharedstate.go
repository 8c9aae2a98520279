package defences

// Shared state that is away, or that has lost what was stored.
var sharedState = []Defence{
	{
		Threat: "a storage that has lost what was stored",
		Name:   "sessions of an unknown past are not valid",
		File:   "internal/revocation/list.go",
		Old:    `	r.Now.setBegun(found.Begun, at.KeepSessions)`,
		New:    `	r.Now.setBegun(found.Begun, true)`,
		Test:   "TestUnknownPast",
	},
	{
		Threat: "a storage that has lost what was stored",
		Name:   "an instance that knows the past says so",
		File:   "internal/revocation/list.go",
		Old:    `	case known.Known():`,
		New:    `	case 1 < 0:`,
		Test:   "TestUnknownPast",
	},
	{
		Threat: "a storage module that takes every failure for an absence",
		Name:   "a storage that is away when Caddy starts is tried out later",
		File:   "background.go",
		Old: `		if err == nil || problem != "" {
			return
		}
		if !logged`,
		New: `		if true {
			return
		}
		if !logged`,
		Test: "TestExaminedOnceItAnswers",
	},
	{
		Threat: "a storage that has lost what was stored",
		Name:   "a state that is lost again while it is restored is restored again",
		File:   "internal/epoch/epoch.go",
		Old:    `	if err == nil && !current.Made.Equal(found.Made) {`,
		New:    `	if false {`,
		Test:   "TestLostTwice",
	},
	{
		Threat: "a storage that has lost what was stored",
		Name:   "a part that is shorter than it was has lost revocations",
		File:   "internal/store/feed_read.go",
		Old:    `		return nil, r.until > now.Unix()`,
		New:    `		return nil, false`,
		Test:   "TestStorageFromABackup",
	},
	{
		Threat: "a storage that has lost what was stored",
		Name:   "a state that has lost some may have lost completed logins",
		File:   "internal/revocation/list.go",
		Old:    `	case known.Is(found) && r.missing > 0:`,
		New:    `	case false:`,
		Test:   "TestFailoverAndCompletedLogins",
	},
	{
		Threat: "a storage that has lost what was stored",
		Name:   "a reload with other keys forgets no revocation that is not stored",
		File:   "partnerclient.go",
		Old:    `			next.revocations.Adopt(s.revocations)`,
		New:    `			_ = next`,
		Test:   "TestReloadWithOtherKeys",
	},
	{
		Threat: "a storage that has lost what was stored",
		Name:   "after_state_loss counts from a reload on",
		File:   "internal/revocation/list.go",
		Old:    `		r.Now.setBegun(r.now.Begun, at.KeepSessions)`,
		New:    `		_ = 0`,
		Test:   "TestReloadChangesWhatBecomesOfSessions",
	},
	{
		Threat: "a storage that has lost what was stored",
		Name:   "a revocation that does not come back from the feed is stored again",
		File:   "internal/revocation/add.go",
		Old:    `	r.unread[entry] = time.Now().Add(readWithin)`,
		New:    `	_ = readWithin`,
		Test:   "TestRevocationLostBeforeItWasRead",
	},
	{
		Threat: "a storage that has lost what was stored",
		Name:   "a login from before may have been completed",
		File:   "internal/login/redeemed.go",
		Old:    `	if err == nil && started.Before(`,
		New:    `	if false && started.Before(`,
		Test:   "TestRedeemAfterLoss",
	},
	{
		Threat: "the outcome of a phone login, which is given once, lost in an outage",
		Name:   "it is kept until it is stored",
		File:   "internal/phone/unstored.go",
		Old:    `		go d.storeLater(key, found.ID)`,
		New:    `		_ = d.storeLater`,
		Test:   "TestOutcomeDuringOutage",
	},
	{
		Threat: "the outcome of a phone login, which is given once, lost in an outage",
		Name:   "the phone's browser is not told that its code failed",
		File:   "internal/phone/desk.go",
		Old:    `	written, taken, err := d.writeDown(ctx, &done)`,
		New: `	written, err := d.update(ctx, done.ID, d.MSN, func(l *Login) (bool, error) { return d.merge(l, &done), nil })
	taken := err == nil`,
		Test: "TestCodeDuringOutage",
	},
	{
		Threat: "the outcome of a phone login, which is given once, lost in an outage",
		Name:   "a reload goes on with it",
		File:   "internal/phone/unstored.go",
		Old:    `		if newest := d.Memory.newest.Load(); newest != nil {`,
		New:    `		if newest := d.Memory.newest.Load(); false {`,
		Test:   "TestOutcomeOverReload",
	},
	{
		Threat: "somebody else on the network or on the Redis server",
		Name:   "a server of another CA gets no password",
		File:   "redis/settings.go",
		Old:    `	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.Server}`,
		New:    `	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.Server, InsecureSkipVerify: true}`,
		Test:   "TestRedisExampleImpostor",
	},
	{
		Threat: "a storage that has lost what was stored",
		Name:   "the secret of those who know the past counts",
		File:   "background.go",
		Old:    `		Older:   func() { a.settleSecret(ctx, a.adoptSecret) },`,
		New:    `		Older:   func() { _ = a.adoptSecret },`,
		Test:   "TestRedisRestartedEmpty",
	},
	{
		Threat: "a storage that has lost what was stored",
		Name:   "revocations that Redis has deleted are missed",
		File:   "redis/feed.go",
		Old:    `		if len(found) == 0 {`,
		New:    `		if len(found) < 0 {`,
		Test:   "TestRedisEvicts",
	},
	{
		Threat: "a storage that has lost what was stored",
		Name:   "with another secret, all is read again first",
		File:   "internal/revocation/list.go",
		Old:    `			return nil // what it changes`,
		New:    `			// what it changes`,
		Test:   "TestRedisRestartedEmpty",
	},
}
