package redis

import (
	"strings"
	"testing"
)

// TestRedisSettingsRefused names the mistake, and shows no password.
func TestRedisSettingsRefused(t *testing.T) {
	for want, config := range map[string]Redis{
		"a username needs one": {Username: "caddy"},
		"is not host:port":     {Address: []string{"redis://caddy:hunter2@redis:6379"}},
		`"a URL"`:              {Address: []string{"caddy:hunter2@redis:6379"}},
		"a URL":                {Sentinel: &Sentinel{Master: "m", Address: []string{"hunter2@redis:26379"}}},
		"no database but 0":    {Address: []string{"a:1", "b:1"}, DB: "1"},
	} {
		_, err := config.settings()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
