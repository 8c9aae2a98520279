package vippslogin

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A flat package has no compiler walls; these are they. What a file may not import keeps the arrows
// pointing down: below the handlers nobody logs, answers a request, or knows Caddy.
var forbiddenImports = map[string][]string{
	"merchants.go":           {"net/http", "caddy", "zap"},
	"merchantsfile.go":       {"net/http", "caddy", "zap", "os", "time"},
	"merchantsfile_watch.go": {"net/http"},
	"seal.go":                {"net/http", "caddy", "zap", "time"},
	"session.go":             {"net/http", "caddy", "zap"},
	"claims.go":              {"net/http", "caddy", "zap"},
	"cookies.go":             {"caddy", "zap"},
	"loginstate.go":          {"caddy", "zap"},
	"idtoken.go":             {"net", "net/http", "caddy", "zap"},
	"keyset.go":              {"net/http", "caddy", "zap"},
	"kept.go":                {"net/http", "caddy", "zap"},
	"partnerclient.go":       {"caddy", "zap"},
	"redeemed.go":            {"net/http", "caddy/v2", "zap"},
	"storage.go":             {"net/http", "caddy/v2", "zap"},
	"phonelogin.go":          {"net/http", "caddy/v2", "zap"},
	"webhook.go":             {"caddy", "zap"},
	"waiters.go":             {"net/http", "caddy", "zap"},
	"partnerclient_phone.go": {"caddy", "zap"},
	"identity.go":            {"zap"},
	"pages.go":               {"caddy", "zap"},
	"revocations.go":         {"net/http", "caddy", "zap"},
	"revocationstore.go":     {"net/http", "caddy/v2", "zap"},
	"tellings.go":            {"net/http", "caddy", "zap"},
	"texts.go":               {"net/http", "caddy", "zap"},
	"metrics.go":             {"net/http", "caddy", "zap"},
	"tracing.go":             {"caddy", "zap"},
	"caddyfile.go":           {"net/http", "zap", "os", "time"},
	"command.go":             {"net/http", "zap"},
	"check.go":               {"net/http", "caddy", "zap", "os"},
	"check_findings.go":      {"net/http", "caddy", "zap", "os", "time"},
	"check_report.go":        {"net/http", "caddy", "zap", "os", "time"},
	"check_targets.go":       {"net/http", "zap"},
	"partnerclient_check.go": {"caddy", "zap", "os"},
}

// responseWriters may name http.ResponseWriter: everything else cannot answer a request.
var responseWriters = []string{
	"module.go", "cookies.go", "lastuse.go", "loginstate.go", "pages.go", "failures.go", "endpoints.go", "phoneanswers.go",
	"admin.go", "handler_consent.go", "handler_auth.go", "handler_callback.go", "handler_session.go", "handler_phone.go", "handler_phone_callback.go",
}

func TestHouse(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		checked++
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		checkImports(t, name, file)
		checkFunctions(t, fset, name, file)
	}
	if checked < len(forbiddenImports) {
		t.Errorf("only %d files were checked", checked)
	}
}

func checkImports(t *testing.T, name string, file *ast.File) {
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(path, "vippslogin/simulator") {
			t.Errorf("%s imports the simulator", name)
		}
		for _, forbidden := range forbiddenImports[name] {
			if path == forbidden || strings.Contains(path, "/"+forbidden) {
				t.Errorf("%s imports %s: that is not its job", name, path)
			}
		}
	}
}

func checkFunctions(t *testing.T, fset *token.FileSet, name string, file *ast.File) {
	for _, decl := range file.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if lines := fset.Position(function.End()).Line - fset.Position(function.Pos()).Line; lines > 80 {
			t.Errorf("%s: %s has %d lines", name, function.Name.Name, lines)
		}
		if slices.Contains(responseWriters, name) {
			continue
		}
		for _, field := range function.Type.Params.List {
			if selector, ok := field.Type.(*ast.SelectorExpr); ok && selector.Sel.Name == "ResponseWriter" {
				t.Errorf("%s: %s can answer a request", name, function.Name.Name)
			}
		}
	}
}
