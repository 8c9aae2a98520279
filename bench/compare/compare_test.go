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
		rounds: 1, connections: 4, duration: 100 * time.Millisecond, driver: rig.GoDriver{}, others: 1,
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
	if want := 2*len(cases) - 1; strings.Count(out.String(), "CPU us/request") != want {
		t.Errorf("not %d tables of CPU times", want)
	}
	if !strings.Contains(out.String(), "redirect: with the plugin") {
		t.Error("no table of all cases")
	}
	t.Log(out.String())
}

// TestDisturbed: a round in which others computed is not reported.
func TestDisturbed(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = run(t.Context(), plan{
		rounds: 1, connections: 4, duration: 100 * time.Millisecond, driver: rig.GoDriver{}, others: -1, only: "respond-6",
		useCaddy: func(r *rig.Rig) error { r.UseCaddy(self, caddyVariable+"=1"); return nil },
	}, &out)
	if err == nil || !strings.Contains(err.Error(), "disturbed") || strings.Contains(out.String(), "requests/s") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
