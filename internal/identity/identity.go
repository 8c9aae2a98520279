package identity

import (
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// Identity writes who the person is into a request's headers and placeholders, and first takes away
// whatever the client wrote there itself. Built once at provision.
type Identity struct {
	prefix   string            // canonical, ends in "-"
	folded   string            // prefix as fold spells it
	msnKey   string            // the placeholder of the header with the MSN
	fields   map[string]string // configured field, canonical, to the claim it shows
	foldedBy map[string]bool   // the configured fields as fold spells them
	names    map[string]string // header names of well-known claims, so that no request has to build them
	encode   func(userinfo.Claim) string

	assertion string // the field of an assertion, canonical; "" where there is none
}

// Header encodings, as header_encoding names them.
const (
	UTF8      = "utf8"
	Percent   = "percent"
	Base64URL = "base64url"
)

// WellKnownClaims are those of Vipps MobilePay's userinfo. Others work as well, and cost a string.
var WellKnownClaims = []string{
	"sub", "sid", "name", "given_name", "family_name", "phone_number", "phone_number_verified", "email",
	"email_verified", "birthdate", "address", "other_addresses", "gender", "nin", "delegatedConsents",
}

// New returns the Identity of a site. fields are further headers, field name to claim name; assertion is the field that
// carries an assertion, or "".
func New(prefix, encoding string, fields map[string]string, assertion string) *Identity {
	id := &Identity{
		prefix:   textproto.CanonicalMIMEHeaderKey(prefix),
		msnKey:   "http.request.header." + textproto.CanonicalMIMEHeaderKey(prefix) + "Msn",
		folded:   Fold(prefix),
		fields:   make(map[string]string, len(fields)),
		foldedBy: make(map[string]bool, len(fields)),
		names:    make(map[string]string, len(WellKnownClaims)),
		encode:   encodeUTF8,
	}
	if assertion != "" {
		id.assertion = textproto.CanonicalMIMEHeaderKey(assertion)
		id.foldedBy[Fold(assertion)] = true
	}
	switch encoding {
	case Percent:
		id.encode = encodePercent
	case Base64URL:
		id.encode = encodeBase64URL
	}
	for field, claim := range fields {
		id.fields[textproto.CanonicalMIMEHeaderKey(field)] = claim
		id.foldedBy[Fold(field)] = true
	}
	for _, name := range WellKnownClaims {
		id.names[name] = id.buildHeaderName(name)
	}
	return id
}

// Strip removes what the client wrote into our headers itself. It is called for every request, before
// anything else is decided: there is no path on which the client's own word gets through.
func (id *Identity) Strip(r *http.Request) {
	id.stripHeader(r.Header)
	id.stripConnection(r.Header)
	if len(r.Trailer) > 0 && r.Body != nil {
		id.stripHeader(r.Trailer)
		r.Body = &trailerStripper{r.Body, r, id}
	}
}

// stripHeader deletes every field that an upstream could take for one of ours.
func (id *Identity) stripHeader(header http.Header) {
	for field := range header {
		if id.isOurs(field) {
			delete(header, field)
		}
	}
}

// isOurs reports whether an upstream might read field as a header of ours. CGI, FastCGI, WSGI and
// Rack upstreams see X-Vipps-Sub as HTTP_X_VIPPS_SUB, and X_Vipps.Sub too (CVE-2025-64484): RFC 3875
// section 4.1.18 asks for "-" to "_", and Apache's CGI folds everything but letters and digits.
func (id *Identity) isOurs(field string) bool {
	if HasFoldedPrefix(field, id.folded) {
		return true
	}
	return len(id.foldedBy) > 0 && id.foldedBy[Fold(field)]
}

// stripConnection takes our fields out of the Connection header. A proxy removes every field that
// Connection names (RFC 9110 section 7.6.1), so a client could make its identity vanish by naming it
// (CVE-2025-48865).
func (id *Identity) stripConnection(header http.Header) {
	for i, line := range header["Connection"] {
		if !id.namesOurs(line) {
			continue
		}
		var kept []string
		for option := range strings.SplitSeq(line, ",") {
			if !id.isOurs(strings.TrimSpace(option)) {
				kept = append(kept, option)
			}
		}
		header["Connection"][i] = strings.TrimSpace(strings.Join(kept, ","))
	}
}

func (id *Identity) namesOurs(line string) bool {
	for option := range strings.SplitSeq(line, ",") {
		if id.isOurs(strings.TrimSpace(option)) {
			return true
		}
	}
	return false
}

// trailerStripper removes our fields from the trailers, which the server adds to the request when the
// body ends, announced or not.
type trailerStripper struct {
	io.ReadCloser
	request *http.Request
	id      *Identity
}

func (t *trailerStripper) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err != nil {
		t.id.stripHeader(t.request.Trailer)
	}
	return n, err
}

