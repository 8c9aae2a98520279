package stacks_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

const (
	page  = "docs/upstream-headers.md"
	begin = "<!-- The tables are written by `make test-stacks`. -->\n"
	end   = "<!-- End of the tables. -->\n"
)

// holdAgainstDocs compares the tables of the documentation with what was found, or with -update writes them.
func holdAgainstDocs(t *testing.T, findings []finding) {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(content), begin)
	documented, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the tables", page)
	}
	found := tables(findings)
	if *harness.UpdateGolden {
		if err := os.WriteFile(page, []byte(before+begin+"\n"+versions(t)+"\n"+found+end+after), 0o644); err != nil { //nolint:gosec // a page
			t.Fatal(err)
		}
		return
	}
	_, documented, _ = strings.Cut(strings.TrimPrefix(documented, "\n"), "\n\n") // the versions may be others
	if documented != found {
		t.Errorf("%s says otherwise (`make test-stacks` writes it). Found:\n%s", page, found)
	}
}

// tables are what docs/upstream-headers.md shows.
func tables(findings []finding) string {
	var b strings.Builder
	b.WriteString("| stack | by | `utf8` | `percent` | `base64url` | 8 KiB | 16 KiB | 31 KiB | a line of 12 KiB | its cookie |\n|" + strings.Repeat("---|", 10) + "\n")
	for i, s := range stacks {
		f := findings[i]
		cells := append(append([]string{s.String(), s.protocol}, f.texts...), f.sizes...)
		fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(cells, " | "), f.cookie)
	}
	b.WriteString("\n| stack | by | any, behind the plugin | `X_Vipps_Sub` | `X.Vipps.Sub` | `X-Vipps-Sub` twice | `X-Vipps-Sub` named in `Connection` |\n|" + strings.Repeat("---|", 7) + "\n")
	for i, s := range stacks {
		if f := findings[i]; s.setting == "" {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", s, s.protocol, f.forged, f.underscore, f.dot, f.twice, f.connection)
		}
	}
	return b.String() + "\n"
}

// versions names what the tables were made with.
func versions(t *testing.T) string {
	t.Helper()
	packages := []string{"apache2-bin", "nginx", "php8.2-fpm", "libapache2-mod-wsgi-py3", "gunicorn", "python3-flask", "python3-django", "uwsgi-core", "puma", "ruby-rack", "libtomcat10-java", "nodejs"}
	out, err := exec.Command("dpkg-query", append([]string{"--show", "--showformat", "${Package} ${Version}\n"}, packages...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		name, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, rest, ok := strings.Cut(version, ":"); ok {
			version = rest
		}
		version, _, _ = strings.Cut(version, "-")
		found = append(found, name+" "+version)
	}
	return "Found with " + strings.Join(found, ", ") + ".\n"
}
