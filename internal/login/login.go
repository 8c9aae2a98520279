package login

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
)

// Login is a login in progress: what the authorization response and the ID token must match, and the page that the user
// wanted. It is stored in a cookie of the browser that started it. The state parameter has the login's id and that page, so
// that a user who returns in another browser can go on; with return_in_any_browser it has the whole login.
type Login struct {
	ID       string // 22 characters, the name of its cookie
	Started  time.Time
	Nonce    string // "" in a state without the whole login, as is the verifier
	Verifier string // PKCE, RFC 7636 section 4.1
	ReturnTo string // path, query and fragment on the same origin
	InCookie bool   // the browser has proved that it began the login; not sealed

	Asked Asked // in a whole login
}

// Asked is what a login asks Vipps MobilePay for. When the login is completed, the session counts it as asked for, whether the
// user consented or not.
type Asked struct {
	Scopes    session.Scopes
	Confirmed bool // the login is to be confirmed in the app
	StepUp    bool // the browser had a session, which did not have what a request required
}

const (
	Life = 10 * time.Minute

	// ReturnsFor is how long a state gives the page that the user wanted. States stay in the histories of browsers.
	ReturnsFor = time.Hour

	// MaxState keeps the redirect to Vipps MobilePay, which fails over 2,000 characters, well under that.
	MaxState = 800

	timeBytes, idBytes, nonceBytes, verifierBytes = 8, 16, 16, 32
	idText, nonceText, verifierText               = 22, 22, 43 // characters of these bytes in base64url

	atID       = timeBytes
	atNonce    = atID + idBytes
	atVerifier = atNonce + nonceBytes
	fixedBytes = atVerifier + verifierBytes
)

func New(returnTo string, now time.Time) *Login {
	random := seal.RandomBytes(idBytes + nonceBytes + verifierBytes) // in one call, which is what costs
	nonce, verifier := random[idBytes:][:nonceBytes], random[idBytes+nonceBytes:]
	var buffer [idText + nonceText + verifierText]byte // the three are parts of one string, which is one allocation
	text := base64.RawURLEncoding.AppendEncode(buffer[:0], random[:idBytes])
	text = base64.RawURLEncoding.AppendEncode(text, nonce)
	text = base64.RawURLEncoding.AppendEncode(text, verifier)
	all := string(text)
	return &Login{ID: all[:idText], Started: now, Nonce: all[idText:][:nonceText], Verifier: all[idText+nonceText:], ReturnTo: returnTo}
}

// Alive reports whether the login may still be completed.
func (l *Login) Alive(now time.Time) bool {
	age := now.Sub(l.Started)
	return age < Life && age > -Life // another instance's clock may be ahead
}

// WithoutSecrets returns the login for a state that cannot complete it.
func (l *Login) WithoutSecrets() *Login {
	told := *l
	told.Nonce, told.Verifier, told.Asked = "", "", Asked{}
	return &told
}

// Carried reports whether the login is whole.
func (l *Login) Carried() bool { return l.Verifier != "" }

// formatAsked takes the place of the return path's format. What is asked for follows it, and then the return path. Of a login
// without it, nothing is known.
const formatAsked = 3

// withoutSecrets is set in the first byte of a login without its nonce and verifier. Times have a 0 there.
const withoutSecrets = 1 << 7

// encode encodes a login as: started (milliseconds since 1970, 8 bytes), id, nonce and verifier where it has them, what is
// asked for (formatAsked, flags, scopes) where there is something, return path (deflated where that is shorter, with its format
// in front).
func (l *Login) encode() []byte {
	const asked = 2 + 16 // formatAsked, flags and the usual scopes
	size := atNonce + 1 + len(l.ReturnTo) + seal.Overhead
	if l.Carried() {
		size += nonceBytes + verifierBytes + asked
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, size), uint64(l.Started.UnixMilli()))
	b = appendBase64(b, l.ID)
	if l.Carried() {
		b = appendBase64(appendBase64(b, l.Nonce), l.Verifier)
	} else {
		b[0] |= withoutSecrets
	}
	if l.Asked != (Asked{}) {
		b = session.AppendScopes(append(b, formatAsked, l.Asked.flags()), l.Asked.Scopes)
	}
	if len(l.ReturnTo) >= 128 {
		if packed := seal.Deflate([]byte(l.ReturnTo)); len(packed) <= len(l.ReturnTo) {
			return append(b, packed...)
		}
	}
	return append(append(b, seal.FormatPlain), l.ReturnTo...)
}

// flags are the parts of Asked other than scopes, a bit each.
func (a Asked) flags() (flags byte) {
	if a.Confirmed {
		flags |= 1
	}
	if a.StepUp {
		flags |= 2
	}
	return flags
}

// cutAsked reads Asked, if it is there.
func cutAsked(b []byte) (a Asked, rest []byte, ok bool) {
	if b[0] != formatAsked {
		return Asked{}, b, true
	}
	if len(b) < 2 {
		return Asked{}, nil, false
	}
	a.Confirmed, a.StepUp = b[1]&1 != 0, b[1]&2 != 0
	scopes, text, ok := session.CutScopes(string(b[2:]))
	a.Scopes = scopes
	return a, []byte(text), ok && text != ""
}

