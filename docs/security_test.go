package docs_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/defences"
)

// flawsOfOthers are the advisories about software of this kind that each need a test of ours.
var flawsOfOthers = strings.Fields(`
	CVE-2020-5233 CVE-2020-4037 CVE-2022-24794 CVE-2022-23527 CVE-2024-21497 CVE-2021-29456
	CVE-2025-54576 CVE-2026-40575 CVE-2026-41059 CVE-2026-27587
	CVE-2026-30851
	CVE-2025-64484 CVE-2026-52845 GHSA-49wc-4hcv-v58q
	CVE-2025-48865 CVE-2026-25748
	CVE-2024-21498 CVE-2024-21499 CVE-2023-36456
	CVE-2023-52430 CVE-2024-21496
	CVE-2024-21492
	CVE-2021-41246 GHSA-f24x-5g9q-753f
	CVE-2024-24814 CVE-2023-28625 CVE-2026-54789 CVE-2026-55149
	CVE-2021-32791 CVE-2023-35941
	CVE-2025-31492
	CVE-2024-39315
	GHSA-wcvh-g65p-v576 CVE-2024-47616
	CVE-2026-27586
	CVE-2024-21493
	CVE-2026-27588
	CVE-2024-21500 CVE-2025-24806
	CVE-2025-27144 CVE-2024-28180
	GHSA-j8px-rmrx-76h9`)

var namedTest = regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")

// threatRows are the rows of the tables of threats in SECURITY.md.
func threatRows(t *testing.T) (rows []string) {
	t.Helper()
	page, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, _ := strings.Cut(string(page), "## Threats, defences, tests")
	for line := range strings.Lines(tables) {
		if strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|--") && !strings.HasPrefix(line, "| threat ") {
			rows = append(rows, line)
		}
	}
	if len(rows) < 30 {
		t.Errorf("only %d rows", len(rows))
	}
	return rows
}

// testsHere are the names of this package's tests.
func testsHere(t *testing.T) map[string]bool {
	t.Helper()
	exists := map[string]bool{}
	for name := range defences.TestFolders() {
		exists[name] = true
	}
	return exists
}

// TestSecurityPage: every test that SECURITY.md names exists, and every flaw of others has a row with one.
func TestSecurityPage(t *testing.T) {
	exists := testsHere(t)
	flaw := regexp.MustCompile(`CVE-\d+-\d+|GHSA(?:-[0-9a-z]{4}){3}`)
	shown := map[string]bool{}
	for _, line := range threatRows(t) {
		tests := namedTest.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 {
			t.Errorf("no test in the row: %s", line)
		}
		for _, test := range tests {
			if !exists[test[1]] {
				t.Errorf("there is no %s", test[1])
			}
		}
		for _, number := range flaw.FindAllString(line, -1) {
			shown[number] = true
			if !slices.Contains(flawsOfOthers, number) {
				t.Errorf("%s is not in this test's list", number)
			}
		}
	}
	for _, number := range flawsOfOthers {
		if !shown[number] {
			t.Errorf("%s is in no row of SECURITY.md", number)
		}
	}
}

// TestDefences holds the table of `make defences` true, and SECURITY.md with it: each defence stands in the
// code as the table has it, its test is one that its row names, and no row is without a defence.
func TestDefences(t *testing.T) {
	rows, exists := threatRows(t), testsHere(t)
	defended, seen := map[string]bool{}, map[defences.Defence]bool{}
	for _, d := range defences.All() {
		what := d.Threat + ": " + d.Name
		if _, err := d.Without(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if seen[d] {
			t.Errorf("%s: twice", what)
		}
		seen[d] = true
		test, _, _ := strings.Cut(d.Test, "/")
		if !exists[test] {
			t.Errorf("%s: there is no %s", what, test)
		}
		named := 0
		for _, row := range rows {
			if strings.HasPrefix(row, "| "+d.Threat) {
				named++
				defended[row] = true
				if !strings.Contains(row, "`"+test+"`") {
					t.Errorf("%s: SECURITY.md does not name %s there", what, test)
				}
			}
		}
		if named != 1 {
			t.Errorf("%s: %d rows of SECURITY.md begin like that, want one", what, named)
		}
	}
	for _, row := range rows {
		if !defended[row] {
			t.Errorf("no defence in internal/defences for the row: %s", row)
		}
	}
}
