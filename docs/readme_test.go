package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
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

// documentation is every page there is, by its path.
func documentation(t *testing.T) []docPage {
	t.Helper()
	files, err := filepath.Glob("docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no docs: %v", err)
	}
	var pages []docPage
	for _, file := range append([]string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md"}, files...) {
		pages = append(pages, readPage(t, file))
	}
	return pages
}

// docPage is a file of documentation.
type docPage struct {
	file, text string
	blocks     []docBlock
}

// docBlock is a fenced block of a page.
type docBlock struct {
	line           int
	language, text string
}

func readPage(t *testing.T, file string) docPage {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := docPage{file: file, text: string(content)}
	for _, at := range fenced.FindAllStringSubmatchIndex(p.text, -1) {
		p.blocks = append(p.blocks, docBlock{strings.Count(p.text[:at[0]], "\n") + 1, p.text[at[2]:at[3]], p.text[at[4]:at[5]]})
	}
	return p
}

// section is what stands under a heading, up to the next one that is not below it.
func (p docPage) section(t *testing.T, heading string) string {
	t.Helper()
	_, text, ok := strings.Cut("\n"+p.text, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", p.file, heading)
	}
	level := strings.Index(heading, " ")
	if end := regexp.MustCompile(fmt.Sprintf(`(?m)^#{1,%d} `, level)).FindStringIndex(text); end != nil {
		text = text[:end[0]]
	}
	return text
}

// whole is a Caddyfile with global options, whether or not the documented one has them.
func (b docBlock) whole() string {
	if strings.HasPrefix(b.text, "{\n") {
		return b.text
	}
	return readmeKeys + b.text
}

// blockLanguages are those a block may have. Caddyfiles and JSON are configs, and every sh block is a
// command: all of them are run. integration/stacks runs the others of docs/upstream-headers.md.
var blockLanguages = []string{"caddyfile", "json", "sh", "text", "php", "python", "ruby", "java", "perl", "csharp", "js", "html", "go", "nginx", "ini", "xml"}

// TestConfigsInDocumentation: people copy what stands there, so every config works.
func TestConfigsInDocumentation(t *testing.T) {
	harness.SetConfigVariables(t)
	t.Setenv("REDIS_USER", "caddy")
	t.Setenv("REDIS_PASSWORD", "resolved-redis-password")
	t.Setenv("CONSENT_WEBHOOK_SECRET", "resolved-consent-secret-of-32-characters-and-more")
	files := documentedFiles(t)
	found := make(map[string]int)
	for _, p := range documentation(t) {
		for _, b := range p.blocks {
			found[p.file+" "+b.language]++
			if !slices.Contains(blockLanguages, b.language) {
				t.Errorf("%s:%d: %q is no language we know: is it run?", p.file, b.line, b.language)
			}
			t.Run(fmt.Sprintf("%s:%d %s", p.file, b.line, b.language), func(t *testing.T) {
				testDocumentedConfig(t, b, files)
			})
		}
		if fences := strings.Count("\n"+p.text, "\n```"); fences != 2*len(p.blocks) {
			t.Errorf("%s: %d fences, of which %d blocks were read: every block needs a language", p.file, fences, len(p.blocks))
		}
	}
	for _, want := range []string{"README.md caddyfile", "docs/directive.md caddyfile", "docs/json.md caddyfile", "docs/json.md json"} {
		if found[want] == 0 {
			t.Errorf("there is no %s block: where are the configs?", want)
		}
	}
}

// documentedFiles puts what the documented configs name in other places: certificates, and logs.
func documentedFiles(t *testing.T) *strings.Replacer {
	t.Helper()
	cert, key := harness.NewCertificate(t)
	return strings.NewReplacer("/etc/caddy/client.pem", cert, "/etc/caddy/client.key", key, "/etc/caddy/legacy-ca.pem", cert,
		"/var/log/caddy/", t.TempDir()+"/")
}

