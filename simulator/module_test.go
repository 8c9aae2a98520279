package simulator

import (
	"context"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// Keys may come from the environment, and the exported fields keep the
// placeholder: the admin API shows them.
func TestPlaceholders(t *testing.T) {
	t.Setenv("SIMULATOR_SECRET", "from the environment")
	h := &Handler{Config: testConfig()}
	h.Partner.ClientSecret = "{env.SIMULATOR_SECRET}"
	if err := provision(t, h); err != nil {
		t.Fatal(err)
	}
	if got := h.simulator.partner.ClientSecret; got != "from the environment" {
		t.Errorf("the secret is %q", got)
	}
	if h.Partner.ClientSecret != "{env.SIMULATOR_SECRET}" {
		t.Errorf("the config shows %q", h.Partner.ClientSecret)
	}
}

func TestUnsetPlaceholder(t *testing.T) {
	h := &Handler{Config: testConfig()}
	h.Merchants[1].ClientSecret = "{env.SIMULATOR_NOT_SET}"
	err := provision(t, h)
	if err == nil || !strings.Contains(err.Error(), "merchants[1].client_secret") {
		t.Errorf("got %v", err)
	}
}

func provision(t *testing.T, h *Handler) error {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return h.Provision(ctx)
}

// Whatever comes, there is no next handler.
func TestHandlerIsTheLast(t *testing.T) {
	h := &Handler{Config: testConfig()}
	if err := provision(t, h); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{discoveryPath: 200, "/": 404} {
		r := loopbackRequest("GET", path, "")
		recorder := record(h.simulator, r)
		if err := h.ServeHTTP(recorder, r, nil); err != nil || recorder.Code != want {
			t.Errorf("%s: %d %v, want %d", path, recorder.Code, err, want)
		}
	}
}
