package docs_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	generator "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/caddy-vipps/vippslogin"
	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// The schemas in docs/schema are made here, from the types and their comments, and not in the plugin:
// what makes them never gets into a user's Caddy.

// schemaFiles are the schemas and the types they are of.
var schemaFiles = map[string]any{"handler.json": vippslogin.Handler{}, "app.json": vippslogin.App{}}

// Texts that a placeholder may stand in for, resolved when the config is loaded or for each request.
const (
	msnPattern    = `^[0-9]{4,10}$|\{.+\}`
	secretPattern = `^.{32,}$|\{.+\}`
	scopePattern  = `^[^ ",%\\]+$`
)

// fieldSchemas say of a field what its type does not. TestSchemaAgreesWithCaddy holds them against what
// Caddy accepts.
var fieldSchemas = map[string]func(*generator.Schema){
	"Handler.MSN":                   pattern(msnPattern),
	"Handler.Scopes":                items(scopePattern, 0),
	"Handler.OnUnauthenticated":     oneOf("redirect", "deny", "pass"),
	"Handler.BasePath":              pattern(`^/[^?#*{}%\\ ]*$|\{.+\}`),
	"Handler.HeaderPrefix":          pattern("^[!#-'*+.^_`|~0-9A-Za-z-]{2,}-$|\\{.+\\}"),
	"Handler.HeaderEncoding":        oneOf("utf8", "percent", "base64url"),
	"Handler.Market":                oneOf("NO", "DK", "FI", "SE"),
	"Handler.ErrorPages":            oneOf("on", "off"),
	"Handler.ConsentWebhookSecrets": items(secretPattern, 0),
	"Merchant.MSN":                  pattern(msnPattern),
	"Merchant.Hosts":                items("", 1),
	"Merchant.Scopes":               items(scopePattern, 0),
	"Merchant.Market":               oneOf("NO", "DK", "FI", "SE"),
	"PhoneConfig.APIKeys":           items(secretPattern, 1),
	"PhoneConfig.Scopes":            items(scopePattern, 0),
	"SessionConfig.IdleTimeout":     orOff,
	"RequireConfig.Scopes":          items(scopePattern, 0),
	"LogoutConfig.ClearSiteData":    items(`^(cache|cookies|storage|executionContexts|\*)$|\{.+\}`, 0),
	"SiteSessionConfig.Cookies":     items(`^[!#-'*+.^_|~0-9A-Za-z\x60-]+$|\{.+\}`, 1),
	"App.Environment":               pattern(`^(production|test|https?://.+)$|\{.+\}`),
	"App.CookieSecrets":             items(secretPattern, 0),
	"App.SystemName":                pattern(`^[ -$\x26-~]{0,30}$|\{.+\}`),
	"App.SystemVersion":             pattern(`^[ -$\x26-~]{0,30}$|\{.+\}`),
}

// orOff takes "off" for a duration as well.
func orOff(s *generator.Schema) {
	for _, kind := range s.OneOf {
		if kind.Type == "string" {
			kind.Pattern += "|^off$"
		}
	}
}

func pattern(p string) func(*generator.Schema) {
	return func(s *generator.Schema) { s.Pattern = p }
}

func items(pattern string, least uint64) func(*generator.Schema) {
	return func(s *generator.Schema) {
		s.Items.Pattern = pattern
		if least > 0 {
			s.MinItems = &least
		}
	}
}

// oneOf takes one of the words, or a placeholder.
func oneOf(words ...string) func(*generator.Schema) {
	return func(s *generator.Schema) {
		known := &generator.Schema{}
		for _, word := range words {
			known.Enum = append(known.Enum, word)
		}
		s.AnyOf = []*generator.Schema{known, {Pattern: `\{.+\}`}}
	}
}

