package vippslogin_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readmeKeys is put in front of a Caddyfile that has no global options of its own.
const readmeKeys = `{
	vipps_login {
		client_id {env.VIPPS_CLIENT_ID}
		client_secret {env.VIPPS_CLIENT_SECRET}
		subscription_key {env.VIPPS_SUBSCRIPTION_KEY}
	}
}

`

// fenced is a fenced block and its language.
var fenced = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// TestConfigsInDocumentation: people copy what stands there, so every config works.
func TestConfigsInDocumentation(t *testing.T) {
	setConfigVariables(t)
	docs, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append([]string{"README.md"}, docs...) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		found := make(map[string]int)
		for _, at := range fenced.FindAllStringSubmatchIndex(text, -1) {
			language, block := text[at[2]:at[3]], text[at[4]:at[5]]
			found[language]++
			line := strings.Count(text[:at[0]], "\n") + 1
			t.Run(fmt.Sprintf("%s:%d %s", file, line, language), func(t *testing.T) {
				testDocumentedConfig(t, language, block)
			})
		}
		if file == "README.md" && (found["caddyfile"] == 0 || found["json"] == 0) {
			t.Errorf("%s has %v: where are the configs?", file, found)
		}
		if fences := strings.Count("\n"+text, "\n```"); fences != 2*sum(found) {
			t.Errorf("%s: %d fences, of which %v were read: every block needs a language", file, fences, found)
		}
	}
}

func sum(counts map[string]int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}

func testDocumentedConfig(t *testing.T, language, block string) {
	t.Helper()
	config := []byte(block)
	switch language {
	case "caddyfile":
		if !strings.HasPrefix(block, "{\n") {
			block = readmeKeys + block
		}
		var err error
		if config, err = adapt(t, block); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(config), `"vipps_login"`) {
			t.Error("what has it to do with us?")
		}
	case "json":
	default:
		return
	}
	if err := validate(config); err != nil {
		t.Errorf("caddy validate: %v", err)
	}
}

// TestSyntaxInDocumentation: what the README says the syntax is, is the syntax that the code says.
func TestSyntaxInDocumentation(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("caddyfile.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?m)^//\tvipps_login (?:.*\n//\t.*)+`).FindAllString(string(source), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d syntax blocks in caddyfile.go, want the global option's and the directive's", len(blocks))
	}
	documented := regexp.MustCompile(`\s+`).ReplaceAllString(string(readme), " ")
	for _, block := range blocks {
		syntax := strings.Join(strings.Fields(strings.ReplaceAll(block, "//", " ")), " ")
		if !strings.Contains(documented, syntax) {
			t.Errorf("the README does not have this syntax: %s", syntax)
		}
	}
}

// TestFilesInDocumentation: the map of the code in the README names files that are there, and all of
// them.
func TestFilesInDocumentation(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(readme), "## The code\n")
	if !ok {
		t.Fatal("there is no section on the code")
	}
	named := make(map[string]bool)
	for _, name := range regexp.MustCompile("`([^`]+(?:\\.go|/))`").FindAllStringSubmatch(section, -1) {
		named[name[1]] = true
		if _, err := os.Stat(name[1]); err != nil {
			t.Errorf("the README names %s: %v", name[1], err)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") && !named[file] {
			t.Errorf("the README does not name %s", file)
		}
	}
}
