package defences

var tokens = []Defence{
	{
		Threat: "token meant for another",
		Name:   "the msn",
		File:   "internal/idtoken/idtoken.go",
		Old:    `if msn != want.MSN {`,
		New:    `if false {`,
		Test:   "TestIDTokenOfAnother",
	},
	{
		Threat: "token meant for another",
		Name:   "the audience, for own keys",
		File:   "internal/idtoken/idtoken.go",
		Old:    `if !slices.Contains(claims.Audience, clientID) {`,
		New:    `if !slices.Contains(claims.Audience, clientID) && false {`,
		Test:   "TestIDTokenRefused",
	},
	{
		Threat: "token meant for another",
		Name:   "own keys are what the audience is compared with",
		File:   "idtoken.go",
		Old:    `client.Issuer(), v.msn, v.unit.ClientID, got.AccessToken`,
		New:    `client.Issuer(), v.msn, "", got.AccessToken`,
		Test:   "TestOwnKeys",
	},
	{
		Threat: "token meant for another",
		Name:   "the authorized party, for own keys",
		File:   "internal/idtoken/idtoken.go",
		Old:    `if claims.AZP != "" && claims.AZP != clientID {`,
		New:    `if false {`,
		Test:   "TestIDTokenRefused",
	},
	{
		Threat: "token meant for another",
		Name:   "the nonce",
		File:   "internal/idtoken/idtoken.go",
		Old:    `if nonce == "" || subtle.ConstantTimeCompare([]byte(claims.Nonce), []byte(nonce)) != 1 {`,
		New:    `if subtle.ConstantTimeCompare(nil, nil) != 1 {`,
		Test:   "TestIDTokenOfAnother",
	},
	{
		Threat: "token meant for another",
		Name:   "the hash of the access token",
		File:   "internal/idtoken/idtoken.go",
		Old:    `if subtle.ConstantTimeCompare([]byte(*claims.AtHash), []byte(want)) != 1 {`,
		New:    `if want == "" {`,
		Test:   "TestIDTokenOfAnother",
	},
	{
		Threat: "token meant for another",
		Name:   "the request of a login from a phone number",
		File:   "internal/phone/poll.go",
		Old:    `if authReqID != "" && authReqID != l.AuthReqID {`,
		New:    `if false {`,
		Test:   "TestPhoneEnds/another request's token",
	},
	{
		Threat: "token meant for another",
		Name:   "the issuer",
		File:   "internal/idtoken/idtoken.go",
		Old: `		jwt.WithIssuer(issuer),
`,
		New:  ``,
		Test: "TestIDTokenOfAnother",
	},
	{
		Threat: "algorithm confusion, keys from the header",
		Name:   "RS256 and ES256 alone",
		File:   "internal/idtoken/idtoken.go",
		Old: `		jwt.WithValidMethods(Algorithms),
`,
		New:  ``,
		Test: "TestIDTokenAlgorithmOfTheKey",
	},
	{
		Threat: "algorithm confusion, keys from the header",
		Name:   "a key without a name is none",
		File:   "internal/vipps/keyset.go",
		Old:    `|| marshalled.KID == "" || set.ids`,
		New:    `|| set.ids`,
		Test:   "TestKeySetsThatDoNotHelp",
	},
	{
		Threat: "algorithm confusion, keys from the header",
		Name:   "the key of that kid, and for its algorithm",
		File:   "internal/vipps/keyset.go",
		Old: `	others := set.others(kid, token.Method.Alg())
`,
		New: `	if true {
		return set.keys.VerificationKeySet(ctx)
	}
	others := set.others(kid, token.Method.Alg())
`,
		Test: "TestIDTokenRefused",
	},
	{
		Threat: "algorithm confusion, keys from the header",
		Name:   "no key from the header",
		File:   "internal/vipps/keyset.go",
		Old: `	kid, _ := token.Header["kid"].(string)
`,
		New: `	if own, ok := token.Header["jwk"].(map[string]any); ok {
		n, _ := own["n"].(string)
		e, _ := own["e"].(string)
		jwk, err := jwkset.NewJWKFromMarshal(jwkset.JWKMarshal{KTY: "RSA", N: n, E: e}, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		return jwk.Key(), err
	}
	kid, _ := token.Header["kid"].(string)
`,
		Test: "TestIDTokenBringsItsOwnKey",
	},
	{
		Threat: "algorithm confusion, keys from the header",
		Name:   "keys for signatures alone",
		File:   "internal/vipps/keyset.go",
		Old:    `, UseWhitelist: []jwkset.USE{jwkset.UseSig, ""}})`,
		New:    `})`,
		Test:   "FuzzIDToken",
	},
	{
		Threat: "algorithm confusion, keys from the header",
		Name:   "no extension of the header",
		File:   "internal/idtoken/idtoken.go",
		Old:    `; critical {`,
		New:    `; critical && false {`,
		Test:   "TestIDTokenAlgorithmOfTheKey",
	},
	{
		Threat: "claims of wrong types, twice, or in another spelling",
		Name:   "exact names",
		File:   "internal/idtoken/claims.go",
		Old:    `func (c *Claims) UnmarshalJSON(`,
		New:    `func (c *Claims) readExactly(`,
		Test:   "TestIDTokenDuplicateClaims",
	},
	{
		Threat: "claims of wrong types, twice, or in another spelling",
		Name:   "exact types",
		File:   "internal/idtoken/claims.go",
		Old: `			if json.Unmarshal(raw, to) != nil {
				return WrongTypeError{name}
			}`,
		New:  `			_ = json.Unmarshal(raw, to)`,
		Test: "TestIDTokenClaimTypes",
	},
	{
		Threat: "token bombs",
		Name:   "a limit before a token is taken apart",
		File:   "internal/idtoken/idtoken.go",
		Old:    `if len(raw) > maxSize {`,
		New:    `if len(raw) > 1<<30 {`,
		Test:   "TestIDTokenBombs",
	},
	{
		Threat: "token bombs",
		Name:   "a limit to what a session inflates to",
		File:   "internal/seal/pack.go",
		Old:    `io.LimitReader(flate.NewReader(bytes.NewReader(deflated)), MaxUnpacked+1)`,
		New:    `flate.NewReader(bytes.NewReader(deflated))`,
		Test:   "TestDecodeSessionTrustsNoLength",
	},
	{
		Threat: "nonce not checked; userinfo of somebody else",
		Name:   "the nonce",
		File:   "internal/idtoken/idtoken.go",
		Old:    `return checkNonce(claims, want.Nonce)`,
		New:    `return nil`,
		Test:   "TestRelyingParty",
	},
	{
		Threat: "nonce not checked; userinfo of somebody else",
		Name:   "userinfo's sub is compared",
		File:   "idtoken.go",
		Old: `	if err := idtoken.CheckSub(claims, sub); err != nil {
		return nil, err
	}
`,
		New: `	_ = sub
`,
		Test: "TestRelyingParty",
	},
	{
		Threat: "nonce not checked; userinfo of somebody else",
		Name:   "userinfo's sub is a text",
		File:   "internal/idtoken/idtoken.go",
		Old:    `c.Name == "sub" && (c.Kind == userinfo.KindText || c.Kind == userinfo.KindPlain) && c.Text == sub`,
		New:    `c.Name == "sub" && (c.Kind != userinfo.KindPlain || c.Text == sub)`,
		Test:   "TestUserinfoSub",
	},
	{
		Threat: "parser panics",
		Name:   "a session is as long as its format says",
		File:   "internal/session/session.go",
		Old:    `if len(plain) < atClaims || plain[0]`,
		New:    `if len(plain) > 0 && plain[0]`,
		Test:   "FuzzDecodeSession",
	},
	{
		Threat: "parser panics",
		Name:   "no length in a session is trusted",
		File:   "internal/session/session.go",
		Old:    `if !ok || n > uint64(len(s)) {`,
		New:    `if !ok {`,
		Test:   "FuzzDecodeSession",
	},
	{
		Threat: "parser panics",
		Name:   "a login is as long as its format says",
		File:   "internal/login/login.go",
		Old:    `if len(b) <= fixedBytes {`,
		New:    `if len(b) == 0 {`,
		Test:   "FuzzLogin",
	},
	{
		Threat: "parser panics",
		Name:   "types are asked for, not assumed",
		File:   "internal/vipps/keyset.go",
		Old:    `kid, _ := token.Header["kid"].(string)`,
		New:    `kid := token.Header["kid"].(string)`,
		Test:   "TestIDTokenRefused",
	},
	{
		Threat: "parser panics",
		Name:   "a consent's sub is one that can be",
		File:   "handler_webhook.go",
		Old:    `claims.Subject == "" || len(claims.Subject) > idtoken.MaxSub {`,
		New:    `len(claims.Subject) > idtoken.MaxSub {`,
		Test:   "FuzzConsentWebhook",
	},
	{
		Threat: "parser panics",
		Name:   "arguments of a Caddyfile are counted",
		File:   "caddyfile_blocks.go",
		Old: `	if len(args) < 2 {
		return d.Errf("merchant takes`,
		New: `	if len(args) > 1<<20 {
		return d.Errf("merchant takes`,
		Test: "FuzzCaddyfile",
	},
	{
		Threat: "broken, huge, slow or hostile answers",
		Name:   "a deadline for each call",
		File:   "internal/vipps/client.go",
		Old:    `CallTimeout = 10 * time.Second`,
		New:    `CallTimeout = 60 * time.Second`,
		Test:   "TestNoAnswerAtAnyCall",
	},
	{
		Threat: "broken, huge, slow or hostile answers",
		Name:   "a deadline that people wait for",
		File:   "internal/vipps/client.go",
		Old:    `CallTimeout = 10 * time.Second`,
		New:    `CallTimeout = 20 * time.Second`,
		Test:   "TestNoAnswer",
	},
	{
		Threat: "broken, huge, slow or hostile answers",
		Name:   "1 MiB",
		File:   "internal/vipps/client.go",
		Old:    `maxBody     = 1 << 20`,
		New:    `maxBody     = 4 << 20`,
		Test:   "TestProviderFaults",
	},
	{
		Threat: "broken, huge, slow or hostile answers",
		Name:   "the status is 200",
		File:   "internal/vipps/answers.go",
		Old:    `case !isSuccess(resp.StatusCode):`,
		New:    `case resp.StatusCode >= 400:`,
		Test:   "TestProviderFaultsAtEveryCall",
	},
	{
		Threat: "broken, huge, slow or hostile answers",
		Name:   "a token can stand in a header",
		File:   "internal/vipps/answers.go",
		Old:    `return s != "" && strings`,
		New:    `return s != "" || strings`,
		Test:   "TestProviderFaultsAtEveryCall",
	},
	{
		Threat: "broken, huge, slow or hostile answers",
		Name:   "no redirects",
		File:   "internal/vipps/client.go",
		Old:    `return http.ErrUseLastResponse }`,
		New:    `return nil }`,
		Test:   "TestRedirectsAreNotFollowed",
	},
	{
		Threat: "broken, huge, slow or hostile answers",
		Name:   "the issuer that was asked",
		File:   "internal/vipps/client.go",
		Old:    `if doc.Issuer != c.Issuer() {`,
		New:    `if false {`,
		Test:   "TestAnotherIssuer",
	},
	{
		Threat: "broken, huge, slow or hostile answers",
		Name:   "no endpoint that is less protected",
		File:   "internal/vipps/client.go",
		Old:    `if !c.mayCall(endpoint) {`,
		New:    `if endpoint == "" {`,
		Test:   "TestAnotherIssuer",
	},
	{
		Threat: "a failure kept, or keys kept for too long",
		Name:   "a set without keys is a failure, and is not kept",
		File:   "internal/vipps/keyset.go",
		Old:    `	if len(set.ids) == 0 {`,
		New:    `	if false {`,
		Test:   "TestKeySetWithoutKeys",
	},
	{
		Threat: "a failure kept, or keys kept for too long",
		Name:   "an unknown kid is asked for",
		File:   "internal/vipps/keyset.go",
		Old:    `if newer || !set.ids[kid] {`,
		New:    `if newer {`,
		Test:   "TestKeyRotation",
	},
	{
		Threat: "a failure kept, or keys kept for too long",
		Name:   "an unknown kid is asked for, all day",
		File:   "internal/vipps/keyset.go",
		Old:    `if newer || !set.ids[kid] {`,
		New:    `if newer {`,
		Test:   "TestADayOfLogins",
	},
	{
		Threat: "a failure kept, or keys kept for too long",
		Name:   "all who come at once share one fetch",
		File:   "internal/vipps/keyset.go",
		Old:    `c.KeySet.renewIf(ctx, since, allow)`,
		New: `func() (*keySet, error) {
			if _ = since; allow() {
				return c.KeySet.renew(ctx)
			}
			return set, nil
		}()`,
		Test: "TestKeyRotationUnderLoad",
	},
	{
		Threat: "algorithm confusion, keys from the header",
		Name:   "another key stands in for one of its type alone",
		File:   "internal/vipps/keyset.go",
		Old:    `keyType(key.public) == s.types[kid] && `,
		New:    ``,
		Test:   "TestIDTokenRefused",
	},
	{
		Threat: "a failure kept, or keys kept for too long",
		Name:   "not too often",
		File:   "internal/vipps/client.go",
		Old:    `rotations: rate.NewLimiter(rate.Every(10*time.Second), 1),`,
		New:    `rotations: rate.NewLimiter(rate.Inf, 1),`,
		Test:   "TestKeysBehindTheSignature",
	},
	{
		Threat: "a failure kept, or keys kept for too long",
		Name:   "the last good copy serves while there is no other",
		File:   "internal/vipps/cached.go",
		Old:    `if err != nil && ok && k.lasting {`,
		New:    `if false {`,
		Test:   "TestKeptLastGoodCopy",
	},
	{
		Threat: "a token answer without",
		Name:   "a minute",
		File:   "internal/vipps/partnertoken.go",
		Old:    `		return time.Minute`,
		New:    `		return 0`,
		Test:   "TestTokenLife",
	},
	{
		Threat: "expansion in data",
		Name:   "claims are data, in placeholders",
		File:   "placeholders.go",
		Old:    `return identity.Placeholder(v.session, name), true`,
		New: `text, _ := identity.Placeholder(v.session, name).(string)
		return incoming.Replacer(r).ReplaceAll(text, ""), true`,
		Test: "TestClaimsAsHeaders",
	},
	{
		Threat: "expansion in data",
		Name:   "claims are data, in headers",
		File:   "module.go",
		Old: `	h.identity.Present(r, v.session, v.msn, v.newLogin, proof)
`,
		New: `	h.identity.Present(r, v.session, v.msn, v.newLogin, proof)
	for field := range r.Header {
		r.Header.Set(field, incoming.Replacer(r).ReplaceAll(r.Header.Get(field), ""))
	}
`,
		Test: "TestClaimsAsHeaders",
	},
	{
		Threat: "expansion in data",
		Name:   "line breaks are none",
		File:   "internal/identity/encodings.go",
		Old:    `if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {`,
		New:    `if unicode.IsControl(r) && r != '\n' && r != '\r' {`,
		Test:   "FuzzUserinfo",
	},
	{
		Threat: "expansion in data",
		Name:   "blanks are an absent header",
		File:   "internal/identity/identity.go",
		Old:    `if strings.Trim(value, " ") != "" {`,
		New:    `if value != "" {`,
		Test:   "TestClaimsAsHeaders",
	},
	{
		Threat: "expansion in data",
		Name:   "a placeholder of no claim is empty",
		File:   "internal/identity/identity.go",
		Old: `			return encodeUTF8(c)
		}
	}
	return nil
`,
		New: `			return encodeUTF8(c)
		}
	}
	return "{" + name + "}"
`,
		Test: "TestClaimsAsHeaders",
	},
}
