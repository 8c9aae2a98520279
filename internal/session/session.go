package session

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// Session is the result of a login: who the user is at this merchant. It is stored in the browser's cookies only.
type Session struct {
	ID     string           // 12 random bytes, by which it can be revoked
	Issued time.Time        // when the login was completed
	Ends   time.Time        // when it expires, whatever lifetime is configured later
	Seen   time.Time        // when it was last used, for idle_timeout: at first the login, later by a cookie of its own
	InApp  bool             // the login was confirmed in the app
	Claims []userinfo.Claim // of userinfo, sorted by name; "sub" is always among them

	Scopes Scopes        // that this login, and earlier ones of the same user, have asked for
	Ahead  time.Duration // how much later than Issued the login began, by the clock of the instance where it did

	history string // see History
}

// New returns the session of a login.
func New(claims []userinfo.Claim, now time.Time, lifetime time.Duration) *Session {
	return &Session{ID: string(seal.RandomBytes(IDBytes)), Issued: now, Ends: now.Add(lifetime), Seen: now, Claims: claims}
}

// IDText returns the id as it is displayed: 16 characters of base64url.
func (s *Session) IDText() string { return base64.RawURLEncoding.EncodeToString([]byte(s.ID)) }

// Sub returns the user's identifier at this merchant, and only there.
func (s *Session) Sub() string {
	text, _ := s.Claim("sub")
	return text
}

// Claim returns the text of a claim: of an object or an array, its JSON.
func (s *Session) Claim(name string) (string, bool) {
	for i := range s.Claims {
		if s.Claims[i].Name == name {
			return s.Claims[i].Text, true
		}
	}
	return "", false
}

// Alive reports whether the session is neither expired nor idle for too long.
func (s *Session) Alive(now time.Time, lifetime, idleTimeout time.Duration) bool {
	return !s.Expired(now, lifetime) && !s.Idle(now, idleTimeout)
}

// Expired reports whether the session has expired, by the lifetime of its login or by a shorter one that is configured now. A
// session from the future is treated as expired.
func (s *Session) Expired(now time.Time, lifetime time.Duration) bool {
	age := now.Sub(s.Issued)
	return age >= lifetime || age < -ClockSkew || !now.Before(s.Ends)
}

// Idle reports whether the session was not used for longer than timeout. A timeout of 0 means none.
func (s *Session) Idle(now time.Time, timeout time.Duration) bool {
	return timeout > 0 && now.Sub(s.Seen) >= timeout
}

// MaxLifetime is the longest a session can last: browsers keep no cookie for longer (RFC 6265bis section
// 5.5).
const MaxLifetime = 400 * 24 * time.Hour

// ClockSkew is how far ahead the clock of the instance that sealed a session may be.
const ClockSkew = 10 * time.Minute

const (
	// formatWithLogins is FormatPlain with the scopes and history of logins before the claims. Of sessions in the older
	// FormatPlain no scopes are known: the next login remembers them.
	formatWithLogins = 3

	IDBytes   = 12
	atInApp   = 1  // 1 or 0
	atSession = 2  // id, and then
	atIssued  = 14 // issued, ends and seen, of 8 bytes each
	atCount   = 38 // of the claims, so that there is room for just as many
	atClaims  = 39

	// maxBytes limits a session before compression, to what an upstream can take in headers.
	maxBytes = seal.MaxUnpacked

	usualBytes = 2 << 10 // nearly all sessions have room in this
)

var errSessionFormat = errors.New("not a session")

// Seal returns the cookie values of s for one host and MSN. It leaves out claims that do not fit, the largest first, and
// returns their names.
func Seal(keys seal.Keyring, s *Session, host, msn string) (values, dropped []string) {
	claims := slices.Clone(s.Claims)
	for {
		values, ok := sealClaims(keys, s, claims, seal.Context(host, msn))
		if ok {
			return values, dropped
		}
		i := largestClaim(claims)
		dropped = append(dropped, claims[i].Name)
		claims = slices.Delete(claims, i, i+1)
	}
}

// largestClaim returns the index of the claim to leave out first. It is never "sub", which always fits: the ID token's check
// limits it.
func largestClaim(claims []userinfo.Claim) int {
	largest := -1
	for i, c := range claims {
		if c.Name != "sub" && (largest < 0 || c.Size() > claims[largest].Size()) {
			largest = i
		}
	}
	return largest
}

// sealClaims seals s with these claims, compressed where one cookie is not enough. It is false when
// they do not fit.
func sealClaims(keys seal.Keyring, s *Session, claims []userinfo.Claim, context []byte) ([]string, bool) {
	plain := encode(s, claims)
	if len(plain) > maxBytes {
		return nil, false
	}
	value := seal.Text(keys.Seal(plain, context))
	if len(value) >= cookie.MaxChunkBytes {
		value = seal.Text(keys.Seal(seal.Deflate(plain), context))
	}
	return splitChunks(value)
}

// splitChunks splits value into cookie values. The first begins with their number, so that chunks of an earlier, longer
// session are not taken for a part of this one.
func splitChunks(value string) ([]string, bool) {
	n := (len(value) + cookie.MaxChunkBytes) / cookie.MaxChunkBytes // one more byte: the number
	if n > cookie.MaxChunks {
		return nil, false
	}
	value = string(rune('0'+n)) + value
	values := make([]string, n)
	for i := range values {
		length := min(len(value), cookie.MaxChunkBytes)
		values[i], value = value[:length], value[length:]
	}
	return values, true
}

