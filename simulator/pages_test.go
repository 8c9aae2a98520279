package simulator

import (
	"strings"
	"testing"
)

func TestConsentPage(t *testing.T) {
	w := newWorld(t)
	params := with(shopLogin(), map[string]string{"scope": "openid name phoneNumber telepathy"})
	a := w.do("GET", authorizePath+"?"+form(params), "", nil)
	for _, text := range []string{
		"<html lang=\"en\">", "simulator", "Log in at Shop &lt;A&gt;", "MSN 123456", "<li>Name</li>", "<li>Phone number</li>",
		"<code>telepathy</code>", "Kari Nordmann", "Bjørn Ærlig-Åsen", `value="4712345678" checked`,
		`value="approve"`, `value="cancel"`, `value="fail"`, "<option>wrong_challenge</option>", `<label for="error">`,
	} {
		if !strings.Contains(a.body, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
	if strings.Contains(a.body, "<script") || strings.Contains(a.body, "style=") {
		t.Error("the page has script or inline style, which its policy forbids")
	}
}

func TestBrand(t *testing.T) {
	w := newWorld(t)
	for market, want := range map[string]string{
		"": `class="vipps"`, "NO": `class="vipps"`, "SE": `class="vipps"`,
		"DK": `class="mobilepay"`, "FI": `class="mobilepay"`,
	} {
		a := w.do("GET", authorizePath+"?"+form(with(shopLogin(), map[string]string{"market": market})), "", nil)
		if !strings.Contains(a.body, want) {
			t.Errorf("market %q: want %s", market, want)
		}
	}
}

// Pages run nothing, load nothing from elsewhere, and cannot be framed. The
// form of the consent page may lead to the merchant: browsers check form-action
// on the redirect that answers the form, too.
func TestPageHeaders(t *testing.T) {
	w := newWorld(t)
	policy := "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' "
	for target, want := range map[string]string{
		authorizePath + "?" + form(shopLogin()): policy + "http://shop-a.localhost:8080",
		authorizePath:                           policy,
		indexPath:                               policy,
	} {
		a := w.do("GET", target, "", nil)
		if got := a.header.Get("Content-Security-Policy"); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s: policy %q, want %q", target, got, want)
		}
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", target, name, got, want)
			}
		}
	}
}

func TestIndexPage(t *testing.T) {
	w := newWorld(t)
	a := w.do("GET", indexPath, "", nil)
	for _, text := range []string{"123456", shopCallback, gymCallback, "Kari Nordmann", "Nobody&#39;s", "discovery", w.base} {
		if !strings.Contains(a.body, text) && !strings.Contains(a.body, strings.ReplaceAll(text, "&#39;", "'")) {
			t.Errorf("the page lacks %q", text)
		}
	}
	for _, secret := range []string{"partner-secret", "partner-subscription", "gym secret"} {
		if strings.Contains(a.body, secret) {
			t.Errorf("the page shows %q", secret)
		}
	}
	if a := w.do("GET", stylePath, "", nil); a.status != 200 || a.header.Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("style sheet: %d %s", a.status, a.header.Get("Content-Type"))
	}
}
