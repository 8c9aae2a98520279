package defences

// phones are the defences of logins from a phone number.
var phones = []Defence{
	{
		Threat: "brute force and push fatigue",
		Name:   "a key, the whole of it",
		File:   "handler_phone.go",
		Old: `	valid := 0
`,
		New: `	valid := 0
	given = hashes[0]
`,
		Test: "TestPhoneRefused",
	},
	{
		Threat: "brute force and push fatigue",
		Name:   "the key comes first",
		File:   "handler_phone.go",
		Old:    `	if !h.validAPIKey(r) {`,
		New:    `	if slices.Contains(methods, r.Method) && !incoming.IsCrossOrigin(r, v.Origin) && !h.validAPIKey(r) {`,
		Test:   "TestPhoneRefused",
	},
	{
		Threat: "brute force and push fatigue",
		Name:   "keys of 32 characters",
		File:   "placeholders.go",
		Old:    `if len(key) < minAPIKey {`,
		New:    `if false {`,
		Test:   "TestBadCaddyfiles",
	},
	{
		Threat: "brute force and push fatigue",
		Name:   "5 requests in 10 minutes",
		File:   "internal/phone/store.go",
		Old:    `name, maxAsked, askedWindow)`,
		New:    `name, maxAsked+1, askedWindow)`,
		Test:   "TestPhoneAskedTooOften",
	},
	{
		Threat: "brute force and push fatigue",
		Name:   "whoever asks",
		File:   "internal/phone/desk.go",
		Old:    `ask(ctx, request.LoginHint)`,
		New:    `ask(ctx, d.MSN+request.LoginHint)`,
		Test:   "TestPhoneAskedTooOften",
	},
	{
		Threat: "brute force and push fatigue",
		Name:   "however it spells the number",
		File:   "handler_phone_input.go",
		Old:    `return "urn:msisdn:" + msisdn, msisdn, nil`,
		New:    `return "urn:msisdn:" + in.PhoneNumber, msisdn, nil`,
		Test:   "TestPhoneAskedTooOften",
	},
	{
		Threat: "brute force and push fatigue",
		Name:   "the key comes before the host",
		File:   "failures.go",
		Old:    `if path != h.paths.webhook && !h.validAPIKey(r) {`,
		New:    `if false {`,
		Test:   "TestPhoneKeyComesFirst",
	},
	{
		Threat: "somebody else's phone login",
		Name:   "bound to auth_req_id",
		File:   "internal/phone/poll.go",
		Old:    `if authReqID != "" && authReqID != l.AuthReqID {`,
		New:    `if false {`,
		Test:   "TestPhoneEnds/another request's token",
	},
	{
		Threat: "somebody else's phone login",
		Name:   "bound to auth_req_id, in a browser",
		File:   "internal/phone/desk.go",
		Old: `	if authReqID == "" {
		return nil, ErrUnknown
	}
	msn, id, err := d.find(ctx, authReqID)
	if err != nil {
		return nil, err
	}`,
		New: `	msn, id, err := d.find(ctx, authReqID)
	if err != nil {
		var last *Login
		for id := range d.Memory.pending.Items() {
			if l, err := d.load(ctx, id, d.MSN); err == nil && (last == nil || l.Started.After(last.Started)) {
				last = l
			}
		}
		return last, nil
	}`,
		Test: "TestPhoneBrowserStrangers",
	},
	{
		Threat: "somebody else's phone login",
		Name:   "bound to the MSN",
		File:   "internal/idtoken/idtoken.go",
		Old:    `if msn != want.MSN {`,
		New:    `if false {`,
		Test:   "TestPhoneEnds/another merchant's token",
	},
	{
		Threat: "somebody else's phone login",
		Name:   "bound to the number asked",
		File:   "internal/phone/poll.go",
		Old:    `err != nil || answered != l.MSISDN {`,
		New:    `err != nil || answered == "" {`,
		Test:   "TestPhoneEnds/another number",
	},
	{
		Threat: "somebody else's phone login",
		Name:   "a login of a till does not end in a browser",
		File:   "internal/phone/desk.go",
		Old:    `l.AuthReqID != authReqID || l.Finish != FinishBrowser || `,
		New:    `l.AuthReqID != authReqID || `,
		Test:   "TestBrowserCannotEndATillsLogin",
	},
	{
		Threat: "somebody else's phone login",
		Name:   "spent once",
		File:   "internal/phone/login.go",
		Old:    `	l.Status, l.Error, l.Tokens = status, reason, nil`,
		New:    `	l.Error, l.Tokens = reason, nil`,
		Test:   "TestPhoneSpentOnce",
	},
	{
		Threat: "somebody else's phone login",
		Name:   "userinfo of somebody else ends it",
		File:   "internal/phone/desk.go",
		Old:    `case errors.Is(failure, ErrOtherNumber), errors.Is(failure, idtoken.ErrSubMismatch):`,
		New:    `case false:`,
		Test:   "TestPhoneBrowserOfAnother",
	},
	{
		Threat: "somebody else's phone login",
		Name:   "no image or frame completes it",
		File:   "handler_callback.go",
		Old:    ` || incoming.IsPartOfPage(r)`,
		New:    ``,
		Test:   "TestPhoneBrowserOfAnother",
	},
	{
		Threat: "polling that ignores",
		Name:   "the interval",
		File:   "internal/phone/lease.go",
		Old:    `return l.polled() && now.Before(l.lastPoll()) && !now.Before(m.nextPoll(l, msn))`,
		New:    `return l.polled() && now.Before(l.lastPoll())`,
		Test:   "TestPhonePolling",
	},
	{
		Threat: "polling that ignores",
		Name:   "slow_down",
		File:   "internal/phone/poll.go",
		Old:    `		l.Interval += 5 * time.Second`,
		New:    `		_ = l.Interval`,
		Test:   "TestDeskSlowsDown",
	},
	{
		Threat: "polling that ignores",
		Name:   "429",
		File:   "internal/phone/poll.go",
		Old:    `max(l.Interval, vipps.PauseAfter(err))`,
		New:    `max(l.Interval, 0)`,
		Test:   "TestPhonePolling",
	},
	{
		Threat: "polling that ignores",
		Name:   "an exchange that succeeded is not tried again",
		File:   "internal/phone/poll.go",
		Old:    `errors.Is(err, vipps.ErrUnusable)) // the`,
		New:    `false) // the`,
		Test:   "TestPhoneExchangeSucceedsOnce",
	},
	{
		Threat: "polling that ignores",
		Name:   "one poll, whatever the number of instances",
		File:   "internal/phone/poll.go",
		Old:    `		l.NextPoll = d.Memory.takeLease(`,
		New:    `		_ = d.Memory.takeLease(`,
		Test:   "TestPhoneCluster",
	},
	{
		Threat: "polling that ignores",
		Name:   "a lease that another instance has taken is none",
		File:   "internal/phone/lease.go",
		Old:    `	return nextPoll.Equal(held.until) ||`,
		New:    `	return true ||`,
		Test:   "TestOneLease",
	},
	{
		Threat: "forged webhooks",
		Name:   "a signature",
		File:   "internal/vipps/pingsignature.go",
		Old: `	valid := false
`,
		New: `	valid := true
`,
		Test: "TestPing",
	},
	{
		Threat: "forged webhooks",
		Name:   "over path and query",
		File:   "internal/vipps/pingsignature.go",
		Old:    `"POST\n" + target + `,
		New:    `"POST\n" + r.URL.Path + `,
		Test:   "TestPing",
	},
	{
		Threat: "forged webhooks",
		Name:   "over the host",
		File:   "internal/vipps/pingsignature.go",
		Old:    `";" + host + ";"`,
		New:    `";" + strings.ToLower(host) + ";"`,
		Test:   "TestPing",
	},
	{
		Threat: "forged webhooks",
		Name:   "over the body",
		File:   "internal/vipps/pingsignature.go",
		Old: `	hash := base64.StdEncoding.EncodeToString(sum[:])
`,
		New: `	hash := base64.StdEncoding.EncodeToString(sum[:])
	hash = r.Header.Get("X-Ms-Content-Sha256")
`,
		Test: "TestPing",
	},
	{
		Threat: "forged webhooks",
		Name:   "nobody's signature is none",
		File:   "internal/vipps/pingsignature.go",
		Old: `	valid := false
`,
		New: `	valid := len(secrets) == 0
`,
		Test: "FuzzWebhookSignature",
	},
	{
		Threat: "forged webhooks",
		Name:   "the secret of a consent's URL",
		File:   "handler_webhook.go",
		Old:    `len(secret) != 1 || !matchesAny(secret[0], h.consentSecrets)`,
		New:    `len(secret) != 1`,
		Test:   "TestConsentRevoked",
	},
	{
		Threat: "forged webhooks",
		Name:   "one secret, not one of several",
		File:   "handler_webhook.go",
		Old:    `len(secret) != 1 || !matchesAny`,
		New:    `!matchesAny`,
		Test:   "TestConsentRevoked",
	},
	{
		Threat: "the phone number used as identity",
		Name:   "the id is the sub",
		File:   "internal/identity/identity.go",
		Old: `		return s.Sub()
`,
		New: `		number, _ := s.Claim("phone_number")
		return number
`,
		Test: "TestClaimsAsHeaders",
	},
	{
		Threat: "the phone number used as identity",
		Name:   "the log's user is the sub",
		File:   "internal/identity/identity.go",
		Old: `		return s.Sub()
`,
		New: `		name, _ := s.Claim("name")
		return name
`,
		Test: "TestAccessLog",
	},
}