// durationSchema is what a Duration is read from.
func durationSchema() *generator.Schema {
	return &generator.Schema{OneOf: []*generator.Schema{
		{Type: "integer", Minimum: "0", Description: "Nanoseconds."},
		{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+$|^$|\{.+\}`, Description: "Such as 90s, 12h or 30d."},
	}}
}

// sizeSchema is what a Size is read from.
func sizeSchema() *generator.Schema {
	return &generator.Schema{OneOf: []*generator.Schema{
		{Type: "integer", Minimum: "1", Description: "Bytes."},
		{Type: "string", Pattern: `^[0-9]*[1-9][0-9]*(\.[0-9]+)? ?([kKmM]i?)?[bB]?$|^$|\{.+\}`, Description: "Such as 8KiB."},
	}}
}

// makeSchema makes the schema of one type.
func makeSchema(t *testing.T, of any) []byte {
	t.Helper()
	comments := goComments(t)
	reflector := &generator.Reflector{
		Anonymous: true, ExpandedStruct: true,
		LookupComment: func(of reflect.Type, field string) string {
			return comments[strings.Trim(of.Name()+"."+field, ".")]
		},
		Mapper: func(of reflect.Type) *generator.Schema {
			switch of {
			case reflect.TypeFor[vippslogin.Duration]():
				return durationSchema()
			case reflect.TypeFor[vippslogin.Size]():
				return sizeSchema()
			}
			return nil
		},
	}
	schema := reflector.Reflect(of)
	root := reflect.TypeOf(of)
	schema.Title = "vipps_login"
	constrain(root.Name(), root, schema)
	for name, definition := range schema.Definitions {
		constrain(name, typeNamed(root, name), definition)
	}
	if root.Name() == "Handler" { // Caddy's own member, which says which handler it is
		schema.Properties.Set("handler", &generator.Schema{Const: "vipps_login", Description: "Names the handler."})
		_ = schema.Properties.MoveToFront("handler")
		schema.Required = append(schema.Required, "handler")
	}
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "\t")
	if err := encoder.Encode(schema); err != nil {
		t.Fatal(err)
	}
	return encoded.Bytes()
}

// constrain applies fieldSchemas to the fields of a type.
func constrain(name string, of reflect.Type, schema *generator.Schema) {
	if of == nil {
		return
	}
	for i := range of.NumField() {
		if apply := fieldSchemas[name+"."+of.Field(i).Name]; apply != nil {
			property, _ := schema.Properties.Get(harness.JSONName(of.Field(i).Tag))
			apply(property)
		}
	}
}

// typeNamed returns the type of that name among those of t's fields, or nil.
func typeNamed(t reflect.Type, name string) reflect.Type {
	for i := range t.NumField() {
		field := t.Field(i).Type
		for field.Kind() == reflect.Pointer || field.Kind() == reflect.Slice {
			field = field.Elem()
		}
		if field.Name() == name && field.Kind() == reflect.Struct {
			return field
		}
	}
	return nil
}

// goComments returns the comments of types and their fields. A field without one has that of the field
// right before it: they are about both.
func goComments(t *testing.T) map[string]string {
	t.Helper()
	comments := make(map[string]string)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			if declared, ok := decl.(*ast.GenDecl); ok && declared.Tok == token.TYPE {
				readComments(declared, comments)
			}
		}
	}
	return comments
}

func readComments(declared *ast.GenDecl, comments map[string]string) {
	for _, spec := range declared.Specs {
		named := spec.(*ast.TypeSpec)
		structure, ok := named.Type.(*ast.StructType)
		if !ok {
			continue
		}
		comments[named.Name.Name] = oneLine(declared.Doc.Text())
		names := make(map[string]string)
		for _, field := range structure.Fields.List {
			if field.Tag != nil && len(field.Names) == 1 {
				names[field.Names[0].Name] = harness.JSONName(reflect.StructTag(strings.Trim(field.Tag.Value, "`")))
			}
		}
		last := ""
		for _, field := range structure.Fields.List {
			if field.Doc != nil {
				last = inJSON(oneLine(field.Doc.Text()), names)
			}
			for _, name := range field.Names {
				comments[named.Name.Name+"."+name.Name] = last
			}
		}
	}
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

var leadingWord = regexp.MustCompile(`^(?:, | and )?([A-Z][A-Za-z]*)`)

// inJSON writes the fields that a comment starts with as JSON names them.
func inJSON(comment string, names map[string]string) string {
	var written strings.Builder
	for {
		word := leadingWord.FindStringSubmatch(comment)
		if word == nil || names[word[1]] == "" {
			return written.String() + comment
		}
		written.WriteString(strings.Replace(word[0], word[1], names[word[1]], 1))
		comment = comment[len(word[0]):]
	}
}

// TestSchemas: docs/schema is what the types say.
func TestSchemas(t *testing.T) {
	for name, of := range schemaFiles {
		file := filepath.Join("docs", "schema", name)
		made := makeSchema(t, of)
		if *harness.UpdateGolden {
			if err := os.WriteFile(file, made, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		kept, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(kept, made) {
			t.Errorf("%s is not what the types say (go test -run TestSchemas -update . makes it so):\n%s", file, made)
		}
	}
}

// TestFieldSchemas: every rule is about a field that is there.
func TestFieldSchemas(t *testing.T) {
	fields := make(map[string]bool)
	for _, of := range []any{vippslogin.Handler{}, vippslogin.App{}, vippslogin.Merchant{}, vippslogin.PhoneConfig{}, vippslogin.SessionConfig{}, vippslogin.LogoutConfig{}, vippslogin.RequireConfig{}, vippslogin.SiteSessionConfig{}} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(of)) {
			fields[reflect.TypeOf(of).Name()+"."+field.Name] = true
		}
	}
	for name := range fieldSchemas {
		if !fields[name] {
			t.Errorf("there is no field %s", name)
		}
	}
}

// compiledSchema reads a schema as an editor does.
func compiledSchema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("docs", "schema", name))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestSchemaDescribes every member, and lets no other be.
func TestSchemaDescribes(t *testing.T) {
	for name := range schemaFiles {
		root := compiledSchema(t, name)
		seen := make(map[*jsonschema.Schema]bool)
		var describe func(path string, schema *jsonschema.Schema)
		describe = func(path string, schema *jsonschema.Schema) {
			for schema.Ref != nil {
				schema = schema.Ref
			}
			if len(schema.Properties) == 0 || seen[schema] {
				return
			}
			seen[schema] = true
			if schema.AdditionalProperties != false {
				t.Errorf("%s%s: any other member may be there", name, path)
			}
			for member, property := range schema.Properties {
				if property.Description == "" {
					t.Errorf("%s%s/%s has no description", name, path, member)
				}
				describe(path+"/"+member, property)
				if property.Items2020 != nil {
					describe(path+"/"+member, property.Items2020)
				}
			}
		}
		describe("", root)
		if len(seen) == 0 {
			t.Errorf("%s: no object was looked at", name)
		}
	}
}

