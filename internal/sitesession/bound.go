package sitesession

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/caddy-vipps/vippslogin/internal/seal"
)

// MaxBytes is what browsers take of a cookie's name and value together (RFC 6265bis section 5.7).
const MaxBytes = 4096

// errRefused is a cookie that browsers would not take once it is bound.
var errRefused = errors.New("no cookie that browsers take")

// Person is for whom a cookie was set. The zero Person is nobody: a visitor without a session.
type Person [16]byte

// PersonOf returns the person with this sub.
func PersonOf(sub string) Person {
	sum := sha256.Sum256([]byte(sub))
	return Person(sum[:len(Person{})])
}

// Owner is for whom, and where, cookies are bound.
type Owner struct {
	Keys      seal.Keyring // empty: nothing fits
	Host, MSN string
	Person    Person
}

// context is what a cookie of that name is bound to beside the person.
func (o Owner) context(name string) []byte { return seal.Context(o.Host, o.MSN, name) }

// place is where a browser keeps a cookie: it has one of each (RFC 6265 section 5.3 step 11).
type place struct {
	name, path string
	domain     string // in lower case; "" is this host alone
}

// bound is one cookie as it was set for somebody. Sealed, it is the value that the browser has.
type bound struct {
	place
	person Person
	// attributes are those that the site wrote, as far as they are needed once more: all where the cookie may have to be
	// set again, and of the others Partitioned.
	attributes string
	value      string
	unknown    bool // nobody with our keys has bound it: where the browser has it is a guess
}

// seal returns the value of the cookie for the browser.
func (b bound) seal(o Owner) string {
	parts := strings.Join([]string{b.path, b.domain, b.attributes, b.value}, "\x00") // which stands in none of them
	plain := append(b.person[:], parts...)
	return base64.RawURLEncoding.EncodeToString(o.Keys.Seal(plain, o.context(b.name)))
}

// open undoes seal, whoever the cookie is for. It is false for what nobody with our keys has bound to this name, host and
// merchant.
func open(o Owner, name, value string) (b bound, ok bool) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil {
		return bound{}, false
	}
	plain, ok := o.Keys.Open(sealed, o.context(name))
	if !ok || len(plain) < len(b.person) {
		return bound{}, false
	}
	copy(b.person[:], plain)
	parts := bytes.SplitN(plain[len(b.person):], []byte{0}, 4)
	if len(parts) != 4 {
		return bound{}, false
	}
	b.place = place{name, string(parts[0]), string(parts[1])}
	b.attributes, b.value = string(parts[2]), string(parts[3])
	return b, true
}

// setAgain is a Set-Cookie line that gives the cookie to the owner, with the attributes that the site wrote.
func (b bound) setAgain(o Owner) string {
	attributes := b.attributes
	if s := parseAttributes(attributes); s.path == "" {
		attributes += "; Path=" + b.path
	}
	b.person, b.attributes = o.Person, onlyPartitioned(b.attributes)
	return b.name + "=" + b.seal(o) + attributes
}

// expire is a Set-Cookie line that has the browser forget the cookie. A browser does not take one with __Host- or __Secure-
// that is not Secure (RFC 6265bis section 5.7), nor a Secure one over plain HTTP.
func (b bound) expire(secure bool) string {
	line := b.name + "=; Path=" + b.path + "; Max-Age=0"
	if b.domain != "" {
		line += "; Domain=" + b.domain
	}
	if secure {
		line += "; Secure" + onlyPartitioned(b.attributes)
	}
	return line
}

// setCookie is a Set-Cookie line, taken apart (RFC 6265 section 5.2).
type setCookie struct {
	name, value string
	attributes  string // from the first semicolon on
	path        string // "" where there is none, or none that counts
	domain      string // in lower case
}

// parseSetCookie is false for what has no name.
func parseSetCookie(line string) (s setCookie, ok bool) {
	pair, attributes, found := strings.Cut(line, ";")
	if found {
		s = parseAttributes(";" + attributes)
	}
	s.name, s.value, ok = strings.Cut(pair, "=")
	s.name, s.value = strings.Trim(s.name, " \t"), strings.Trim(s.value, " \t")
	return s, ok && s.name != ""
}

// parseAttributes reads what follows the value: of several of one name the last counts.
func parseAttributes(attributes string) setCookie {
	s := setCookie{attributes: attributes}
	for attribute := range strings.SplitSeq(attributes, ";") {
		name, value, _ := strings.Cut(attribute, "=")
		value = strings.Trim(value, " \t")
		switch strings.ToLower(strings.Trim(name, " \t")) {
		case "path":
			s.path = ""
			if strings.HasPrefix(value, "/") {
				s.path = value
			}
		case "domain":
			s.domain = strings.ToLower(strings.TrimPrefix(value, "."))
		}
	}
	return s
}

// onlyPartitioned returns the attribute that says in which jar of a browser a cookie is (CHIPS), where it is there.
func onlyPartitioned(attributes string) string {
	for attribute := range strings.SplitSeq(attributes, ";") {
		if strings.EqualFold(strings.Trim(attribute, " \t"), "Partitioned") {
			return "; Partitioned"
		}
	}
	return ""
}

// placeOf returns where a browser that has asked for requestPath keeps the cookie.
func (s setCookie) placeOf(requestPath string) place {
	if s.path == "" {
		s.path = defaultPath(requestPath)
	}
	return place{s.name, s.path, s.domain}
}

// defaultPath is where a browser keeps a cookie without a Path (RFC 6265 section 5.1.4). One with a semicolon cannot be written
// as an attribute: its visitor chose what would stand behind it.
func defaultPath(requestPath string) string {
	i := strings.LastIndexByte(requestPath, '/')
	if i <= 0 || requestPath[0] != '/' || strings.Contains(requestPath[:i], ";") {
		return "/"
	}
	return requestPath[:i]
}

// hasControl reports whether there is a character for which browsers refuse a Set-Cookie line (RFC 6265bis section 5.6).
func hasControl(line string) bool {
	return strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
