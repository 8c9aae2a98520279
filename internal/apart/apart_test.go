package apart_test

import (
	"net/http"
	"runtime"
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

// TestRunAborts: a handler that is aborted stays so, and what ends without an end is no success.
func TestRunAborts(t *testing.T) {
	reasonOf := func(do func()) (reason any) {
		defer func() { reason = recover() }()
		apart.Run(do)
		return nil
	}
	if reason := reasonOf(func() { panic(http.ErrAbortHandler) }); reason != http.ErrAbortHandler {
		t.Errorf("panic with %v", reason)
	}
	if reasonOf(runtime.Goexit) == nil {
		t.Error("a function that did not return has returned")
	}
}
