package vipps

import (
	"net/http"
	"testing"
	"time"
)

func TestMaxAge(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": time.Hour, "max-age=3600": time.Hour, "public, MAX-AGE=60": time.Minute, "no-store": time.Second, "max-age=0": time.Second,
		"max-age=x": time.Hour, "max-age=99999999999": 24 * time.Hour, `max-age="60"`: time.Minute, "max-age=-5": time.Second,
	} {
		if got := MaxAge(http.Header{"Cache-Control": {header}}); got != want {
			t.Errorf("%q: got %s, want %s", header, got, want)
		}
	}
}

func TestTokenLife(t *testing.T) {
	for seconds, want := range map[int64]time.Duration{
		86399: 86339 * time.Second, 3600: 59 * time.Minute, 10: 9 * time.Second, 0: time.Minute, -5: time.Minute, 1 << 40: 24*time.Hour - time.Minute,
	} {
		if got := TokenLife(seconds); got != want {
			t.Errorf("%d: got %s, want %s", seconds, got, want)
		}
	}
}
