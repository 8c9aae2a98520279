package vippslogin

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// login is a login in progress: what must come back from Vipps MobilePay, and where the person was
// going. It waits in a cookie of the browser that started it, and where return_in_any_browser is on,
// in the state parameter as well.
type login struct {
	id       string // 22 characters, the name of its cookie; the state parameter too unless that carries the login
	started  time.Time
	nonce    string
	verifier string // PKCE, RFC 7636 section 4.1
	returnTo string // path and query on the same origin
}

const (
	loginLife = 10 * time.Minute

	// maxState keeps the redirect to Vipps MobilePay, which fails over 2,000 characters, well under that.
	maxState = 800

	timeBytes, idBytes, nonceBytes, verifierBytes = 8, 16, 16, 32
	loginFixedBytes                               = timeBytes + idBytes + nonceBytes + verifierBytes
)

func newLogin(returnTo string, now time.Time) *login {
	encode := base64.RawURLEncoding.EncodeToString
	return &login{
		id:       encode(randomBytes(idBytes)),
		started:  now,
		nonce:    encode(randomBytes(nonceBytes)),
		verifier: encode(randomBytes(verifierBytes)),
		returnTo: returnTo,
	}
}

// alive reports whether the login may still be completed.
func (l *login) alive(now time.Time) bool {
	age := now.Sub(l.started)
	return age < loginLife && age > -loginLife // the other instance's clock may be ahead
}

// encode lays a login out as: started (milliseconds since 1970, 8 bytes), id, nonce, verifier, return path (deflated where that
// is shorter, with its format in front).
func (l *login) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(l.started.UnixMilli()))
	for _, part := range []string{l.id, l.nonce, l.verifier} {
		raw, _ := base64.RawURLEncoding.DecodeString(part) // newLogin made it
		b = append(b, raw...)
	}
	packed := append([]byte{formatPlain}, l.returnTo...)
	if len(packed) > 128 {
		if smaller := deflate([]byte(l.returnTo)); len(smaller) < len(packed) {
			packed = smaller
		}
	}
	return append(b, packed...)
}

func decodeLogin(b []byte) (*login, bool) {
	if len(b) <= loginFixedBytes {
		return nil, false
	}
	returnTo := b[loginFixedBytes+1:]
	if b[loginFixedBytes] == formatDeflated {
		var err error
		if returnTo, err = inflate(returnTo); err != nil {
			return nil, false
		}
	}
	encode := base64.RawURLEncoding.EncodeToString
	id, nonce, verifier := timeBytes, timeBytes+idBytes, timeBytes+idBytes+nonceBytes
	return &login{
		started:  time.UnixMilli(int64(binary.BigEndian.Uint64(b))),
		id:       encode(b[id:nonce]),
		nonce:    encode(b[nonce:verifier]),
		verifier: encode(b[verifier:loginFixedBytes]),
		returnTo: string(returnTo),
	}, true
}

// sealLogin returns l sealed for one host and MSN, in at most size characters: a return path that does
// not fit loses its query, and then is the front page.
func sealLogin(keys keyring, l *login, host, msn string, size int) string {
	short := *l
	for _, short.returnTo = range []string{l.returnTo, withoutQuery(l.returnTo), "/"} {
		sealed := base64.RawURLEncoding.EncodeToString(keys.seal(short.encode(), sealContext(host, msn)))
		if len(sealed) <= size {
			return sealed
		}
	}
	return "" // not reached: "/" always fits
}

func withoutQuery(returnTo string) string {
	bare, _, _ := strings.Cut(returnTo, "?")
	return bare
}

// openLogin opens what sealLogin made for the same host and MSN, while the login is alive.
func openLogin(keys keyring, value, host, msn string, now time.Time) (*login, bool) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil {
		return nil, false
	}
	plain, ok := keys.open(sealed, sealContext(host, msn))
	if !ok {
		return nil, false
	}
	l, ok := decodeLogin(plain)
	return l, ok && l.alive(now)
}

// isLoginID reports whether s has the form of a login's id.
func isLoginID(s string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(raw) == idBytes
}

// findLogin returns the login that a callback's state belongs to, from the cookie of this browser. The
// id sealed inside must be the one asked for: the name of a cookie alone proves nothing.
func findLogin(keys keyring, r *http.Request, id, host, msn string, secure bool, now time.Time) (*login, bool) {
	if !isLoginID(id) {
		return nil, false
	}
	want := cookieName(loginCookie+id, secure)
	for name, value := range cookies(r.Header) {
		if name == want {
			l, ok := openLogin(keys, value, host, msn, now)
			return l, ok && l.id == id
		}
	}
	return nil, false
}

// setLoginCookie sets the cookie of a new login, and clears the oldest ones where there are too many
// of them, or too much: a browser full of abandoned logins could not send a request any more.
func setLoginCookie(w http.ResponseWriter, r *http.Request, keys keyring, l *login, host, msn string, secure bool, now time.Time) {
	name := loginCookie + l.id
	const perCookie = len("=; ") // in the Cookie header
	overhead := len(cookieName(name, secure)) + perCookie
	value := sealLogin(keys, l, host, msn, maxLoginBytes-overhead)
	room := maxLoginBytes - overhead - len(value)

	for i, other := range loginsInProgress(keys, r, host, msn, secure, now) {
		room -= len(other.value) + overhead
		if i >= maxLogins-1 || room < 0 || other.login == nil {
			setCookie(w, strings.TrimPrefix(other.name, hostPrefix), "", secure, 0)
		}
	}
	setCookie(w, name, value, secure, loginLife)
}

type pendingCookie struct {
	name, value string
	login       *login // nil: unreadable, or too old
}

// loginsInProgress returns the login cookies of r, the newest first.
func loginsInProgress(keys keyring, r *http.Request, host, msn string, secure bool, now time.Time) []pendingCookie {
	var found []pendingCookie
	prefix := cookieName(loginCookie, secure)
	for name, value := range cookies(r.Header) {
		if id, ok := strings.CutPrefix(name, prefix); ok && isLoginID(id) {
			l, ok := openLogin(keys, value, host, msn, now)
			if !ok {
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

// safeReturn returns the path and query to come back to, or "/" for what is none. The redirect goes to
// our own origin whatever this returns (origin.url); this encodes what browsers and servers read
// differently, a backslash in a path first of all (CVE-2020-5233), so that it stays the path that was
// asked for.
func safeReturn(target string) string {
	if target == "" || target[0] != '/' {
		return "/"
	}
	var out strings.Builder
	inPath := true
	for i := range len(target) {
		c := target[i]
		switch {
		case c < ' ', c == 0x7f: // in no request target
			return "/"
		case c == '\\' && inPath, c > 0x7f, c == ' ', c == '#':
			fmt.Fprintf(&out, "%%%02X", c)
			continue
		case c == '?':
			inPath = false
		}
		out.WriteByte(c)
	}
	return out.String()
}
