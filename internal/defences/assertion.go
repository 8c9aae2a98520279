package defences

var assertions = []Defence{
	{
		Threat: "a site that is reached past Caddy",
		Name:   "the client's own word is removed",
		File:   "internal/identity/identity.go",
		Old:    `		id.foldedBy[Fold(assertion)] = true`,
		New:    `		id.foldedBy["-"] = true`,
		Test:   "TestForeignAssertionField",
	},
	{
		Threat: "a site that is reached past Caddy",
		Name:   "never a request without it",
		File:   "module.go",
		Old: `	proof, err := h.assertionFor(r, v)
	if err != nil {
		return`,
		New: `	proof, err := h.assertionFor(r, v)
	if false {
		return`,
		Test: "TestAssertionWithoutKeys",
	},
	{
		Threat: "a site that is reached past Caddy",
		Name:   "for one site",
		File:   "internal/assertion/assertion.go",
		Old:    `"iss": about.Issuer, "aud": audience,`,
		New:    `"iss": about.Issuer, "aud": []string{audience, "http://shop-b.localhost"},`,
		Test:   "TestAssertedClaims",
	},
	{
		Threat: "a site that is reached past Caddy",
		Name:   "no claim says whose it is",
		File:   "internal/assertion/assertion.go",
		Old: `		claims[name] = value
`,
		New: `		if claims[name] == nil {
			claims[name] = value
		}
`,
		Test: "TestAssertedClaims",
	},
	{
		Threat: "a site that is reached past Caddy",
		Name:   "one session's is no other's",
		File:   "internal/assertion/assertion.go",
		Old:    `signedFor{about.Session, about.MSN, about.Issuer}`,
		New:    `signedFor{about.Sub, about.MSN, about.Issuer}`,
		Test:   "TestSignedOnce",
	},
	{
		Threat: "a site that is reached past Caddy",
		Name:   "a key of the merchant's own",
		File:   "internal/assertion/keys.go",
		Old:    `at.Keys.IndexNames("assertion", msn)`,
		New:    `at.Keys.IndexNames("assertion")`,
		Test:   "TestKeysOfMerchants",
	},
	{
		Threat: "keys that sign assertions",
		Name:   "bound to the MSN in storage",
		File:   "internal/assertion/keys.go",
		Old:    `[]byte { return seal.Context(sealedUnder+name, msn) }`,
		New:    `[]byte { return seal.Context() }`,
		Test:   "TestKeysOfMerchants",
	},
	{
		Threat: "keys that sign assertions",
		Name:   "made once, whoever is first",
		File:   "internal/assertion/keys.go",
		Old:    `return at.Shared.Add(ctx, name, sealed, state.ForEver)`,
		New:    `return true, at.Shared.Put(ctx, name, sealed, state.ForEver)`,
		Test:   "TestInstancesAtOnce",
	},
	{
		Threat: "keys that sign assertions",
		Name:   "the next one is published before it signs",
		File:   "internal/assertion/keys.go",
		Old:    `		if !k.From.After(now) {`,
		New:    `		if true {`,
		Test:   "TestRotation",
	},
	{
		Threat: "keys that sign assertions",
		Name:   "old ones for as long as what they signed",
		File:   "internal/assertion/keys.go",
		Old:    `now.Sub(keys[1].From) > MaxLifetime+publishedBefore`,
		New:    `now.Sub(keys[1].From) > 0`,
		Test:   "TestOldKeysAreServed",
	},
	{
		Threat: "keys that sign assertions",
		Name:   "stored again where storage has lost them",
		File:   "internal/assertion/keys.go",
		Old:    `keys == nil && known != nil {`,
		New:    `keys == nil && known != nil && false {`,
		Test:   "TestLostKeys",
	},
	{
		Threat: "keys that sign assertions",
		Name:   "what is known serves",
		File:   "internal/assertion/keys.go",
		Old: `	if known != nil {
		return newer(refreshed, known, now), nil
	}
	select {`,
		New:  `	select {`,
		Test: "TestStorageIsAway",
	},
}
