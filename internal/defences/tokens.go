package defences

// tokens are the defences of ID tokens and their keys.
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
		Threat: "algorithm confusion, keys from the header",
		Name:   "another key stands in for one of its type alone",
		File:   "internal/vipps/keyset.go",
		Old:    `keyType(key.public) == s.types[kid] && `,
		New:    ``,
		Test:   "TestIDTokenRefused",
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
