// Command run takes each defence out that SECURITY.md names, one at a time, and sees its test fail. No file
// of the repository is changed (go test -overlay). Run it from the repository's root: go run
// ./internal/defences/run [regexp], where the expression selects defences by threat, name, file or test.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-vipps/vippslogin/internal/defences"
)

func main() {
	all, err := selected(os.Args[1:])
	if err == nil {
		fmt.Printf("%d defences; first their tests with all of them in place\n", len(all))
		err = passAsTheyAre(all)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	bad := 0
	for _, d := range all {
		verdict, said := takeOut(d)
		if verdict != ok {
			bad++
		}
		fmt.Printf("%-8s  %s: %s (%s: %s)\n", verdict, d.Threat, d.Name, d.Test, said)
	}
	fmt.Printf("%d defences, %d of them not seen to matter\n", len(all), bad)
	if bad > 0 {
		os.Exit(1)
	}
}

// What becomes of a defence that was taken out.
const (
	ok       = "ok"       // the test failed, as it should
	survived = "SURVIVED" // the test does not notice
	broken   = "BROKEN"   // the table is wrong: it does not compile, or the test hangs
)

func selected(args []string) ([]defences.Defence, error) {
	all := defences.All()
	if len(args) == 0 {
		return all, nil
	}
	pattern, err := regexp.Compile(strings.Join(args, " "))
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(d defences.Defence) bool {
		return !pattern.MatchString(strings.Join([]string{d.Threat, d.Name, d.File, d.Test}, "\n"))
	})
	if len(all) == 0 {
		return nil, fmt.Errorf("no defence is like %s", pattern)
	}
	return all, nil
}

// passAsTheyAre runs the tests with all defences in place: one that fails in any case shows nothing.
func passAsTheyAre(all []defences.Defence) error {
	var names []string
	for _, d := range all {
		name, _, _ := strings.Cut(d.Test, "/")
		names = append(names, name)
	}
	slices.Sort(names)
	pattern := "^(" + strings.Join(slices.Compact(names), "|") + ")$"
	packages := make(map[string][]string) // by module
	for _, d := range all {
		module, path := d.Package()
		if !slices.Contains(packages[module], path) {
			packages[module] = append(packages[module], path)
		}
	}
	for module, paths := range packages {
		out, err := exec.Command("go", append([]string{"-C", module, "test", "-timeout", "20m", "-run", pattern}, paths...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("the tests fail with all defences in place:\n%s", out)
		}
	}
	return nil
}

// takeOut runs the test without the defence. It says which verdict that is, and what the test said.
func takeOut(d defences.Defence) (verdict, said string) {
	overlay, err := writeOverlay(d)
	if err != nil {
		return broken, err.Error()
	}
	defer os.RemoveAll(filepath.Dir(overlay))
	// -w: linking takes half of the time, and nobody debugs this.
	module, path := d.Package()
	cmd := exec.Command("go", "-C", module, "test", "-overlay", overlay, "-vet=off", "-ldflags=-w", "-count=1", "-timeout", "3m", "-run", runPattern(d.Test), path)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return broken, err.Error()
	}
	return judge(d.Test, string(out), err == nil)
}

// writeOverlay writes the file without the defence into a folder of its own, and what tells go so.
func writeOverlay(d defences.Defence) (overlay string, err error) {
	without, err := d.Without()
	if err != nil {
		return "", err
	}
	file, err := filepath.Abs(d.File)
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp("", "defences")
	if err != nil {
		return "", err
	}
	changed := filepath.Join(folder, filepath.Base(file))
	overlay = filepath.Join(folder, "overlay.json")
	content, err := json.Marshal(map[string]any{"Replace": map[string]string{file: changed}})
	return overlay, errors.Join(err, os.WriteFile(changed, []byte(without), 0o600), os.WriteFile(overlay, content, 0o600))
}

// runPattern is the -run expression of one test or subtest and no other.
func runPattern(test string) string {
	var parts []string
	for part := range strings.SplitSeq(test, "/") {
		parts = append(parts, "^"+regexp.QuoteMeta(strings.ReplaceAll(part, " ", "_"))+"$")
	}
	return strings.Join(parts, "/")
}

var message = regexp.MustCompile(`(?m)^ +\w+_test\.go:\d+: .*|^panic: .*`)

func judge(test, out string, passed bool) (verdict, said string) {
	name, _, _ := strings.Cut(test, "/")
	failed := "--- FAIL: " + name + " "
	switch {
	case strings.Contains(out, "[build failed]"), strings.Contains(out, "[setup failed]"):
		return broken, "it does not compile:\n" + out
	case strings.Contains(out, "panic: test timed out"):
		return broken, "the test hangs"
	case strings.Contains(out, "no tests to run"):
		return broken, "there is no such test"
	case passed:
		return survived, "it passes"
	case !strings.Contains(out, failed):
		return broken, "it failed, and not by itself:\n" + out
	}
	_, after, _ := strings.Cut(out, failed)
	first := strings.TrimSpace(message.FindString(after))
	return ok, first[:min(len(first), 200)] // some quote a whole page
}