// ourParts returns the handlers and the app of a config.
func ourParts(t *testing.T, config []byte) (handlers []any, app any) {
	t.Helper()
	whole := fromJSON(t, string(config)).(map[string]any)
	apps, _ := whole["apps"].(map[string]any)
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			if value["handler"] == "vipps_login" {
				handlers = append(handlers, value)
			}
			for _, key := range slices.Sorted(maps.Keys(value)) {
				walk(value[key])
			}
		case []any:
			for _, item := range value {
				walk(item)
			}
		}
	}
	walk(apps["http"])
	return handlers, apps["vipps_login"]
}

// TestGoodConfigsBySchema: the schemas accept every config that Caddy does, of those that are at hand.
func TestGoodConfigsBySchema(t *testing.T) {
	handler, app := compiledSchema(t, "handler.json"), compiledSchema(t, "app.json")
	handlers, apps := 0, 0
	check := func(t *testing.T, config []byte) {
		t.Helper()
		ours, partner := ourParts(t, config)
		for _, h := range ours {
			handlers++
			if err := handler.Validate(h); err != nil {
				t.Error(err)
			}
		}
		if partner != nil {
			apps++
			if err := app.Validate(partner); err != nil {
				t.Error(err)
			}
		}
	}
	harness.EachGolden(t, "good", func(t *testing.T, _, _, adapted string) { check(t, []byte(adapted)) })
	docs, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(docs, "README.md") {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range fenced.FindAllStringSubmatch(string(content), -1) {
			if block[1] == "json" {
				check(t, []byte(block[2]))
			}
		}
	}
	if handlers < 50 || apps < 50 {
		t.Errorf("only %d handlers and %d apps were looked at", handlers, apps)
	}
}

