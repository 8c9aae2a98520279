package vippslogin_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

var update = flag.Bool("update", false, "rewrite the JSON of testdata/adapt/good")

const dashes = "----------\n"

// configVariables is the environment of every config of the tests here. Whatever is done with a
// config, none of these values may be seen.
var configVariables = map[string]string{
	"VIPPS_CLIENT_ID":        "resolved-client-id",
	"VIPPS_CLIENT_SECRET":    "resolved-client-secret",
	"VIPPS_SUBSCRIPTION_KEY": "resolved-subscription-key",
	"SHOP_CLIENT_ID":         "resolved-shop-client-id",
	"SHOP_CLIENT_SECRET":     "resolved-shop-client-secret",
	"COOKIE_SECRET":          "resolved-cookie-secret-of-32-bytes-and-more",
	"OLD_COOKIE_SECRET":      "resolved-old-cookie-secret-of-32-bytes-and-more",
	"OLDEST_COOKIE_SECRET":   "resolved-oldest-cookie-secret-of-32-bytes-and-more",
	"SHORT_SECRET":           "resolved-secret-of-31-bytes....",
	"TWO_LINES":              "resolved-line-1\nresolved-line-2",
	"BLANK":                  " \t ",
	"SHOP_MSN":               "123456",
}

func setConfigVariables(t *testing.T) {
	t.Helper()
	for name, value := range configVariables {
		t.Setenv(name, value)
	}
}

// adapt turns a Caddyfile into JSON. Warnings are errors: one of them is about what `caddy fmt` would
// change.
func adapt(t *testing.T, config string) ([]byte, error) {
	t.Helper()
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	for _, warning := range warnings {
		t.Errorf("caddy adapt warns: %s", warning)
	}
	return adapted, err
}

// validate does what `caddy validate` does with JSON: it provisions every module.
func validate(config []byte) error {
	var parsed caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &parsed); err != nil {
		return err
	}
	return caddy.Validate(&parsed)
}

// eachGolden calls test for every file of a folder of testdata/adapt.
func eachGolden(t *testing.T, folder string, test func(t *testing.T, file, config, want string)) {
	t.Helper()
	setConfigVariables(t)
	files, err := filepath.Glob(filepath.Join("testdata", "adapt", folder, "*.caddyfiletest"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			config, want, ok := strings.Cut(string(content), dashes)
			if !ok {
				t.Fatal("there is no line of dashes")
			}
			if formatted := string(caddyfile.Format([]byte(config))); formatted != config {
				t.Errorf("caddy fmt would make it\n%s", formatted)
			}
			test(t, file, config, want)
		})
	}
}

// TestGoodCaddyfiles: each file is a Caddyfile, a line of dashes, and the JSON it is adapted to, which
// must be a valid config.
func TestGoodCaddyfiles(t *testing.T) {
	eachGolden(t, "good", func(t *testing.T, file, config, want string) {
		adapted, err := adapt(t, config)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := json.Indent(&got, adapted, "", "\t"); err != nil {
			t.Fatal(err)
		}
		got.WriteByte('\n')
		if *update {
			if err := os.WriteFile(file, []byte(config+dashes+got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if got.String() != want {
			t.Errorf("adapted to\n%s\nwant (go test -run TestGoodCaddyfiles -update . accepts what it is)\n%s", got.String(), want)
		}
		wantNoSecret(t, got.String())
		if err := validate(adapted); err != nil {
			t.Errorf("caddy validate: %v", err)
		}
	})
}

var caddyfileLine = regexp.MustCompile(`Caddyfile:\d+`)

// TestBadCaddyfiles: each file is a Caddyfile, a line of dashes, and lines that all stand in the error
// that adapting or validating it ends in.
func TestBadCaddyfiles(t *testing.T) {
	eachGolden(t, "bad", func(t *testing.T, _, config, want string) {
		adapted, err := adapt(t, config)
		if err != nil && !caddyfileLine.MatchString(err.Error()) {
			t.Errorf("no line is named: %v", err)
		}
		if err == nil {
			wantNoSecret(t, string(adapted))
			err = validate(adapted)
		}
		wantError(t, err, strings.Split(strings.TrimSpace(want), "\n")...)
	})
}

// wantError checks that err says all that is wanted, and no secret.
func wantError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", want)
	}
	for _, part := range want {
		if part == "" || !strings.Contains(err.Error(), part) {
			t.Errorf("error: %v\nwant in it: %s", err, part)
		}
	}
	wantNoSecret(t, err.Error())
}

// wantNoSecret checks that text holds the value of no variable.
func wantNoSecret(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, "resolved-") {
		t.Errorf("a secret is in %s", text)
	}
}
