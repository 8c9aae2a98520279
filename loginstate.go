package vippslogin

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/seal"
)

// login is a login in progress: what must come back from Vipps MobilePay, and where the person was
// going. It waits in a cookie of the browser that started it. The state parameter says which login it is
// and where the person was going, so that who comes back in another browser is not lost; where
// return_in_any_browser is on it carries the whole login.
type login struct {
	id       string // 22 characters, the name of its cookie
	started  time.Time
	nonce    string // "" in a state that does not carry the whole login, as is the verifier
	verifier string // PKCE, RFC 7636 section 4.1
	returnTo string // path, query and fragment on the same origin
	inCookie bool   // the browser has proved that it began the login; not part of what is sealed
}

const (
	loginLife = 10 * time.Minute

	// returnsFor is how long a state tells where the person was going. Not for ever: it stays in the
	// histories of browsers.
	returnsFor = time.Hour

	// maxState keeps the redirect to Vipps MobilePay, which fails over 2,000 characters, well under that.
	maxState = 800

	timeBytes, idBytes, nonceBytes, verifierBytes = 8, 16, 16, 32

	atID            = timeBytes
	atNonce         = atID + idBytes
	atVerifier      = atNonce + nonceBytes
	loginFixedBytes = atVerifier + verifierBytes
)

func newLogin(returnTo string, now time.Time) *login {
	encode := base64.RawURLEncoding.EncodeToString
	random := seal.RandomBytes(idBytes + nonceBytes + verifierBytes) // at once: what costs is the call
	return &login{
		id:       encode(random[:idBytes]),
		started:  now,
		nonce:    encode(random[idBytes : idBytes+nonceBytes]),
		verifier: encode(random[idBytes+nonceBytes:]),
		returnTo: returnTo,
	}
}

// alive reports whether the login may still be completed.
func (l *login) alive(now time.Time) bool {
	age := now.Sub(l.started)
	return age < loginLife && age > -loginLife // the other instance's clock may be ahead
}

// withoutSecrets is the login as a state tells of it that cannot complete it.
func (l *login) withoutSecrets() *login {
	told := *l
	told.nonce, told.verifier = "", ""
	return &told
}

// carried reports whether the login came whole.
func (l *login) carried() bool { return l.verifier != "" }

// encode lays a login out as: started (milliseconds since 1970, 8 bytes), id, nonce, verifier (zeros
// where there are none), return path (deflated where that is shorter, with its format in front).
func (l *login) encode() []byte {
	b := make([]byte, loginFixedBytes, loginFixedBytes+1+len(l.returnTo))
	binary.BigEndian.PutUint64(b, uint64(l.started.UnixMilli()))
	putBase64(b[atID:], l.id)
	putBase64(b[atNonce:], l.nonce)
	putBase64(b[atVerifier:], l.verifier)
	if len(l.returnTo) >= 128 {
		if packed := seal.Deflate([]byte(l.returnTo)); len(packed) <= len(l.returnTo) {
			return append(b, packed...)
		}
	}
	return append(append(b, seal.FormatPlain), l.returnTo...)
}

// putBase64 writes the bytes that newLogin encoded.
func putBase64(b []byte, text string) { _, _ = base64.RawURLEncoding.Decode(b, []byte(text)) }

func decodeLogin(b []byte) (*login, bool) {
	if len(b) <= loginFixedBytes {
		return nil, false
	}
	returnTo := b[loginFixedBytes+1:]
	if b[loginFixedBytes] == seal.FormatDeflated {
		var err error
		if returnTo, err = seal.Inflate(returnTo); err != nil {
			return nil, false
		}
	}
	encode := base64.RawURLEncoding.EncodeToString
	l := &login{
		started:  time.UnixMilli(int64(binary.BigEndian.Uint64(b))),
		id:       encode(b[atID:atNonce]),
		returnTo: string(returnTo),
	}
	if verifier := b[atVerifier:loginFixedBytes]; !bytes.Equal(verifier, make([]byte, verifierBytes)) {
		l.nonce, l.verifier = encode(b[atNonce:atVerifier]), encode(verifier)
	}
	return l, true
}

