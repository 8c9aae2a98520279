package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// movesText reports whether a character is a control character, or breaks a line or turns its direction.
func movesText(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}

// OneLine replaces control characters, and those that break a line or turn its direction, so that text from outside stays where
// it is shown.
func OneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if movesText(r) {
			return ' '
		}
		return r
	}, text)
}

// WriteJSON writes a value as indented JSON, and escapes what OneLine replaces: JSON itself escapes only some of it (RFC 8259
// section 7), and people read this in terminals.
func WriteJSON(w io.Writer, value any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	var escaped strings.Builder
	for _, r := range text.String() {
		if movesText(r) && r != '\n' { // a line end of the indentation: those in strings are escaped by now
			fmt.Fprintf(&escaped, `\u%04x`, r) // none of them is beyond U+FFFF
		} else {
			escaped.WriteRune(r)
		}
	}
	_, err := io.WriteString(w, escaped.String())
	return err
}