// appendBase64 appends the bytes that New encoded.
func appendBase64(b []byte, text string) []byte {
	b, _ = base64.RawURLEncoding.AppendDecode(b, []byte(text))
	return b
}

func decode(b []byte) (*Login, bool) {
	l, rest, ok := cutFixed(b)
	if !ok {
		return nil, false
	}
	if l.Asked, rest, ok = cutAsked(rest); !ok {
		return nil, false
	}
	returnTo := rest[1:]
	if rest[0] == seal.FormatDeflated {
		var err error
		if returnTo, err = seal.Inflate(returnTo); err != nil {
			return nil, false
		}
	}
	l.ReturnTo = string(returnTo)
	return l, true
}

// cutFixed reads the parts of a login that have a fixed size. The rest is not empty.
func cutFixed(b []byte) (l *Login, rest []byte, ok bool) {
	if len(b) <= atNonce {
		return nil, nil, false
	}
	encode := base64.RawURLEncoding.EncodeToString
	started := binary.BigEndian.Uint64(b) &^ (withoutSecrets << 56)
	l = &Login{Started: time.UnixMilli(int64(started)), ID: encode(b[atID:atNonce])}
	if b[0]&withoutSecrets != 0 {
		return l, b[atNonce:], true
	}
	if len(b) <= fixedBytes {
		return nil, nil, false
	}
	if verifier := b[atVerifier:fixedBytes]; !bytes.Equal(verifier, make([]byte, verifierBytes)) { // zeros were "none" once
		l.Nonce, l.Verifier = encode(b[atNonce:atVerifier]), encode(verifier)
	}
	return l, b[fixedBytes:], true
}

// Seal returns l sealed for one host and MSN, in at most size characters. A return path that does not fit loses its query, and
// becomes "/" if it still does not fit.
func Seal(keys seal.Keyring, l *Login, host, msn string, size int) string {
	short := *l
	for _, short.ReturnTo = range [...]string{l.ReturnTo, withoutQuery(l.ReturnTo), "/"} {
		sealed := seal.Text(keys.SealOver(short.encode(), seal.Context(host, msn)))
		if len(sealed) <= size {
			return sealed
		}
	}
	return "" // not reached: "/" always fits
}

func withoutQuery(returnTo string) string {
	if i := strings.IndexAny(returnTo, "?#"); i >= 0 {
		return returnTo[:i]
	}
	return returnTo
}

// Open opens the result of Seal for the same host and MSN.
func Open(keys seal.Keyring, value, host, msn string) (*Login, bool) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil {
		return nil, false
	}
	plain, ok := keys.Open(sealed, seal.Context(host, msn))
	if !ok {
		return nil, false
	}
	return decode(plain)
}

// IsID reports whether s has the form of a login's id.
func IsID(s string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(raw) == idBytes
}

// InCookie returns the login with this id from its cookie. The sealed id must be the same: the name of a cookie proves
// nothing.
func InCookie(keys seal.Keyring, r *http.Request, prefix, id, host, msn string, secure bool, now time.Time) (*Login, bool) {
	want := cookie.Name(prefix+id, secure)
	for name, value := range cookie.All(r.Header) {
		if name == want {
			l, ok := Open(keys, value, host, msn)
			return l, ok && l.ID == id && l.Carried() && l.Alive(now)
		}
	}
	return nil, false
}

// SetCookie sets the cookie of a new login, and clears the oldest ones if there are too many of them or they are too large: a
// browser full of abandoned logins could not send a request any more.
func SetCookie(w http.ResponseWriter, r *http.Request, prefix string, keys seal.Keyring, l *Login, host, msn string, secure bool, now time.Time) {
	name := prefix + l.ID
	const perCookie = len("=; ") // in the Cookie header
	overhead := len(cookie.Name(name, secure)) + perCookie
	value := Seal(keys, l, host, msn, cookie.MaxLoginBytes-overhead)
	room := cookie.MaxLoginBytes - overhead - len(value)

	for i, other := range inProgress(keys, r, prefix, host, msn, secure, now) {
		room -= len(other.value) + overhead
		if i >= cookie.MaxLogins-1 || room < 0 || other.login == nil {
			cookie.Set(w, strings.TrimPrefix(other.name, cookie.HostPrefix), "", secure, 0)
		}
	}
	cookie.Set(w, name, value, secure, Life)
}

type pendingCookie struct {
	name, value string
	login       *Login // nil: unreadable, or too old
}

// inProgress returns the login cookies of r, the newest first.
func inProgress(keys seal.Keyring, r *http.Request, name, host, msn string, secure bool, now time.Time) []pendingCookie {
	var found []pendingCookie
	prefix := cookie.Name(name, secure)
	for name, value := range cookie.All(r.Header) {
		if id, ok := strings.CutPrefix(name, prefix); ok && IsID(id) {
			l, ok := Open(keys, value, host, msn)
			if !ok || !l.Alive(now) {
				l = nil
			}
			found = append(found, pendingCookie{name, value, l})
		}
	}
	slices.SortStableFunc(found, func(a, b pendingCookie) int {
		return startedAt(b.login).Compare(startedAt(a.login))
	})
	return found
}

func startedAt(l *Login) time.Time {
	if l == nil {
		return time.Time{}
	}
	return l.Started
}
