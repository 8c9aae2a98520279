package identity

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

func FuzzUserinfo(f *testing.F) {
	f.Add([]byte(`{"sub":"c06c4afe-d9e1-4c5d-939a-177d752a0944","name":"Bjørn Ærlig-Åsen","phone_number_verified":true,"address":{"street_address":"Robert Levins gate 5\nH0401"}}`))
	f.Add([]byte(`{"a\r\nb":"c\r\nd","":1,"x":[1,{"y":"\u2028😀"}],"z":true,"n":null}`))
	id := New("X-Vipps-", UTF8, nil, "")
	f.Fuzz(func(t *testing.T, text []byte) {
		claims, err := userinfo.Parse(text)
		if err != nil {
			return
		}
		for _, c := range claims {
			name := id.headerName(c.Name)
			for kind := range byte(6) { // of a cookie from another version, say: whatever it is, nothing breaks
				c := userinfo.Claim{Name: c.Name, Kind: userinfo.Kind(kind), Text: c.Text}
				_ = encodeUTF8(c) + encodePercent(c) + encodeBase64URL(c)
			}
			for _, value := range []string{encodeUTF8(c), encodePercent(c), encodeBase64URL(c)} {
				if strings.ContainsAny(name+value, "\r\n\x00") {
					t.Errorf("%q: %q", name, value)
				}
			}
		}
		again, err := userinfo.Parse(userinfo.JSON(claims))
		if err != nil || len(again) != len(claims) {
			t.Errorf("userinfo of the session is no JSON: %s", userinfo.JSON(claims))
		}
	})
}

func FuzzStrip(f *testing.F) {
	for _, seed := range []string{"X-Vipps-Sub", "x_vipps_sub", "X.Vipps.Sub", "Remote_User", "Accept"} {
		f.Add(seed)
	}
	id := New("X-Vipps-", UTF8, map[string]string{"Remote-User": "sub"}, "")
	f.Fuzz(func(t *testing.T, field string) {
		header := http.Header{field: {"evil"}}
		id.stripHeader(header)
		folded := strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return '-'
		}, strings.ToLower(field))
		if len(header) > 0 && strings.IndexFunc(field, func(r rune) bool { return r > 0x7f }) < 0 && (strings.HasPrefix(folded, "x-vipps-") || folded == "remote-user") {
			t.Errorf("%q stays", field)
		}
	})
}
