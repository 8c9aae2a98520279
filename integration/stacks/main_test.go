// Package stacks_test starts real servers in the languages that sites are written in, and shows what each of them sees of the
// plugin's headers: docs/upstream-headers.md has the tables that the tests here write.
package stacks_test

import (
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
