package sitesession

import (
	"slices"
	"strings"
)

// Fold returns a cookie's name as lenient stacks may read it. PHP takes "." and a blank for "_"; some decode what is
// percent-encoded, with "+" for a blank, once or twice, and read up to a NUL; some ignore case, or what surrounds a name:
// blanks of any alphabet, quotes.
func Fold(name string) string {
	for range 3 {
		decoded := decodePercent(name)
		if decoded == name {
			break
		}
		name = decoded
	}
	name, _, _ = strings.Cut(name, "\x00")
	return strings.ToLower(asInPHP.Replace(trimOdd(name)))
}

var asInPHP = strings.NewReplacer(".", "_", " ", "_", "+", "_")

// trimOdd cuts what surrounds a name from both ends.
func trimOdd(name string) string {
	isOdd := func(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '\'' || c == '+' }
	for name != "" && isOdd(name[0]) {
		name = name[1:]
	}
	for name != "" && isOdd(name[len(name)-1]) {
		name = name[:len(name)-1]
	}
	return name
}

// decodePercent decodes what is well formed, and leaves the rest as it is, as lenient decoders do.
func decodePercent(name string) string {
	if strings.IndexByte(name, '%') < 0 {
		return name
	}
	var decoded []byte
	for i := 0; i < len(name); i++ {
		if name[i] == '%' && i+2 < len(name) {
			high, low := hexDigit(name[i+1]), hexDigit(name[i+2])
			if high >= 0 && low >= 0 {
				decoded = append(decoded, byte(high<<4|low))
				i += 2
				continue
			}
		}
		decoded = append(decoded, name[i])
	}
	return string(decoded)
}

func hexDigit(c byte) int {
	return strings.IndexByte("0123456789abcdef", c|0x20) // digits have that bit
}

// isOne reports whether the name is one of the configured ones, to the letter.
func (c *Cookies) isOne(name string) bool { return slices.Contains(c.names, name) }

// mayBe reports whether a stack may read the name as one of the configured ones. PHP takes what follows a "[" for the key of
// an array, or the "[" for a "_" where no "]" follows.
func (c *Cookies) mayBe(name string) bool {
	if c.isOne(name) {
		return true
	}
	folded := Fold(name)
	array, _, isArray := strings.Cut(folded, "[")
	if !isArray {
		return c.folded[folded]
	}
	return c.folded[array] || c.folded[strings.ReplaceAll(folded, "[", "_")]
}

// mayHold reports whether a stack may find one of the configured cookies inside another: some separate cookies by commas
// (RFC 2965 section 3.3.4) or blanks as well, and for some a quoted value goes on after a semicolon. Others skip the "=" of a
// cookie without a name, which a sibling subdomain can set (CVE-2023-23934).
func (c *Cookies) mayHold(pair string) bool {
	if rest := strings.TrimLeft(pair, "= \t"); rest != pair {
		if name, _, isPair := strings.Cut(rest, "="); isPair && c.mayBe(strings.TrimRight(name, " \t")) {
			return true
		}
	}
	if !strings.ContainsAny(pair, ",\" \t") {
		return false
	}
	parts := strings.FieldsFunc(pair, func(r rune) bool { return strings.ContainsRune(",\" \t", r) })
	return slices.ContainsFunc(parts, func(part string) bool {
		name, _, isPair := strings.Cut(part, "=")
		return isPair && c.mayBe(name)
	})
}
