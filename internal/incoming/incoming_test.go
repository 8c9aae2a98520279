package incoming

import (
	"net/http"
	"strings"
	"testing"
)

func TestSafeReturn(t *testing.T) {
	for target, want := range map[string]string{
		"/": "/", "/a?b#c": "/a?b#c", "/#/a#b": "/#/a%23b", `/#\a b`: `/#\a%20b`, "/a b": "/a%20b", "": "/", "a": "/", "/a\tb": "/", "/a\x7f": "/", "/\\x?\\y": `/%5Cx?\y`, "/æ": "/%C3%A6", "//x": "//x",
	} {
		if got := SafeReturn(target); got != want {
			t.Errorf("%q: got %q, want %q", target, got, want)
		}
	}
}

func FuzzReturnPath(f *testing.F) {
	for _, seed := range []string{"/", "//evil", "/\\evil", "/a?b=c", "/%0d%0a", "/\x00", "/é", "https://x/", "@evil.example"} {
		f.Add(seed)
	}
	o := Origin{Scheme: "https", Host: "shop.example.no"}
	f.Fuzz(func(t *testing.T, target string) {
		location := o.URL(SafeReturn(target))
		req, err := http.NewRequest(http.MethodGet, location, nil)
		if err != nil {
			return // Go reads it as no URL: a browser asks us for a path we do not have
		}
		if req.URL.Host != "shop.example.no" || req.URL.Scheme != "https" || req.URL.User != nil {
			t.Errorf("%q leads to %q", target, location)
		}
		if strings.ContainsAny(location, "\r\n\t \x00") {
			t.Errorf("%q leads to %q", target, location)
		}
	})
}