// joinChunks undoes splitChunks.
func joinChunks(values []string) (string, bool) {
	if len(values) == 0 || values[0] == "" {
		return "", false
	}
	n := int(values[0][0]) - '0'
	switch {
	case n == 1:
		return values[0][1:], true
	case n < 1 || n > cookie.MaxChunks || n > len(values):
		return "", false
	}
	return values[0][1:] + strings.Join(values[1:n], ""), true
}

// Open opens cookie values that Seal made for the same host and MSN. It is false for anything else, which is not an error:
// there is no session then.
func Open(keys seal.Keyring, values []string, host, msn string) (*Session, bool) {
	value, ok := joinChunks(values)
	if !ok {
		return nil, false
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil {
		return nil, false
	}
	plain, ok := keys.Open(sealed, seal.Context(host, msn))
	if !ok {
		return nil, false
	}
	s, err := decode(plain)
	return s, err == nil
}

// encode lays a session out as: format, InApp, id, issued, ends, seen (milliseconds since 1970), number
// of claims, what is known of the logins (appendLogins), then of each claim its kind, name and text, the strings with
// their lengths in front.
func encode(s *Session, claims []userinfo.Claim) []byte {
	b := append(make([]byte, 0, usualBytes), formatWithLogins, 0)
	if s.InApp {
		b[atInApp] = 1
	}
	b = append(b, s.ID...)
	for _, at := range []time.Time{s.Issued, s.Ends, s.Seen} {
		b = binary.BigEndian.AppendUint64(b, uint64(at.UnixMilli()))
	}
	b = append(b, byte(min(len(claims), 255)))
	b = appendString(b, string(appendLogins(nil, s)))
	for _, c := range claims {
		b = append(b, byte(c.Kind))
		b = appendString(b, c.Name)
		b = appendString(b, c.Text)
	}
	return b
}

// appendLogins appends what is known of the logins: scopes, Ahead in milliseconds, history. What a later version
// may append is ignored.
func appendLogins(b []byte, s *Session) []byte {
	b = AppendScopes(b, s.Scopes)
	b = binary.AppendUvarint(b, uint64(s.Ahead.Milliseconds()))
	return appendString(b, s.history)
}

// readLogins undoes appendLogins.
func (s *Session) readLogins(text string) (ok bool) {
	var ahead uint64
	if s.Scopes, text, ok = CutScopes(text); !ok {
		return false
	}
	if ahead, text, ok = cutNumber(text); !ok || ahead > uint64(MaxLifetime.Milliseconds()) {
		return false
	}
	s.Ahead = time.Duration(ahead) * time.Millisecond
	s.history, _, ok = cutString(text)
	return ok
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decode undoes encode. It reads what we sealed ourselves, and still trusts no length in it. The claims are slices of plain,
// which must not change afterwards.
func decode(plain []byte) (*Session, error) {
	if len(plain) > 0 && plain[0] == seal.FormatDeflated {
		var err error
		if plain, err = seal.Inflate(plain[1:]); err != nil {
			return nil, err
		}
	}
	if len(plain) < atClaims || plain[0] != seal.FormatPlain && plain[0] != formatWithLogins {
		return nil, errSessionFormat
	}
	// A copy would be a kilobyte for every request (BenchmarkOpenSession). Nothing else refers to plain.
	text := unsafe.String(unsafe.SliceData(plain), len(plain))
	s := &Session{
		ID:     text[atSession:atIssued],
		InApp:  plain[atInApp] == 1,
		Issued: TimeAt(plain[atIssued:]),
		Ends:   TimeAt(plain[atIssued+8:]),
		Seen:   TimeAt(plain[atIssued+16:]),
		Claims: make([]userinfo.Claim, 0, plain[atCount]),
	}
	rest := text[atClaims:]
	if plain[0] == formatWithLogins {
		logins, after, ok := cutString(rest)
		if !ok || !s.readLogins(logins) {
			return nil, errSessionFormat
		}
		rest = after
	}
	for rest != "" {
		c := userinfo.Claim{Kind: userinfo.Kind(rest[0])}
		var ok1, ok2 bool
		c.Name, rest, ok1 = cutString(rest[1:])
		c.Text, rest, ok2 = cutString(rest)
		if !ok1 || !ok2 {
			return nil, errSessionFormat
		}
		s.Claims = append(s.Claims, c)
	}
	return s, nil
}

func TimeAt(b []byte) time.Time { return time.UnixMilli(int64(binary.BigEndian.Uint64(b))) }

// cutString reads a string with its length in front.
func cutString(s string) (text, rest string, ok bool) {
	n, s, ok := cutNumber(s)
	if !ok || n > uint64(len(s)) {
		return "", "", false
	}
	return s[:n], s[n:], true
}

// cutNumber reads an unsigned varint (encoding/binary) of at most 35 bits.
func cutNumber(s string) (n uint64, rest string, ok bool) {
	for i := 0; i < len(s) && i < 5; i++ {
		n |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			return n, s[i+1:], true
		}
	}
	return 0, "", false
}
