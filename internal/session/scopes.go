package session

import (
	"encoding/binary"
	"slices"
	"strings"
)

// Scopes is a set of scopes that logins have asked for. Those that Vipps MobilePay documents take a bit each, so that a
// session's cookie hardly grows by them; the zero value is the empty set.
type Scopes struct {
	known  uint32
	others string // sorted, with a space between two
}

// knownScopes are the bits of Scopes.known. They are part of the session's format: names are added at the end, and none is
// ever moved.
var knownScopes = []string{
	"openid", "name", "phoneNumber", "email", "birthDate", "address", "gender", "nin", "delegatedConsents", "customFlow",
	"paymentSourceReferences", "promotions", "accountNumbers", "api_version_2",
}

// MaxOtherScopes is the maximum length of the names of other scopes, joined by spaces. Those that do not fit count as never
// asked for.
const MaxOtherScopes = 255

// ScopesOf returns the set of these scopes.
func ScopesOf(names ...string) Scopes {
	var s Scopes
	for _, name := range names {
		s.add(name)
	}
	return s
}

func (s *Scopes) add(name string) {
	if i := slices.Index(knownScopes, name); i >= 0 {
		s.known |= 1 << i
		return
	}
	all := strings.Fields(s.others)
	i, found := slices.BinarySearch(all, name)
	if joined := strings.Join(slices.Insert(all, i, name), " "); !found && name != "" && len(joined) <= MaxOtherScopes {
		s.others = joined
	}
}

// ScopesIn returns the scopes of a scope parameter (RFC 6749 section 3.3).
func ScopesIn(parameter string) Scopes {
	var s Scopes
	for name := range strings.FieldsSeq(parameter) {
		s.add(name)
	}
	return s
}

// IsEmpty reports whether there is no scope in s.
func (s Scopes) IsEmpty() bool { return s.known == 0 && s.others == "" }

// With returns the scopes of s and of other. Those of s come first where not all fit.
func (s Scopes) With(other Scopes) Scopes {
	s.known |= other.known
	for name := range strings.FieldsSeq(other.others) {
		s.add(name)
	}
	return s
}

// Without returns the scopes of s that are not in other.
func (s Scopes) Without(other Scopes) Scopes {
	s.known &^= other.known
	if s.others == "" || other.others == "" {
		return s
	}
	theirs := strings.Fields(other.others)
	mine := slices.DeleteFunc(strings.Fields(s.others), func(name string) bool { return slices.Contains(theirs, name) })
	s.others = strings.Join(mine, " ")
	return s
}

// Has reports whether a scope is in s.
func (s Scopes) Has(name string) bool {
	wanted := ScopesOf(name)
	return !wanted.IsEmpty() && wanted.Without(s).IsEmpty()
}

// Names returns the scopes of s, in an order that is always the same.
func (s Scopes) Names() []string {
	var names []string
	for i, name := range knownScopes {
		if s.known&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return append(names, strings.Fields(s.others)...)
}

// AppendScopes appends s to b: its known scopes as a number, and the others as text.
func AppendScopes(b []byte, s Scopes) []byte {
	return appendString(binary.AppendUvarint(b, uint64(s.known)), s.others)
}

// CutScopes reads what AppendScopes has written. Bits that a later version may have set are kept.
func CutScopes(text string) (s Scopes, rest string, ok bool) {
	known, text, ok := cutNumber(text)
	if !ok || known > 1<<32-1 {
		return Scopes{}, "", false
	}
	s.known = uint32(known)
	s.others, rest, ok = cutString(text)
	return s, rest, ok && len(s.others) <= MaxOtherScopes
}
