// Package examples_test starts every example as it is, and does what its visitors do.
package examples_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

const (
	kari  = "4712345678"
	bjorn = "4740000001"
	nora  = "4740000002" // not of age
)

// The keys that the examples have from their environment.
const (
	partnerID     = "partner-id"
	partnerSecret = "partner-secret"
	partnerKey    = "partner-subscription-key"
)

// TestValidate: `caddy validate` and `caddy fmt` have nothing to say about any example.
func TestValidate(t *testing.T) {
	files, err := filepath.Glob("*/Caddyfile*")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d examples: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if file == "redis/Caddyfile" { // whose certificates must be there
				content = bytes.ReplaceAll(content, []byte("/etc/caddy/redis"), []byte(newRedisSetup(t, "127.0.0.1").folder+"/caddy"))
			}
			validate(t, file, string(content))
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), "README.md")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestReadmes: the Caddyfiles in the examples' READMEs are good ones, too.
func TestReadmes(t *testing.T) {
	files, err := filepath.Glob("*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		for _, site := range sitesIn(t, file) {
			validate(t, file, keys+site)
			found++
		}
	}
	if found == 0 {
		t.Error("there are none")
	}
}

// sitesIn returns the Caddyfiles of a README.
func sitesIn(t *testing.T, readme string) []string {
	t.Helper()
	content, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	var sites []string
	for _, match := range regexp.MustCompile("(?ms)^```caddyfile\n(.*?)^```$").FindAllStringSubmatch(string(content), -1) {
		sites = append(sites, match[1])
	}
	return sites
}

// keys are the global options of a Caddyfile that shows a site alone.
const keys = `{
	vipps_login {
		client_id {env.VIPPS_CLIENT_ID}
		client_secret {env.VIPPS_CLIENT_SECRET}
		subscription_key {env.VIPPS_SUBSCRIPTION_KEY}
	}
}

`

var environment = regexp.MustCompile(`\{env\.([A-Z_]+)\}`)

// validate does what `caddy validate` does. What `caddy fmt` would change is one of the warnings.
func validate(t *testing.T, file, caddyfile string) {
	t.Helper()
	for _, match := range environment.FindAllStringSubmatch(caddyfile, -1) {
		t.Setenv(match[1], strings.Repeat("x", 40))
	}
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": file})
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range warnings {
		t.Errorf("%s", warning)
	}
	var parsed caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &parsed); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&parsed); err != nil {
		t.Error(err)
	}
}

// filters are the global options to test a defence against these fields with. Caddy itself drops names with
// "_" and "." since 2.11; people switch that off for other headers, and then the defence is all there is.
func filters(fields ...string) map[string]string {
	var under, dot []string
	for _, field := range fields {
		for _, spelling := range spellings(field) {
			switch {
			case strings.Contains(spelling, "_"):
				under = append(under, spelling)
			case strings.Contains(spelling, "."):
				dot = append(dot, spelling)
			}
		}
	}
	return map[string]string{
		"Caddy filters": "",
		"nothing filters": fmt.Sprintf("servers {\n\t\texpected_underscore_headers %s\n\t\texpected_dot_headers %s\n\t}",
			strings.Join(under, " "), strings.Join(dot, " ")),
	}
}

// spellings are fields that one upstream or another takes for field.
func spellings(field string) []string {
	under, dot := strings.ReplaceAll(field, "-", "_"), strings.ReplaceAll(field, "-", ".")
	last := strings.LastIndexByte(field, '-')
	return []string{
		field, strings.ToLower(field), strings.ToUpper(field),
		under, strings.ToLower(under), strings.ToUpper(under),
		dot, strings.ToLower(dot),
		field[:last] + "_" + field[last+1:], strings.ToLower(field[:last]) + "_" + field[last+1:],
		strings.ReplaceAll(field[:last], "-", ".") + "_" + field[last+1:],
	}
}
