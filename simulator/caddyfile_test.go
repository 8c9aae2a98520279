package simulator

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// Each file of testdata is a Caddyfile, a line of dashes, and what comes of it:
// the JSON config in good/, a part of the error message in bad/.
func TestCaddyfile(t *testing.T) {
	t.Setenv("SIMULATOR_SECRET", "from the environment")
	for _, kind := range []string{"good", "bad"} {
		files, err := filepath.Glob(filepath.Join("testdata", kind, "*.txt"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no test files: %v", err)
		}
		for _, file := range files {
			t.Run(kind+"/"+filepath.Base(file), func(t *testing.T) {
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				input, want, ok := strings.Cut(string(content), "----------\n")
				if !ok {
					t.Fatal("no line of dashes")
				}
				got, err := adaptAndProvision(t, input)
				if kind == "bad" {
					wantMessage(t, err, strings.TrimSpace(want))
				} else if err != nil {
					t.Error(err)
				} else {
					wantJSON(t, got, want)
				}
			})
		}
	}
}

// adaptAndProvision does what caddy validate does: adapting alone would never
// see the module's own checks.
func adaptAndProvision(t *testing.T, input string) ([]byte, error) {
	t.Helper()
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), nil)
	if err != nil {
		return nil, err
	}
	// caddy fmt has nothing to do, either.
	for _, warning := range warnings {
		t.Error(warning)
	}
	var config caddy.Config
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	return adapted, caddy.Validate(&config)
}

func wantMessage(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || want == "" || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want it to contain %q", err, want)
	}
}

func wantJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var a, b bytes.Buffer
	if err := json.Indent(&a, got, "", "\t"); err != nil {
		t.Fatal(err)
	}
	if err := json.Indent(&b, []byte(want), "", "\t"); err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(a.String()) != strings.TrimSpace(b.String()) {
		t.Errorf("adapted to\n%s", a.String())
	}
}
