package check_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/check"
)

// TestWriteJSON: a name from outside is the same for programs, and does nothing in a terminal.
func TestWriteJSON(t *testing.T) {
	for _, name := range []string{"Bjørns kiosk & <b>", "\u009b31m red", "\x1b[31m red", "a\u202eb", "two\nlines\u2028three", "\x7f", "😀"} {
		var out strings.Builder
		if err := check.WriteJSON(&out, []string{name}); err != nil {
			t.Fatal(err)
		}
		var back []string
		if err := json.Unmarshal([]byte(out.String()), &back); err != nil || back[0] != name {
			t.Errorf("%q came back as %q: %v", name, back, err)
		}
		for line := range strings.Lines(out.String()) {
			if line = strings.TrimSuffix(line, "\n"); check.OneLine(line) != line {
				t.Errorf("%q does something in %q", name, line)
			}
		}
	}
}
