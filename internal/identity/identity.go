package identity

import (
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// Identity sets the identity headers of requests, after it has removed those of the client. It is built at provision.
type Identity struct {
	prefix   string            // canonical, ends in "-"
	folded   string            // prefix, folded
	msnField string            // the header with the MSN
	fields   map[string]string // configured field, canonical, to the claim it shows
	foldedBy map[string]bool   // the configured fields, folded
	names    map[string]string // header names of well-known claims, so that no request has to build them
	encode   func(userinfo.Claim) string

	assertion string // the header field of assertions, canonical; "" for none
}

// Header encodings, as header_encoding names them.
const (
	UTF8      = "utf8"
	Percent   = "percent"
	Base64URL = "base64url"
)

// WellKnownClaims are the claims of Vipps MobilePay's userinfo. Others cost an allocation.
var WellKnownClaims = []string{
	"sub", "sid", "name", "given_name", "family_name", "phone_number", "phone_number_verified", "email",
	"email_verified", "birthdate", "address", "other_addresses", "gender", "nin", "delegatedConsents",
}

// New returns the Identity of a site. fields maps further header fields to claims; assertion is the header field of
// assertions, or "".
func New(prefix, encoding string, fields map[string]string, assertion string) *Identity {
	id := &Identity{
		prefix:   textproto.CanonicalMIMEHeaderKey(prefix),
		msnField: textproto.CanonicalMIMEHeaderKey(prefix) + "Msn",
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

// Strip removes the client's own identity headers. It is called for every request, before anything else is decided, so that
// none gets through on any path.
func (id *Identity) Strip(r *http.Request) {
	id.stripHeader(r.Header)
	id.stripConnection(r.Header)
	if len(r.Trailer) > 0 && r.Body != nil {
		id.stripHeader(r.Trailer)
		r.Body = &trailerStripper{r.Body, r, id}
	}
}

// stripHeader deletes every header field that an upstream could take for one of ours.
func (id *Identity) stripHeader(header http.Header) {
	for field := range header {
		if id.isOurs(field) {
			delete(header, field)
		}
	}
}

// isOurs reports whether an upstream might read field as one of our headers. CGI, FastCGI, WSGI and Rack upstreams see both
// X-Vipps-Sub and X_Vipps.Sub as HTTP_X_VIPPS_SUB (CVE-2025-64484): RFC 3875 section 4.1.18 turns "-" into "_", and Apache's
// CGI folds everything but letters and digits.
func (id *Identity) isOurs(field string) bool {
	if HasFoldedPrefix(field, id.folded) {
		return true
	}
	return len(id.foldedBy) > 0 && id.foldedBy[Fold(field)]
}

// stripConnection removes our fields from the Connection header. A proxy removes every field that Connection names (RFC 9110
// section 7.6.1), so a client could make identity headers vanish by naming them (CVE-2025-48865).
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

// trailerStripper removes our fields from trailers, which the server adds to the request at the end of the body, announced or
// not.
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

// Present sets the identity headers. Strip must have been called before, so that nothing of the client's is left. assertion is
// the signed proof, "" for none. The header changes in place: Caddy's placeholders use the original request, and a directive
// before us, such as tracing, may have passed on a copy, which has the same header.
func (id *Identity) Present(r *http.Request, s *session.Session, msn string, newLogin bool, assertion string) {
	var room [24]line // on the stack, which is enough for nearly all
	lines := id.appendLines(room[:0], s.Claims, msn, newLogin)
	if id.assertion != "" {
		lines = append(lines, line{id.assertion, assertion})
	}
	values := make([]string, len(lines))
	for i, l := range lines {
		values[i] = l.value
		r.Header[l.field] = values[i : i+1 : i+1]
	}
}

// line is one identity header.
type line struct{ field, value string }

// appendLines appends every identity header of claims. A claim without text has no header: an empty one is not the same as an
// absent one, and a blank one becomes empty on the wire.
func (id *Identity) appendLines(lines []line, claims []userinfo.Claim, msn string, newLogin bool) []line {
	present := func(field, value string) {
		if strings.Trim(value, " ") != "" {
			lines = append(lines, line{field, value})
		}
	}
	for _, c := range claims {
		if field := id.headerName(c.Name); id.fields[field] == "" {
			present(field, id.encode(c))
		}
	}
	present(id.msnField, msn)
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
	return lines
}

// Size returns how many bytes the identity headers of claims take on the wire of HTTP/1.1 (RFC 9112 section 5): names,
// values as they are encoded, ": " and line ends, copies included, at the first page view of a login, which may have one
// more.
func (id *Identity) Size(claims []userinfo.Claim, msn string) (bytes int) {
	for _, l := range id.appendLines(nil, claims, msn, true) {
		bytes += len(l.field) + len(": ") + len(l.value) + len("\r\n")
	}
	return bytes
}

func (id *Identity) headerName(claim string) string {
	if field, ok := id.names[claim]; ok {
		return field
	}
	return id.buildHeaderName(claim)
}

// buildHeaderName returns a header name such as X-Vipps-Phone-Number for phone_number.
func (id *Identity) buildHeaderName(claim string) string {
	name := []byte(claim)
	for i, c := range name {
		if c == '_' || !httpguts.IsTokenRune(rune(c)) {
			name[i] = '-'
		}
	}
	return textproto.CanonicalMIMEHeaderKey(id.prefix + string(name))
}

// Placeholder returns the value of {http.auth.user.<name>}: nothing (null in an expression) without a session or such a claim.
// An unresolved placeholder would be a user's name to a site that gets it by header_up.
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
	// Encoded as for utf8 headers: a line break would make a header of header_up invalid.
	for _, c := range s.Claims {
		if c.Name == name {
			return encodeUTF8(c)
		}
	}
	return nil
}

// Fold returns a field name as the most lenient upstreams read it: in lower case, with "-" for everything but letters and
// digits.
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

// HasFoldedPrefix is strings.HasPrefix(Fold(field), prefix) without the allocation.
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
