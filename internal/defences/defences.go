// Package defences says how to take each defence out that SECURITY.md names, and which test must fail
// then. The command in run does so; security_test.go in the root package holds the table true.
package defences

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// Defence is one defence against a threat of SECURITY.md, and the way to do without it.
type Defence struct {
	Threat string // how the row's first column begins
	Name   string // what stops it, in a few words
	File   string // from the repository's root
	Old    string // text that stands once in the file
	New    string // what stands there without the defence; it compiles
	Test   string // must fail then; a subtest behind a slash, where the whole test takes long
}

// All are the defences. Within a table, those of one threat stand together.
func All() []Defence {
	var all []Defence
	for _, table := range [][]Defence{identityHeaders, paths, requests, logins, cookies, revocations, tokens, provider, phones, life, reality, assertions, stepUp, siteSessions, siteLogins, sharedState} {
		all = append(all, table...)
	}
	return all
}

// Folder returns the folder of the package that has the test, from the repository's root.
func (d Defence) Folder() string {
	name, _, _ := strings.Cut(d.Test, "/")
	return TestFolders()[name]
}

// Package returns the folder of the module that has the test, from the repository's root, and the package's path in it.
func (d Defence) Package() (module, path string) {
	folder := d.Folder()
	for _, nested := range []string{"docs", "integration", "examples", "bench"} {
		if folder == nested {
			return nested, "."
		}
		if rest, isIn := strings.CutPrefix(folder, nested+"/"); isIn {
			return nested, "./" + rest
		}
	}
	return ".", "./" + folder
}

// TestFolders returns the folder of each test, from the repository's root, which is the working directory.
var TestFolders = sync.OnceValue(func() map[string]string {
	folders := make(map[string]string)
	for _, pattern := range []string{"*_test.go", "internal/*/*_test.go", "integration/*/*_test.go", "docs/*_test.go", "examples/*_test.go", "bench/hotpath/*_test.go", "redis/*_test.go"} {
		files, _ := filepath.Glob(pattern) // errs on a bad pattern only
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			for _, found := range testFunction.FindAllStringSubmatch(string(source), -1) {
				folders[found[1]] = filepath.Dir(file)
			}
		}
	}
	return folders
})

var testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

// Without returns the text of the file with the defence taken out.
func (d Defence) Without() (string, error) {
	source, err := os.ReadFile(d.File)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), d.Old); n != 1 || d.Old == d.New {
		return "", fmt.Errorf("%s: the old text stands %d times there, want once, and another new one:\n%s", d.File, n, d.Old)
	}
	return strings.Replace(string(source), d.Old, d.New, 1), nil
}
