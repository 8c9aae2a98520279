package docs_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const ourModule = "github.com/caddy-vipps/vippslogin"

// publicState is the package of the interface to shared state, which stands outside of internal: others write engines.
const publicState = ourModule + "/state"

// room is a package of the house: what it may import of ours, and of others, by the beginning of their paths.
type room struct{ ours, others []string }

// rooms are the packages that are part of the plugin, from the lowest floor up (docs/code.md). A room imports nothing
// that is not named here; what the standard library has is free, but for netFree.
var rooms = map[string]room{
	"seal":        {},
	"apart":       {},
	"userinfo":    {},
	"cookie":      {},
	"placement":   {others: []string{"github.com/caddyserver/caddy/v2"}},
	"merchant":    {others: []string{"golang.org/x/net/idna"}},
	"guard":       {others: []string{publicState}},
	"epoch":       {others: []string{publicState}},
	"store":       {ours: []string{"seal"}, others: []string{publicState, "github.com/caddyserver/certmagic", "golang.org/x/sync"}},
	"pages":       {others: []string{"golang.org/x/text/language"}},
	"idtoken":     {ours: []string{"userinfo"}, others: []string{"github.com/golang-jwt/jwt/v5"}},
	"session":     {ours: []string{"seal", "userinfo", "cookie"}},
	"login":       {ours: []string{"seal", "cookie", "session", "epoch"}, others: []string{publicState, "github.com/patrickmn/go-cache"}},
	"sitesession": {ours: []string{"seal", "cookie"}},
	"outgoing":    {others: []string{"github.com/caddyserver/caddy/v2"}},
	"incoming":    {ours: []string{"merchant"}, others: []string{"github.com/caddyserver/caddy/v2", "golang.org/x/net/http/httpguts"}},
	"identity":    {ours: []string{"userinfo", "session"}, others: []string{"golang.org/x/net/http/httpguts"}},
	"assertion":   {ours: []string{"seal", "userinfo"}, others: []string{publicState, "github.com/golang-jwt/jwt/v5", "golang.org/x/sync"}},
	"revocation":  {ours: []string{"seal", "session", "store", "epoch"}, others: []string{publicState}},
	"vipps": {ours: []string{"idtoken", "userinfo", "merchant"}, others: []string{
		"github.com/golang-jwt/jwt/v5", "github.com/MicahParks/", "github.com/patrickmn/go-cache", "go.opentelemetry.io/", "golang.org/x/sync", "golang.org/x/time",
	}},
	"phone": {ours: []string{"apart", "vipps", "idtoken", "userinfo", "merchant", "seal"}, others: []string{
		publicState, "github.com/nyaruka/phonenumbers", "github.com/patrickmn/go-cache", "go.uber.org/zap", "golang.org/x/sync",
	}},
	"check": {ours: []string{"vipps", "idtoken", "login", "seal", "merchant", "incoming"}, others: []string{publicState, "golang.org/x/sync"}},
}

// netFree rooms know nothing of the network: what they decide depends on what they are given.
var netFree = []string{"seal", "userinfo", "store", "guard", "epoch", "idtoken", "session", "revocation"}

// listed is what go list says of a package.
type listed struct {
	ImportPath string
	Imports    []string
}

func listRooms(t *testing.T) map[string]listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./internal/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]listed)
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var l listed
		if err := decoder.Decode(&l); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		found[strings.TrimPrefix(l.ImportPath, ourModule+"/internal/")] = l
	}
}

