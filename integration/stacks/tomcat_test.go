package stacks_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tomcatJars are the class path of Debian's Tomcat.
func tomcatJars(t *testing.T) string {
	t.Helper()
	all, err := filepath.Glob("/usr/share/java/tomcat10-*.jar")
	if err != nil {
		t.Fatal(err)
	}
	var jars []string
	versioned := regexp.MustCompile(`-\d[\d.]*\.jar$`) // the same once more
	for _, jar := range all {
		if !versioned.MatchString(jar) {
			jars = append(jars, jar)
		}
	}
	if len(jars) == 0 {
		t.Fatal("Tomcat is missing: run scripts/install-test-tools")
	}
	return strings.Join(jars, ":")
}
