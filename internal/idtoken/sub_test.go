package idtoken

import (
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

func TestUserinfoToClaims(t *testing.T) {
	for text, ok := range map[string]bool{
		`{}`: true, `{"a":1e400,"b":[{"c":null}]}`: true, `[]`: false, `null`: true, `{"a":}`: false, ``: false, `{"a":"\ud800"}`: true,
	} {
		claims, err := userinfo.Parse([]byte(text))
		if (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
		if err == nil && CheckSub(claims, "") == nil {
			t.Errorf("%s has a sub", text)
		}
	}
}
