package vippslogin

import (
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// typicalUserinfo has three addresses, about 1.2 KiB.
const typicalUserinfo = `{"sub":"c06c4afe-d9e1-4c5d-939a-177d752a0944","sid":"7d78a726-af92-499e-b857-de263ef9a969",
"name":"Bjørn Ærlig-Åsen","given_name":"Bjørn","family_name":"Ærlig-Åsen","phone_number":"4712345678","phone_number_verified":true,
"email":"bjorn@example.no","email_verified":true,"birthdate":"1990-05-17",
"address":{"street_address":"Robert Levins gate 5\nH0401","postal_code":"0154","region":"OSLO","country":"NO","formatted":"Robert Levins gate 5\nH0401\n0154 OSLO\nNO","address_type":"home"},
"other_addresses":[{"street_address":"Arbeidsgata 1","postal_code":"0155","region":"OSLO","country":"NO","formatted":"Arbeidsgata 1\n0155 OSLO\nNO","address_type":"work"},
{"street_address":"Hyttevegen 7","postal_code":"2665","region":"LESJA","country":"NO","formatted":"Hyttevegen 7\n2665 LESJA\nNO","address_type":"other"}]}`

func newTestSession(t testing.TB) *session.Session {
	t.Helper()
	claims, err := userinfo.Parse([]byte(typicalUserinfo))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Second)
	return session.New(claims, now, 12*time.Hour)
}