// sealLogin returns l sealed for one host and MSN, in at most size characters: a return path that does
// not fit loses its query, and then is the front page.
func sealLogin(keys seal.Keyring, l *login, host, msn string, size int) string {
	short := *l
	for _, short.returnTo = range []string{l.returnTo, withoutQuery(l.returnTo), "/"} {
		sealed := base64.RawURLEncoding.EncodeToString(keys.Seal(short.encode(), seal.Context(host, msn)))
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

// openLogin opens what sealLogin made for the same host and MSN.
func openLogin(keys seal.Keyring, value, host, msn string) (*login, bool) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil {
		return nil, false
	}
	plain, ok := keys.Open(sealed, seal.Context(host, msn))
	if !ok {
		return nil, false
	}
	return decodeLogin(plain)
}

// isLoginID reports whether s has the form of a login's id.
func isLoginID(s string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(raw) == idBytes
}

// loginInCookie returns the login of that id, from the cookie of this browser. The id sealed inside must
// be the one asked for: the name of a cookie alone proves nothing.
func loginInCookie(keys seal.Keyring, r *http.Request, prefix, id, host, msn string, secure bool, now time.Time) (*login, bool) {
	want := cookie.Name(prefix+id, secure)
	for name, value := range cookie.All(r.Header) {
		if name == want {
			l, ok := openLogin(keys, value, host, msn)
			return l, ok && l.id == id && l.carried() && l.alive(now)
		}
	}
	return nil, false
}

// setLoginCookie sets the cookie of a new login, and clears the oldest ones where there are too many
// of them, or too much: a browser full of abandoned logins could not send a request any more.
func setLoginCookie(w http.ResponseWriter, r *http.Request, prefix string, keys seal.Keyring, l *login, host, msn string, secure bool, now time.Time) {
	name := prefix + l.id
	const perCookie = len("=; ") // in the Cookie header
	overhead := len(cookie.Name(name, secure)) + perCookie
	value := sealLogin(keys, l, host, msn, cookie.MaxLoginBytes-overhead)
	room := cookie.MaxLoginBytes - overhead - len(value)

	for i, other := range loginsInProgress(keys, r, prefix, host, msn, secure, now) {
		room -= len(other.value) + overhead
		if i >= cookie.MaxLogins-1 || room < 0 || other.login == nil {
			cookie.Set(w, strings.TrimPrefix(other.name, cookie.HostPrefix), "", secure, 0)
		}
	}
	cookie.Set(w, name, value, secure, loginLife)
}

type pendingCookie struct {
	name, value string
	login       *login // nil: unreadable, or too old
}

// loginsInProgress returns the login cookies of r, the newest first.
func loginsInProgress(keys seal.Keyring, r *http.Request, name, host, msn string, secure bool, now time.Time) []pendingCookie {
	var found []pendingCookie
	prefix := cookie.Name(name, secure)
	for name, value := range cookie.All(r.Header) {
		if id, ok := strings.CutPrefix(name, prefix); ok && isLoginID(id) {
			l, ok := openLogin(keys, value, host, msn)
			if !ok || !l.alive(now) {
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

func startedAt(l *login) time.Time {
	if l == nil {
		return time.Time{}
	}
	return l.started
}

// safeReturn returns the path, query and fragment to come back to, or "/" for what is none. The redirect goes to
// our own origin whatever this returns (origin.url); this encodes what browsers and servers read
// differently, a backslash in a path first of all (CVE-2020-5233), so that it stays the path that was
// asked for.
func safeReturn(target string) string {
	if target == "" || target[0] != '/' {
		return "/"
	}
	var out strings.Builder
	inPath, inFragment := true, false
	for i := range len(target) {
		c := target[i]
		switch {
		case c < ' ', c == 0x7f: // in no request target
			return "/"
		case c == '\\' && inPath, c > 0x7f, c == ' ', c == '#' && inFragment:
			fmt.Fprintf(&out, "%%%02X", c)
			continue
		case c == '?':
			inPath = false
		case c == '#': // a Location may have a fragment (RFC 9110 section 10.2.2)
			inPath, inFragment = false, true
		}
		out.WriteByte(c)
	}
	return out.String()
}
