package browser_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin"
	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestPlaceholdersInFields: in each field a placeholder is resolved when the config is loaded, a variable with several
// words gives several, and an unset one is an error that names the field.
func TestPlaceholdersInFields(t *testing.T) {
	w := harness.NewWorld(t)
	t.Setenv("SCOPES", "name email  phoneNumber")
	for field, test := range map[string]struct{ line, value string }{
		"scope":              {"scope {env.FIELD}", "name email"},
		"on_unauthenticated": {"on_unauthenticated {env.FIELD}", "deny"},
		"base_path":          {"base_path {env.FIELD}", "/innlogging"},
		"header_prefix":      {"header_prefix {env.FIELD}", "X-Kunde-"},
		"header":             {"header Remote-User {env.FIELD}", "sub"},
		"header_encoding":    {"header_encoding {env.FIELD}", "percent"},
		"market":             {"market {env.FIELD}", "NO"},
		"error_pages":        {"error_pages {env.FIELD}", "off"},
		"phone: scope":       {"phone {\n\t\t\tapi_key " + strings.Repeat("k", 40) + "\n\t\t\tscope {env.FIELD}\n\t\t}", "name email"},
		"lifetime":           {"session {\n\t\t\tlifetime {env.FIELD}\n\t\t}", "30m"},
		"idle_timeout":       {"session {\n\t\t\tidle_timeout {env.FIELD}\n\t\t}", "off"},
		"host":               {"merchant 123456 {env.FIELD}", "one.localhost two.localhost"},
	} {
		t.Run(field, func(t *testing.T) {
			site := "http://shop-a.localhost:$HTTP {\n\tvipps_login 123456 {\n\t\t" + test.line + "\n\t}\n\trespond hello\n}\n"
			t.Setenv("FIELD", test.value)
			if err := w.TryLoad(w.Globals() + site); err != nil {
				t.Errorf("set: %v", err)
			}
			for _, nothing := range []string{"", "  "} {
				t.Setenv("FIELD", nothing)
				if err := w.TryLoad(w.Globals() + site); err == nil || !strings.Contains(err.Error(), field) {
					t.Errorf("set to %q: %v", nothing, err)
				}
			}
			t.Setenv("FIELD", test.value)
			if err := w.TryLoad(w.Globals() + strings.Replace(site, "{env.FIELD}", "{http.request.uri}", 1)); err == nil {
				t.Error("a placeholder of the request is taken")
			}
		})
	}
	w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login 123456 {\n\t\tscope {env.SCOPES}\n\t}\n\trespond hello\n}\n")
	a := harness.NewBrowser(t).Get(w.Shop("shop-a.localhost")+"/").WantStatus(t, http.StatusFound)
	if got := harness.MustQuery(t, a.RedirectTo()).Get("scope"); got != "openid name email phoneNumber" {
		t.Errorf("asked for %q", got)
	}
}

// TestEveryFieldResolvesPlaceholders goes through all fields of the config: in each that holds text, an unset variable
// is an error that names it, so that no field takes a placeholder as it is written.
func TestEveryFieldResolvesPlaceholders(t *testing.T) {
	harness.SetConfigVariables(t)
	t.Setenv("UNSET", "")
	for _, of := range []struct {
		part  any
		write func(field, value string) []byte
	}{
		{vippslogin.App{}, func(field, value string) []byte { return harness.ConfigWith("app", field+value) }},
		{vippslogin.Handler{}, func(field, value string) []byte { return harness.ConfigWith("handler", field+value) }},
		{vippslogin.SessionConfig{}, func(field, value string) []byte {
			return harness.ConfigWith("handler", `"session":{`+field+value+`}`)
		}},
		{vippslogin.LogoutConfig{}, func(field, value string) []byte { return harness.ConfigWith("handler", `"logout":{`+field+value+`}`) }},
		{vippslogin.SiteSessionConfig{}, func(field, value string) []byte {
			return harness.ConfigWith("handler", `"site_session":{`+field+value+`}`)
		}},
		{vippslogin.RequireConfig{}, func(field, value string) []byte {
			return harness.ConfigWith("handler", `"require":[{"app_confirmation":true,`+field+value+`}]`)
		}},
		{vippslogin.PhoneConfig{}, func(field, value string) []byte {
			keys := `"api_keys":["{env.TILL_API_KEY}"],`
			if field == `"api_keys":` {
				keys = ""
			}
			return harness.ConfigWith("handler", `"phone":{`+keys+field+value+`}`)
		}},
		{vippslogin.Merchant{}, func(field, value string) []byte {
			members := map[string]string{`"msn":`: `"234567"`, `"hosts":`: `["b.example.no"]`, `"client_id":`: `"a"`, `"client_secret":`: `"b"`}
			members[field] = value
			var written []string
			for name, value := range members {
				written = append(written, name+value)
			}
			return harness.ConfigWith("handler", `"merchants":[{`+strings.Join(written, ",")+`}]`)
		}},
	} {
		kind := reflect.TypeOf(of.part)
		for i := range kind.NumField() {
			field := kind.Field(i)
			values := map[reflect.Kind]string{reflect.String: `"{env.UNSET}"`, reflect.Slice: `["{env.UNSET}"]`, reflect.Map: `{"Remote-User":"{env.UNSET}"}`}
			value, ok := values[field.Type.Kind()]
			if field.Type.Kind() == reflect.Slice && field.Type.Elem().Kind() != reflect.String || !field.IsExported() || !ok {
				continue
			}
			err := harness.Validate(of.write(`"`+harness.JSONName(field.Tag)+`":`, value))
			if err == nil || !strings.Contains(err.Error(), "UNSET") {
				t.Errorf("%s.%s: %v", kind.Name(), field.Name, err)
			}
		}
	}
}
