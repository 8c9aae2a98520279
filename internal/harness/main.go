package harness

import (
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// Main is the TestMain of a package that uses a World. It runs the tests in the repository's root, whose
// files they read, or makes the test binary a Caddy where a test has started it as one.
func Main(m *testing.M) {
	if os.Getenv(CaddyCommand) != "" {
		caddycmd.Main() // with our arguments; ends the process when the command fails
		return
	}
	if file := os.Getenv(InstanceConfig); file != "" {
		if err := runInstance(file); err != nil {
			log.Fatal(err)
		}
		return
	}
	_, self, _, _ := runtime.Caller(0)
	if err := os.Chdir(filepath.Join(filepath.Dir(self), "..", "..")); err != nil {
		log.Fatal(err)
	}
	remove, err := trustVipps()
	if err != nil {
		log.Fatal(err)
	}
	code := m.Run()
	remove()
	os.Exit(code)
}

// runInstance runs a Caddy until its standard input ends, which it does when the test is gone, or until a
// signal stops it as it stops any Caddy.
func runInstance(file string) error {
	caddyfile, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	caddy.TrapSignals()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	if err := caddy.Load(config, true); err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}
