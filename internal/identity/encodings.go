package identity

import (
	"encoding/base64"
	"strings"
	"unicode"

	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// encodeUTF8 replaces characters that headers cannot have, such as line breaks, with spaces.
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
