package pages

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTexts: every page has its words in every language, with the brand where it belongs.
func TestTexts(t *testing.T) {
	kinds := slices.Sorted(maps.Keys(allTexts[0].Pages))
	for i, words := range allTexts {
		if words.Language != languages[i].String() || words.ReferenceLabel == "" {
			t.Errorf("%s: language %q, label %q", languages[i], words.Language, words.ReferenceLabel)
		}
		if found := slices.Sorted(maps.Keys(words.Pages)); !slices.Equal(found, kinds) {
			t.Errorf("%s has %v, want %v", words.Language, found, kinds)
		}
		for kind, text := range words.Pages {
			english := allTexts[0].Pages[kind]
			if text.Title == "" || text.Body == "" || (text.Button == "") != (kind == "no_merchant") {
				t.Errorf("%s %s lacks something: %+v", words.Language, kind, text)
			}
			if named := strings.Contains(text.Title+text.Body+text.Button, "{brand}"); named != strings.Contains(english.Title+english.Body+english.Button, "{brand}") && kind != "no_merchant" {
				t.Errorf("%s %s: names the brand %v, and in English otherwise", words.Language, kind, named)
			}
			if strings.Contains(text.Button, "{brand}") != strings.Contains(english.Button, "{brand}") {
				t.Errorf("%s %s: the button %q", words.Language, kind, text.Button)
			}
			if all := text.with("Vipps"); strings.ContainsAny(all.Title+all.Body+all.Button, "{}<>") {
				t.Errorf("%s %s: %+v", words.Language, kind, all)
			}
		}
	}
}

// TestBrand: by market, else by language; Vipps everywhere from the day on, and never both names as one.
func TestBrand(t *testing.T) {
	oslo := time.FixedZone("CET", 3600)
	day := time.Date(2027, 1, 12, 0, 0, 0, 0, oslo)
	for _, test := range []struct{ market, language, want string }{
		{"NO", "da", "Vipps"}, {"SE", "fi", "Vipps"}, {"DK", "nb", "MobilePay"}, {"FI", "sv", "MobilePay"},
		{"", "nb", "Vipps"}, {"", "sv", "Vipps"}, {"", "da", "MobilePay"}, {"", "fi", "MobilePay"}, {"", "en", "Vipps or MobilePay"},
	} {
		m := Market{Code: test.market, MobilePayUntil: day}
		if got := m.brand(test.language, day.Add(-time.Second)); got != test.want {
			t.Errorf("%v before the day: %q", test, got)
		}
		if got := m.brand(test.language, day); got != "Vipps" {
			t.Errorf("%v on the day: %q", test, got)
		}
	}
	if got := (text{"a {brand}", "{brand} b", "{brand}"}).with("Vipps"); got != (text{"a Vipps", "Vipps b", "Vipps"}) {
		t.Errorf("%+v", got)
	}
}

func TestTextsFor(t *testing.T) {
	for _, test := range []struct{ accept, market, want string }{
		{"nb-NO,nb;q=0.9,no;q=0.8,nn;q=0.6,en-US;q=0.5,en;q=0.4", "", "nb"},
		{"no", "", "nb"},
		{"nn-NO", "", "nb"},
		{"da-DK,da;q=0.9,en;q=0.8", "NO", "da"},
		{"fi-FI", "", "fi"},
		{"sv-FI,sv;q=0.9", "FI", "sv"},
		{"sv", "", "sv"},
		{"en-GB", "NO", "en"},
		{"de-DE,de;q=0.9,en;q=0.8", "NO", "en"},
		{"de-DE,de;q=0.9,sv;q=0.8", "", "sv"},
		{"ja", "DK", "en"},
		{"en;q=0.1, fi;q=0.9", "", "fi"},
		{"", "", "en"}, {"", "NO", "nb"}, {"", "DK", "da"}, {"", "FI", "fi"}, {"", "SE", "sv"},
		{"*", "SE", "sv"}, {"*", "", "en"}, {"nb, *;q=0.5", "SE", "nb"},
		{"\x00\xff;;;q=1", "FI", "fi"},
		{strings.Repeat("a-", 100_000), "", "en"},
		{strings.Repeat("da,", 100_000), "", "da"},
	} {
		if got := textsFor(test.accept, test.market).Language; got != test.want {
			t.Errorf("%.60q, market %q: %s, want %s", test.accept, test.market, got, test.want)
		}
	}
}
