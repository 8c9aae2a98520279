package docs_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSimulatorPage: docs/simulator.md has every word of the simulator's Caddyfile and no other, every API path, and a
// source in every row.
func TestSimulatorPage(t *testing.T) {
	page := readPage(t, "docs/simulator.md").text
	code := readPage(t, "simulator/caddyfile.go").text
	words := regexp.MustCompile(`(?m)^//\s+([a-z_]+)\b`).FindAllStringSubmatch(code[strings.Index(code, "//	vipps_simulator"):strings.Index(code, "// merchant and user can be repeated")], -1)
	_, block, _ := strings.Cut(page, "```text\nvipps_simulator")
	block, _, _ = strings.Cut(block, "```")
	var inCode, inPage []string
	for _, word := range words[1:] {
		inCode = append(inCode, word[1])
	}
	for _, word := range regexp.MustCompile(`(?m)^\s+([a-z_]+)\b`).FindAllStringSubmatch(block, -1) {
		inPage = append(inPage, word[1])
	}
	slices.Sort(inCode)
	slices.Sort(inPage)
	if len(inCode) < 20 || !slices.Equal(inCode, inPage) {
		t.Errorf("the page has %v\nand the code %v", inPage, inCode)
	}
	manners := readPage(t, "simulator/manners.go").text
	for _, value := range regexp.MustCompile(`(?m)^\t\w+\s+= "([^"]+)"`).FindAllStringSubmatch(manners, -1) {
		if !strings.Contains(block, value[1]) {
			t.Errorf("%q is a manner, and not in the syntax", value[1])
		}
	}
	for _, file := range []string{"simulator/webhooks.go", "simulator/management.go"} {
		for _, path := range regexp.MustCompile(`Path\s+= "([^"]+)"`).FindAllStringSubmatch(readPage(t, file).text, -1) {
			if !strings.Contains(page, path[1]) {
				t.Errorf("%s is not in the page", path[1])
			}
		}
	}
	_, tables, _ := strings.Cut(page, "## Logging in with a browser")
	source := regexp.MustCompile(`docs|partner|seen|Hydra|CIBA|RFC|OIDC|assumed|the simulator's own`)
	rows := 0
	for line := range strings.Lines(tables) {
		cells := strings.Split(strings.ReplaceAll(strings.Trim(strings.TrimSpace(line), "|"), `\|`, "/"), "|")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| behaviour") {
			continue
		}
		rows++
		if len(cells) != 3 || strings.TrimSpace(cells[1]) == "" || !source.MatchString(cells[2]) {
			t.Errorf("no source, or no way to see it: %s", line)
		}
	}
	if rows < 40 {
		t.Errorf("%d rows", rows)
	}
}
