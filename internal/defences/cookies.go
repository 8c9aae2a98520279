package defences

// cookies are the defences of our cookies.
var cookies = []Defence{
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
		Name:   "an opened session is a copy for each request",
		File:   "internal/session/opened.go",
		Old: `		s := kept.session
		return &s, true`,
		New:  `		return &kept.session, true`,
		Test: "TestOpenedSessionIsNotShared",
	},
	{
		Threat: "cookie cryptography",
		Name:   "no request writes into the claims of an opened session",
		File:   "internal/session/opened.go",
		Old:    `slices.Clip(s.Claims)`,
		New:    `append(slices.Grow(s.Claims, 1), s.Claims[:0]...)`,
		Test:   "TestOpenedSessionIsNotShared",
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
		Threat: "a session of a login that nobody confirmed in the app",
		Name:   "the session remembers whether it was",
		File:   "visit.go",
		Old:    `case h.RequireAppConfirmation && !s.InApp:`,
		New:    `case false:`,
		Test:   "TestAppConfirmation",
	},
}