func testDocumentedConfig(t *testing.T, b docBlock, files *strings.Replacer) {
	t.Helper()
	config := []byte(b.text)
	switch b.language {
	case "caddyfile":
		var err error
		if config, err = harness.Adapt(t, files.Replace(b.whole())); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(config), `"vipps_login"`) {
			t.Error("what has it to do with us?")
		}
	case "json":
	default:
		return
	}
	if err := harness.Validate(config); err != nil {
		t.Errorf("caddy validate: %v", err)
	}
}

// syntaxes are the syntax blocks in the comments of caddyfile.go: the global option's and the
// directive's.
func syntaxes(t *testing.T) []string {
	t.Helper()
	source, err := os.ReadFile("caddyfile.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?m)^//\tvipps_login (?:.*\n//\t.*)+`).FindAllString(string(source), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d syntax blocks in caddyfile.go, want the global option's and the directive's", len(blocks))
	}
	for i := range blocks {
		blocks[i] = strings.ReplaceAll(blocks[i], "//", "")
	}
	return blocks
}

// TestSyntaxInDocumentation: what the page says the syntax is, is the syntax that the code says; and it
// says something about each word of it.
func TestSyntaxInDocumentation(t *testing.T) {
	directive, readme := readPage(t, "docs/directive.md"), readPage(t, "README.md")
	documented := regexp.MustCompile(`\s+`).ReplaceAllString(directive.text, " ")
	for i, syntax := range syntaxes(t) {
		if joined := strings.Join(strings.Fields(syntax), " "); !strings.Contains(documented, joined) {
			t.Errorf("docs/directive.md does not have this syntax: %s", joined)
		}
		about := directive.section(t, []string{"## The global option: `vipps_login`", "## The directive: `vipps_login`"}[i])
		for _, line := range regexp.MustCompile(`(?m)^\t(\t+)([a-z_]+)`).FindAllStringSubmatch(syntax, -1) {
			if !regexp.MustCompile("(?m)^ *- .*?\\*\\*`" + line[2] + "[ `]").MatchString(about) {
				t.Errorf("docs/directive.md has no bullet on %s", line[2])
			}
			if i == 1 && line[1] == "\t" && !strings.Contains(readme.section(t, "## The directive: `vipps_login`"), "\n| `"+line[2]) {
				t.Errorf("the README's table lacks %s", line[2])
			}
		}
	}
}

// TestFilesInDocumentation: the map of the code names files that are there, and all of them.
func TestFilesInDocumentation(t *testing.T) {
	code := readPage(t, "docs/code.md")
	named := make(map[string]bool)
	for _, name := range regexp.MustCompile("`([^`]+(?:\\.go|/))`").FindAllStringSubmatch(code.text, -1) {
		if _, err := os.Stat(name[1]); err != nil {
			t.Errorf("docs/code.md names %s: %v", name[1], err)
		}
	}
	for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(code.section(t, "## The root"), -1) {
		named[name[1]] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") && !named[file] {
			t.Errorf("the map in docs/code.md does not name %s", file)
		}
	}
}

// TestPictures: the README shows every picture of the demo, which `make screenshots` takes, and says what is on it. They are
// small.
func TestPictures(t *testing.T) {
	shown := make(map[string]bool)
	for _, found := range regexp.MustCompile(`!\[([^\]]*)\]\((docs/[^)]*)\)`).FindAllStringSubmatch(readPage(t, "README.md").text, -1) {
		shown[found[2]] = len(found[1]) > 10
	}
	pictures, err := filepath.Glob("docs/pictures/*")
	if err != nil || len(pictures) != 5 {
		t.Fatalf("%v: %v", pictures, err)
	}
	for _, picture := range pictures {
		info, err := os.Stat(picture)
		if err != nil {
			t.Fatal(err)
		}
		if !shown[picture] || info.Size() > 50<<10 {
			t.Errorf("%s: the README shows it with a text: %v; %d bytes", picture, shown[picture], info.Size())
		}
	}
}
