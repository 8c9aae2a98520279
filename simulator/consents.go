package simulator

import (
	"strings"
	"time"
)

// consentText is of the length that lawyers write, and not in ASCII: the claim
// is several KiB, which is what a session in a cookie has to cope with.
const consentText = "Jeg samtykker til at butikken kan sende meg nyheter, tilbud og påminnelser, " +
	"og at opplysninger om kjøpene mine brukes til å gjøre dem mer relevante. Samtykket kan når som helst trekkes tilbake. "

// delegatedConsents is the claim of the scope of that name: what the merchant had the user agree to in the app.
func delegatedConsents(at time.Time) map[string]any {
	consents := []map[string]any{}
	for _, id := range []string{"email", "sms", "digital", "personal"} {
		consents = append(consents, map[string]any{
			"id":                  id,
			"accepted":            id != "sms",
			"required":            false,
			"textDisplayedToUser": strings.Repeat(consentText, 4),
		})
	}
	return map[string]any{
		"language":                 "NB",
		"heading":                  "Bli medlem i kundeklubben",
		"termsDescription":         "Vilkår for kundeklubben",
		"confirmConsentButtonText": "Bli medlem",
		"timeOfConsent":            at.UTC().Format(time.RFC3339),
		"consents":                 consents,
	}
}

// flowResult is the claim of the scope customFlow, which has taken the place of
// delegatedConsents since January 2026.
func flowResult() map[string]any {
	checkbox := func(id, title string, checked bool) map[string]any {
		return map[string]any{"type": "checkbox", "id": id, "title": title, "checked": checked}
	}
	return map[string]any{
		"language": "NB",
		"screens": []map[string]any{{
			"title": "Bli medlem i kundeklubben",
			"terms": map[string]any{"links": []map[string]string{{"title": "Vilkår for kundeklubben", "url": "https://example.no/vilkar"}}},
			"elements": []map[string]any{
				checkbox("cf_accept_terms", "Jeg godtar vilkårene", true),
				checkbox("cf_email", "Nyheter på e-post", true),
				checkbox("cf_sms", "Tilbud på SMS", false),
			},
		}},
	}
}