// mistakes are the imports of a room that its row does not allow.
func (r room) mistakes(name string, imports []string) (wrong []string) {
	for _, path := range imports {
		own, isOurs := strings.CutPrefix(path, ourModule+"/internal/")
		first, _, _ := strings.Cut(path, "/")
		allowed := !strings.Contains(first, ".") // the standard library
		switch {
		case isOurs:
			allowed = slices.Contains(r.ours, own)
		case strings.Contains(first, "."):
			allowed = slices.ContainsFunc(r.others, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
		case path == "net" || path == "net/http":
			allowed = !slices.Contains(netFree, name)
		}
		if !allowed {
			wrong = append(wrong, path)
		}
	}
	return wrong
}

// TestRooms: each room imports what its row says and nothing else, and none imports upwards.
func TestRooms(t *testing.T) {
	found := listRooms(t)
	for name, room := range rooms {
		if found[name].ImportPath == "" {
			t.Errorf("there is no room %s", name)
		}
		if wrong := room.mistakes(name, found[name].Imports); len(wrong) > 0 {
			t.Errorf("internal/%s imports %v: that is not its job", name, wrong)
		}
		for _, below := range room.ours {
			if slices.Contains(rooms[below].ours, name) {
				t.Errorf("%s and %s import each other", name, below)
			}
		}
	}
	for name := range found {
		_, known := rooms[name]
		isForTests := strings.HasSuffix(name, "test") || strings.HasPrefix(name, "defences") || name == "freeport" || name == "harness"
		if !known && !isForTests {
			t.Errorf("internal/%s has no row in this test's table", name)
		}
	}
}

// TestRoomsInOrder: in the table of docs/code.md, each room is below those that it imports.
func TestRoomsInOrder(t *testing.T) {
	_, table, _ := strings.Cut(readPage(t, "docs/code.md").text, "| package | its job |")
	above := make(map[string]bool)
	for line := range strings.Lines(table) {
		name, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "`")
		if !ok || !strings.HasPrefix(line, "| `") {
			if len(above) > 0 {
				break
			}
			continue
		}
		for _, imported := range rooms[name].ours {
			if !above[imported] {
				t.Errorf("%s imports %s, which is not above it", name, imported)
			}
		}
		above[name] = true
	}
	if len(above) != len(rooms) {
		t.Errorf("the table has %d rooms of %d", len(above), len(rooms))
	}
}

// TestRoomsAreClosed: the check of TestRooms sees what it should.
func TestRoomsAreClosed(t *testing.T) {
	for name, path := range map[string]string{
		"seal": ourModule + "/internal/session", "idtoken": "net/http", "session": "github.com/caddyserver/caddy/v2",
		"vipps": ourModule + "/internal/phone", "pages": "go.uber.org/zap", "merchant": ourModule,
	} {
		if len(rooms[name].mistakes(name, []string{"strings", path})) != 1 {
			t.Errorf("%s may import %s", name, path)
		}
	}
}

// responseWriters are the files at the root that may name http.ResponseWriter: everything else there cannot answer a
// request.
var responseWriters = []string{
	"module.go", "visit.go", "failures.go", "endpoints.go", "admin.go", "handler_auth.go", "handler_require.go", "handler_callback.go", "handler_session.go", "handler_site.go", "handler_assertion.go",
	"handler_phone.go", "handler_phone_answers.go", "handler_webhook.go",
}

const maxFileLines, maxFunctionLines = 330, 45

// TestSizes: files and functions can be seen whole.
func TestSizes(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	inside, err := filepath.Glob("internal/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, inside...) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(string(content), "\n"); lines > maxFileLines {
			t.Errorf("%s has %d lines", file, lines)
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, file, content, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		checkFunctions(t, fset, file, parsed)
	}
}

func checkFunctions(t *testing.T, fset *token.FileSet, name string, file *ast.File) {
	for _, decl := range file.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if lines := fset.Position(function.End()).Line - fset.Position(function.Pos()).Line; lines > maxFunctionLines {
			t.Errorf("%s: %s has %d lines", name, function.Name.Name, lines)
		}
		if strings.Contains(name, "/") || slices.Contains(responseWriters, name) {
			continue
		}
		for _, field := range function.Type.Params.List {
			if selector, ok := field.Type.(*ast.SelectorExpr); ok && selector.Sel.Name == "ResponseWriter" {
				t.Errorf("%s: %s can answer a request", name, function.Name.Name)
			}
		}
	}
}

// TestNoSimulatorInProduction: the root package imports nothing of the simulator, at whatever remove.
func TestNoSimulatorInProduction(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	dependencies := strings.Fields(string(out))
	if !slices.Contains(dependencies, "github.com/caddyserver/caddy/v2") {
		t.Fatalf("go list -deps answers %s", out)
	}
	for _, dependency := range dependencies {
		if strings.Contains(dependency, "vippslogin/") && (strings.Contains(dependency, "/simulator") || strings.HasSuffix(dependency, "test")) {
			t.Errorf("%s would be in everybody's Caddy", dependency)
		}
	}
}