// TestSchemaAgreesWithCaddy: a schema refuses what Caddy refuses, and nothing that Caddy accepts.
func TestSchemaAgreesWithCaddy(t *testing.T) {
	harness.SetConfigVariables(t)
	for name, value := range map[string]string{"LIFETIME": "30m", "MARKET": "FI", "PASS": "pass", "ENCODING": "percent", "OFF": "off"} {
		t.Setenv(name, value)
	}
	const key = `"api_keys":["{env.TILL_API_KEY}"]`
	for kind, cases := range map[string]map[bool][]string{
		"handler": {
			true: {
				`"msn":"1234"`, `"msn":"1234567890"`, `"msn":"{env.SHOP_MSN}"`, `"msn":"{http.request.header.X-Msn}"`,
				`"on_unauthenticated":"redirect"`, `"on_unauthenticated":"deny"`, `"on_unauthenticated":"pass"`,
				`"header_encoding":"utf8"`, `"header_encoding":"percent"`, `"header_encoding":"base64url"`,
				`"market":"NO"`, `"market":"DK"`, `"market":"FI"`, `"market":"SE"`, `"error_pages":"on"`, `"error_pages":"off"`,
				`"base_path":"/"`, `"base_path":"/a/b"`, `"header_prefix":"X-User-"`, `"headers":{"Remote-User":"sub"}`,
				`"session":{"lifetime":3600000000000}`, `"session":{"lifetime":"1d12h","idle_timeout":"1.5h"}`, `"session":{"idle_timeout":0}`,
				`"match":[{"path":["/a"]},{"method":["GET"],"not":[{"path":["/b"]}]}]`, `"scopes":["openid","urn:x:y"]`,
				`"merchants":[{"msn":"234567","hosts":["b.example.no"],"market":"FI","scopes":["name"]}]`,
				`"phone":{` + key + `}`, `"phone":{"api_keys":["` + harness.APIKey + `"]}`, `"phone":{` + key + `,"scopes":["name"],"webhook_secrets":["x"]}`,
				`"merchants_file":"testdata/merchants/good.csv"`, `"require_app_confirmation":true`, `"consent_webhook_secrets":["{env.TILL_API_KEY}"]`,
				`"header_limit":"8KiB"`, `"header_limit":"16 kB"`, `"header_limit":4000`, `"header_limit":"4000"`,
				`"site_session":{"cookies":["PHPSESSID","ASP.NET_SessionId","__Host-sid"]}`, `"site_session":{"cookies":["{env.SHOP_MSN}"],"keep_at_login":true}`,
				`"require":[{"match":[{"path":["/a"]}],"max_age":"10m"},{"max_age":600000000000,"scopes":["birthDate"],"app_confirmation":true}]`,
			},
			false: {
				`"msn":"123"`, `"msn":"12345678901"`, `"msn":"x123456"`, `"msn":123456`, `"on_unauthenticated":"ask"`,
				`"header_encoding":"UTF-8"`, `"market":"no"`, `"market":["NO"]`, `"error_pages":false`, `"error_pages":"yes"`,
				`"base_path":"vipps"`, `"base_path":"/a?b"`, `"header_prefix":"X-User"`, `"header_prefix":"X User-"`, `"headers":{"Remote-User":1}`,
				`"session":{"lifetime":"12"}`, `"session":{"lifetime":"long"}`, `"session":{"lifetime":-1}`, `"session":{"lifetime":"off"}`,
				`"session":{"idle":"1h"}`, `"session":"12h"`, `"match":{"path":["/a"]}`, `"match":[["/a"]]`, `"scopes":"openid"`, `"scopes":["a b"]`, `"scopes":["a,b"]`,
				`"merchants":[{"msn":"234567","hosts":[]}]`, `"merchants":[{"hosts":["b.example.no"]}]`,
				`"merchants":[{"msn":"234567","hosts":["b.example.no"],"phone":{}}]`, `"merchants":[{"msn":"234567","hosts":["b.example.no"],"market":"IS"}]`,
				`"phone":{}`, `"phone":{"api_keys":[]}`, `"phone":{"api_keys":["short"]}`, `"phone":{` + key + `,"scopes":["a b"]}`,
				`"phone":{` + key + `,"webhook_secret":"x"}`, `"phone":true`, `"merchants_file":["testdata/merchants/good.csv"]`, `"merchants_file":true`, `"require_app_confirmation":"yes"`, `"consent_webhook_secrets":["short"]`, `"app_confirmation":true`,
				`"header_limit":0`, `"header_limit":"0"`, `"header_limit":-1`, `"header_limit":"large"`, `"header_limit":["8KiB"]`,
				`"site_session":{}`, `"site_session":{"cookies":[]}`, `"site_session":{"cookies":["a b"]}`, `"site_session":{"cookies":["a,b"]}`, `"site_session":["PHPSESSID"]`, `"site_session":{"cookies":["x"],"keep":true}`,
				`"require":{"max_age":"10m"}`, `"require":[{"max_age":"long"}]`, `"require":[{"max_age":-1}]`, `"require":[{"scopes":["a b"]}]`, `"require":[{"scope":"birthDate"}]`, `"require":[{"match":["/a"],"max_age":"1m"}]`, `"require":[{"app_confirmation":"yes"}]`,
			},
		},
		"app": {
			true: {
				`"environment":"production"`, `"environment":"https://vipps.example.no"`, `"environment":"http://localhost:8090"`,
				`"cookie_secrets":["{env.COOKIE_SECRET}","` + harness.CookieSecret + `"]`, `"system_name":"acme"`, `"system_name":"acme","system_version":"3.1.2"`,
				`"system_name":"{env.SHOP_MSN}"`,
			},
			false: {
				`"environment":"staging"`, `"environment":"ftp://vipps.example.no"`, `"environment":1`, `"cookie_secrets":["short"]`,
				`"cookie_secrets":"` + harness.CookieSecret + `"`, `"system_name":"` + strings.Repeat("x", 31) + `"`, `"system_version":"3.1.ø"`, `"system_name":"100%"`,
				`"client_id":1`, `"cookie_secret":"` + harness.CookieSecret + `"`,
			},
		},
	} {
		schema := compiledSchema(t, kind+".json")
		for good, members := range cases {
			for _, member := range members {
				config := harness.ConfigWith(kind, member)
				ours, app := ourParts(t, config)
				of := app
				if kind == "handler" {
					of = ours[0]
				}
				bySchema, byCaddy := schema.Validate(of), harness.Validate(config)
				if good && (bySchema != nil || byCaddy != nil) {
					t.Errorf("%s: the schema says %v, Caddy says %v", member, bySchema, byCaddy)
				}
				if !good && (bySchema == nil || byCaddy == nil) {
					t.Errorf("%s: the schema says %v, Caddy says %v, and it is wrong", member, bySchema, byCaddy)
				}
			}
		}
	}
}
