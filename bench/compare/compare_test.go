package main

import (
	"os"
	"strings"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-vipps/vippslogin"
	"github.com/caddy-vipps/vippslogin/bench/rig"
)

// caddyVariable makes this test a Caddy, which is quicker than to build one.
const caddyVariable = "VIPPSLOGIN_BENCH_CADDY"

func TestMain(m *testing.M) {
	if os.Getenv(caddyVariable) != "" {
		caddycmd.Main()
		return
	}
	if rig.Child() {
		return
	}
	os.Exit(m.Run())
}

// TestCompare: it measures. What comes out says nothing here: the driver in Go, a race detector, one round.
func TestCompare(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = run(t.Context(), plan{
		rounds: 1, connections: 4, duration: 100 * time.Millisecond, driver: rig.GoDriver{},
		useCaddy: func(r *rig.Rig) error { r.UseCaddy(self, caddyVariable+"=1"); return nil },
	}, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, c := range cases {
		if !strings.Contains(out.String(), "\n"+c.name+": ") {
			t.Errorf("nothing about %s", c.name)
		}
	}
	if n := strings.Count(out.String(), "CPU us/request"); n != len(cases) {
		t.Errorf("CPU times of %d cases, want %d", n, len(cases))
	}
	t.Log(out.String())
}
