package userinfo

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Claim is one claim about the user, ready to become a header value.
type Claim struct {
	Name string
	Kind Kind
	// Text is a string as it is, a number or a boolean as JSON spells it, an object or an array as
	// JSON in ASCII.
	Text string
}

func (c Claim) Size() int { return len(c.Name) + len(c.Text) }

// scopes maps claims to the scopes that give them.
var scopes = map[string]string{
	"name": "name", "given_name": "name", "family_name": "name", "phone_number": "phoneNumber", "phone_number_verified": "phoneNumber",
	"email": "email", "email_verified": "email", "birthdate": "birthDate", "address": "address", "other_addresses": "address",
	"gender": "gender", "nin": "nin", "payment_sources_details": "paymentSourceReferences",
}

// Merge returns the claims of a login, and adds those claims of an earlier login of the same user that the later one cannot
// have: the consents that Vipps MobilePay gives once, and the claims of scopes that only the earlier login asked for, which
// earlierOnly reports. Both are sorted by name, and so is the result.
func Merge(claims, earlier []Claim, earlierOnly func(scope string) bool) []Claim {
	merged := slices.Clone(claims)
	for _, c := range earlier {
		once := c.Name == "flowResult" || c.Name == "delegatedConsents"
		scope, known := scopes[c.Name]
		i, found := slices.BinarySearchFunc(merged, c.Name, func(c Claim, name string) int { return strings.Compare(c.Name, name) })
		if !found && (once || known && earlierOnly(scope)) {
			merged = slices.Insert(merged, i, c)
		}
	}
	return merged
}

// Kind is the type of a claim's text. It is part of the session's format: values may be added, never changed.
type Kind byte

const (
	KindText    Kind = 1 // a string
	KindPlain   Kind = 2 // a string of printable ASCII without "%": the same in every header encoding but base64url
	KindLiteral Kind = 3 // a number or a boolean
	KindJSON    Kind = 4 // an object or an array
)

var ErrMalformed = errors.New("userinfo is not a JSON object with a sub")

// protocolClaims are about a token or an authentication rather than the user. ORY Hydra repeats them in userinfo; a site
// has no use for them.
var protocolClaims = []string{
	"acr", "amr", "at_hash", "aud", "auth_time", "azp", "exp", "iat", "iss", "jti", "nbf", "nonce", "rat",
}

// Parse reads a userinfo answer (OpenID Connect Core section 5.3.2), sorted by name. A claim
// that is null is left out: section 5.3.2 has it mean the same as a missing one. So are protocol claims.
func Parse(userinfo []byte) ([]Claim, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(userinfo, &members); err != nil {
		return nil, ErrMalformed // not err, which quotes the answer
	}
	claims := make([]Claim, 0, len(members))
	for name, raw := range members {
		if raw = withoutEmptyAddresses(name, raw); string(raw) == "null" || name == "" || slices.Contains(protocolClaims, name) {
			continue
		}
		c, err := parseClaim(name, raw)
		if err != nil {
			return nil, err
		}
		claims = append(claims, c)
	}
	slices.SortFunc(claims, func(a, b Claim) int { return strings.Compare(a.Name, b.Name) })
	return claims, nil
}

// withoutEmptyAddresses returns null for an empty address, which a user without one has, and removes empty ones from a list
// of addresses.
func withoutEmptyAddresses(name string, raw json.RawMessage) json.RawMessage {
	var list []json.RawMessage
	switch {
	case name == "address" && isEmptyAddress(raw):
		return json.RawMessage("null")
	case name != "other_addresses" || json.Unmarshal(raw, &list) != nil || !slices.ContainsFunc(list, isEmptyAddress):
		return raw
	}
	if list = slices.DeleteFunc(list, isEmptyAddress); len(list) == 0 {
		return json.RawMessage("null")
	}
	raw, _ = json.Marshal(list) // parts of valid JSON
	return raw
}

// isEmptyAddress reports whether all fields of an address are empty, whatever its address_type.
func isEmptyAddress(raw json.RawMessage) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || fields == nil {
		return false
	}
	for name, value := range fields {
		if name != "address_type" && string(value) != `""` && string(value) != "null" {
			return false
		}
	}
	return true
}

func parseClaim(name string, raw json.RawMessage) (Claim, error) {
	switch raw[0] {
	case '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return Claim{}, ErrMalformed
		}
		return NewText(name, text), nil
	case '{', '[':
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw); err != nil {
			return Claim{}, ErrMalformed
		}
		return Claim{name, KindJSON, asciiJSON(compact.String())}, nil
	}
	return Claim{name, KindLiteral, string(raw)}, nil
}

func NewText(name, text string) Claim {
	if IsPlain(text) {
		return Claim{name, KindPlain, text}
	}
	return Claim{name, KindText, text}
}

// IsPlain reports whether text is printable ASCII without "%".
func IsPlain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' || text[i] == '%' {
			return false
		}
	}
	return true
}

// asciiJSON escapes everything in JSON text that is not printable ASCII (RFC 8259 section 7). Only strings can have such
// characters.
func asciiJSON(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return r > '~' }) < 0 {
		return text
	}
	out := make([]byte, 0, 2*len(text))
	for _, r := range text {
		switch {
		case r <= '~':
			out = append(out, byte(r))
		case r < 0x10000:
			out = appendEscaped(out, r)
		default:
			high, low := utf16.EncodeRune(r)
			out = appendEscaped(appendEscaped(out, high), low)
		}
	}
	return string(out)
}

// appendEscaped appends a UTF-16 code unit as JSON escapes it, in four hexadecimal digits (RFC 8259 section 7).
func appendEscaped(out []byte, unit rune) []byte {
	const hex = "0123456789abcdef"
	return append(out, '\\', 'u', hex[unit>>12], hex[unit>>8&15], hex[unit>>4&15], hex[unit&15])
}

// JSON returns claims as a JSON object.
func JSON(claims []Claim) []byte {
	out := []byte{'{'}
	for i, c := range claims {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, jsonString(c.Name)...), ':')
		out = append(out, Value(c)...)
	}
	return append(out, '}')
}

// Value returns a claim's value as JSON.
func Value(c Claim) []byte {
	if c.Kind == KindText || c.Kind == KindPlain {
		return jsonString(c.Text)
	}
	return []byte(c.Text)
}

func jsonString(s string) []byte {
	quoted, _ := json.Marshal(strings.ToValidUTF8(s, string(utf8.RuneError))) // a string always marshals
	return quoted
}

// Age returns the full years from a birthdate (YYYY-MM-DD, OpenID Connect Core section 5.1) to now. It is false where the date
// is incomplete: "0000-05-17" and "1990" are allowed, and give no age.
func Age(now time.Time, birthdate string) (int, bool) {
	born, err := time.Parse(time.DateOnly, birthdate)
	if err != nil || born.Year() < 1 {
		return 0, false
	}
	now = now.UTC() // behind every time zone of the Nordics, so that nobody counts as older than they are
	age := now.Year() - born.Year()
	if now.Month() < born.Month() || now.Month() == born.Month() && now.Day() < born.Day() {
		age--
	}
	return age, age >= 0
}
