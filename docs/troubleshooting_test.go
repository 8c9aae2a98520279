package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestStateLinesInDocumentation: the log lines in the table about the shared state are those of the code, and none is missing.
func TestStateLinesInDocumentation(t *testing.T) {
	_, section, ok := strings.Cut(readPage(t, "docs/troubleshooting.md").text, "\n### The shared state\n")
	if !ok {
		t.Fatal("there is no section about the shared state")
	}
	var source strings.Builder
	for _, pattern := range []string{"*.go", "internal/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "internal/defences/") {
				continue
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(content)
		}
	}
	var documented []string
	for _, line := range regexp.MustCompile(`(?m)^\| (`+"`"+`.*?) \| `).FindAllStringSubmatch(section, -1) {
		for _, text := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line[1], -1) {
			documented = append(documented, text[1])
			if !strings.Contains(source.String(), `"`+text[1]) {
				t.Errorf("no line of the log begins with %q", text[1])
			}
		}
	}
	about := regexp.MustCompile(`state|storage|storage's|stored|ended|known|lost`)
	for _, line := range regexp.MustCompile(`ogger\.(?:Error|Warn)\("([^"]+)"`).FindAllStringSubmatch(source.String(), -1) {
		if about.MatchString(line[1]) && !slices.ContainsFunc(documented, func(text string) bool { return strings.HasPrefix(line[1], text) }) {
			t.Errorf("the log line %q is not documented", line[1])
		}
	}
	if len(documented) < 10 {
		t.Errorf("only %d lines", len(documented))
	}
}
