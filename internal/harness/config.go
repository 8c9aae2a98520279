package harness

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

var UpdateGolden = flag.Bool("update", false, "rewrite the JSON of testdata/adapt/good")

const Dashes = "----------\n"

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
	"TILL_API_KEY":           "resolved-api-key-of-32-characters-and-more",
	"OLD_TILL_API_KEY":       "resolved-old-api-key-of-32-characters-and-more",
	"WEBHOOK_SECRET":         "resolved-webhook-secret",
	"OLD_WEBHOOK_SECRET":     "resolved-old-webhook-secret",
	"SHORT_SECRET":           "resolved-secret-of-31-bytes....",
	"TWO_LINES":              "resolved-line-1\nresolved-line-2",
	"BLANK":                  " \t ",
	"SHOP_MSN":               "123456",
}

// SetConfigVariables sets the environment variables that the golden files refer to.
func SetConfigVariables(t *testing.T) {
	t.Helper()
	for name, value := range configVariables {
		t.Setenv(name, value)
	}
}

// Adapt turns a Caddyfile into JSON. Warnings are errors: one of them is about what `caddy fmt` would
// change.
func Adapt(t *testing.T, config string) ([]byte, error) {
	t.Helper()
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	for _, warning := range warnings {
		t.Errorf("caddy adapt warns: %s", warning)
	}
	return adapted, err
}

// Validate does what `caddy validate` does with JSON: it provisions every module.
func Validate(config []byte) error {
	var parsed caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &parsed); err != nil {
		return err
	}
	return caddy.Validate(&parsed)
}

// EachGolden calls test for every file of a folder of testdata/adapt.
func EachGolden(t *testing.T, folder string, test func(t *testing.T, file, config, want string)) {
	t.Helper()
	SetConfigVariables(t)
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
			config, want, ok := strings.Cut(string(content), Dashes)
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

// WantError checks that err says all that is wanted, and no secret.
func WantError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", want)
	}
	for _, part := range want {
		if part == "" || !strings.Contains(err.Error(), part) {
			t.Errorf("error: %v\nwant in it: %s", err, part)
		}
	}
	WantNoSecret(t, err.Error())
}

// WantNoSecret checks that text holds the value of no variable.
func WantNoSecret(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, "resolved-") {
		t.Errorf("a secret is in %s", text)
	}
}

// JSONName returns a field's name in JSON.
func JSONName(tag reflect.StructTag) string {
	name, _, _ := strings.Cut(tag.Get("json"), ",")
	return name
}

// ConfigWith is a config with a member more in the handler or the app.
func ConfigWith(kind, member string) []byte {
	app := `"client_id":"{env.VIPPS_CLIENT_ID}","client_secret":"{env.VIPPS_CLIENT_SECRET}","subscription_key":"{env.VIPPS_SUBSCRIPTION_KEY}"`
	handler := `"handler":"vipps_login"`
	switch {
	case kind == "app" && strings.HasPrefix(member, `"client_id"`):
		app = strings.Replace(app, `"client_id":"{env.VIPPS_CLIENT_ID}"`, member, 1)
	case kind == "app":
		app += "," + member
	default:
		handler += "," + member
	}
	if kind == "app" || !strings.HasPrefix(member, `"msn"`) {
		handler += `,"msn":"123456"`
	}
	return []byte(`{"apps":{"vipps_login":{` + app + `},"http":{"servers":{"s":{"routes":[{"match":[{"host":["a.example.no"]}],"handle":[{` + handler + `}]}]}}}}}`)
}
