package apart_test

import (
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/apart"
)

func TestRun(t *testing.T) {
	ran := false
	apart.Run(func() { ran = true })
	if !ran {
		t.Error("it did not run, or was not waited for")
	}
}

// TestRunPanics: a panic comes to the caller, and says where it was.
func TestRunPanics(t *testing.T) {
	defer func() {
		if reason, _ := recover().(string); !strings.Contains(reason, "out of paper") || !strings.Contains(reason, "apart_test.go") {
			t.Errorf("panic with %q", reason)
		}
	}()
	apart.Run(func() { panic("out of paper") })
	t.Error("no panic")
}