// Present tells the upstream, and the rest of the Caddyfile, who the person is. strip was called
// before: nothing of the client's is left to mix with. assertion is the proof of it, where the site gets one.
func (id *Identity) Present(r *http.Request, s *session.Session, msn string, newLogin bool, assertion string) {
	most := len(s.Claims) + 2 + len(id.fields)
	values := make([]string, 0, most)
	before := r.Header
	header := make(http.Header, len(before)+most) // growing a map as it is filled costs twice the memory
	maps.Copy(header, before)
	r.Header = header
	id.each(s.Claims, msn, newLogin, func(field, value string) {
		values = append(values, value)
		header[field] = values[len(values)-1 : len(values) : len(values)]
	})
	if id.assertion != "" {
		values = append(values, assertion)
		header[id.assertion] = values[len(values)-1 : len(values) : len(values)]
	}
	// Caddy's placeholders look at the request that came in. Where a directive before us has handed on a
	// copy, as tracing does, that has the map of before.
	if shown, _ := incoming.Replacer(r).Get(id.msnKey); shown != msn {
		maps.Copy(before, header)
	}
}

// each calls set with every identity header that claims make: an absent header, never an empty one, which blanks become on
// the wire.
func (id *Identity) each(claims []userinfo.Claim, msn string, newLogin bool, set func(field, value string)) {
	present := func(field, value string) {
		if strings.Trim(value, " ") != "" {
			set(field, value)
		}
	}
	for _, c := range claims {
		if field := id.headerName(c.Name); id.fields[field] == "" {
			present(field, id.encode(c))
		}
	}
	present(id.prefix+"Msn", msn)
	for field, name := range id.fields {
		switch {
		case name == "msn":
			present(field, msn)
			continue
		case name == "new_login" && newLogin:
			present(field, "true")
			continue
		}
		for _, c := range claims {
			if c.Name == name {
				present(field, id.encode(c))
			}
		}
	}
}

// Size returns how many bytes the identity headers of claims take on the wire of HTTP/1.1 (RFC 9112 section 5): names,
// values as they are encoded, ": " and line ends, copies included, at the first page view of a login, which may have one
// more.
func (id *Identity) Size(claims []userinfo.Claim, msn string) (bytes int) {
	id.each(claims, msn, true, func(field, value string) { bytes += len(field) + len(": ") + len(value) + len("\r\n") })
	return bytes
}

func (id *Identity) headerName(claim string) string {
	if field, ok := id.names[claim]; ok {
		return field
	}
	return id.buildHeaderName(claim)
}

// buildHeaderName makes phone_number X-Vipps-Phone-Number.
func (id *Identity) buildHeaderName(claim string) string {
	name := []byte(claim)
	for i, c := range name {
		if c == '_' || !httpguts.IsTokenRune(rune(c)) {
			name[i] = '-'
		}
	}
	return textproto.CanonicalMIMEHeaderKey(id.prefix + string(name))
}

// Placeholder is what {http.auth.user.<name>} stands for: nothing (in an expression: null), where there is no
// session or no such claim.
// Left as it is, the text of the placeholder would be somebody's name to a site that gets it by header_up.
func Placeholder(s *session.Session, name string) any {
	switch {
	case s == nil:
		return nil
	case name == "id":
		return s.Sub()
	case name == "age":
		birthdate, _ := s.Claim("birthdate")
		if age, ok := userinfo.Age(time.Now(), birthdate); ok {
			return age
		}
		return nil
	}
	// As the utf8 header value: a line break would make a header of somebody's header_up invalid.
	for _, c := range s.Claims {
		if c.Name == name {
			return encodeUTF8(c)
		}
	}
	return nil
}

// encodeUTF8 leaves text as it is, but for what no header may hold: a line break becomes a space.
func encodeUTF8(c userinfo.Claim) string {
	if c.Kind != userinfo.KindText {
		return c.Text
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, c.Text)
}

// encodePercent encodes what is not printable ASCII, and "%" itself (RFC 3986 section 2.1).
func encodePercent(c userinfo.Claim) string {
	if c.Kind == userinfo.KindPlain || userinfo.IsPlain(c.Text) {
		return c.Text
	}
	const hex = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(c.Text) {
		b := c.Text[i]
		if b < ' ' || b > '~' || b == '%' {
			out.Write([]byte{'%', hex[b>>4], hex[b&15]})
			continue
		}
		out.WriteByte(b)
	}
	return out.String()
}

// encodeBase64URL encodes every string (RFC 4648 section 5, no padding), so that a receiver need not
// guess; numbers, booleans and JSON are ASCII already.
func encodeBase64URL(c userinfo.Claim) string {
	if c.Kind == userinfo.KindLiteral || c.Kind == userinfo.KindJSON {
		return c.Text
	}
	return base64.RawURLEncoding.EncodeToString([]byte(c.Text))
}

// Fold spells a field name as the upstreams do that see least difference: lower case, and "-" for
// whatever is neither letter nor digit.
func Fold(field string) string {
	folded := []byte(field)
	for i, c := range folded {
		folded[i] = foldByte(c)
	}
	return string(folded)
}

func foldByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + ('a' - 'A')
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	}
	return '-'
}

// HasFoldedPrefix is strings.HasPrefix(fold(field), prefix) without the string.
func HasFoldedPrefix(field, prefix string) bool {
	if len(field) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if foldByte(field[i]) != prefix[i] {
			return false
		}
	}
	return true
}
