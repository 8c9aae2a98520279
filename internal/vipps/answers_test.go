package vipps

import (
	"net/http"
	"testing"
	"time"
)

// TestDocumentLife: the discovery document and the key set are kept for minutes, even if their answers say that they must not
// be, as ORY Hydra's do since 25.4: each login would fetch them again.
func TestDocumentLife(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"private, no-store, no-cache, must-revalidate": 5 * time.Minute,
		"max-age=0": 5 * time.Minute, "max-age=30": 5 * time.Minute, "public, max-age=7200": 2 * time.Hour, "": time.Hour,
	} {
		if got := documentLife(http.Header{"Cache-Control": {value}}); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}
