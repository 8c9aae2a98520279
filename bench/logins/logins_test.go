package main

import (
	"os"
	"strings"
	"testing"

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

// TestLogins: a login takes two calls to Vipps MobilePay, on connections that are kept, and on HTTP/2
// where that is offered; run fails otherwise.
func TestLogins(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := plan{logins: 60, atOnce: 4, useCaddy: func(r *rig.Rig) error { r.UseCaddy(self, caddyVariable+"=1"); return nil }}
	for name, secure := range map[string]bool{"http": false, "https": true} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := run(t.Context(), p, secure, &out); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			t.Log(out.String())
		})
	}
}
