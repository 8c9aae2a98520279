package pages

import (
	"embed"
	"encoding/json"
	"strings"
	"time"

	"golang.org/x/text/language"
)

//go:embed *.json
var textFiles embed.FS

// texts are the words of the pages in one language: one JSON file.
type texts struct {
	Language       string          `json:"language"`        // BCP 47, the value of <html lang>
	ReferenceLabel string          `json:"reference_label"` // before the reference, which users can read out to support
	Pages          map[string]text `json:"pages"`
}

// text is a page that says what happened and what to do. "{brand}" stands for Vipps, MobilePay, or "Vipps or MobilePay".
type text struct {
	Title  string `json:"title"`
	Body   string `json:"body"`
	Button string `json:"button"` // "" where there is nothing to try
}

// Market decides which brand the pages name.
type Market struct {
	Code string // NO, DK, FI, SE or ""
	// MobilePayUntil is when MobilePay becomes Vipps, in Denmark and Finland.
	MobilePayUntil time.Time
}

// brand returns the name of the service, by market, else by the page's language. From MobilePayUntil on it is Vipps
// everywhere. The two names are never combined into one brand.
func (m Market) brand(language string, now time.Time) string {
	if !now.Before(m.MobilePayUntil) {
		return "Vipps"
	}
	switch {
	case m.Code == "NO" || m.Code == "SE":
		return "Vipps"
	case m.Code == "DK" || m.Code == "FI":
		return "MobilePay"
	case language == "nb" || language == "sv":
		return "Vipps"
	case language == "da" || language == "fi":
		return "MobilePay"
	}
	return "Vipps or MobilePay"
}

// with returns the text with the brand filled in.
func (t text) with(brand string) text {
	return text{
		Title:  strings.ReplaceAll(t.Title, "{brand}", brand),
		Body:   strings.ReplaceAll(t.Body, "{brand}", brand),
		Button: strings.ReplaceAll(t.Button, "{brand}", brand),
	}
}

// languages are the languages of the texts. The first is the fallback.
var languages = []language.Tag{
	language.English, language.MustParse("nb"), language.Danish, language.Finnish, language.Swedish,
}

var (
	languageMatcher = language.NewMatcher(languages)
	allTexts        = readTexts()
)

// marketLanguages maps markets to their language, as an index of languages.
var marketLanguages = map[string]int{"NO": 1, "DK": 2, "FI": 3, "SE": 4}

// readTexts reads the embedded files. A mistake in one shows at the first start.
func readTexts() []*texts {
	var all []*texts
	for _, tag := range languages {
		content, err := textFiles.ReadFile(tag.String() + ".json")
		if err != nil {
			panic(err)
		}
		t := new(texts)
		if err := json.Unmarshal(content, t); err != nil {
			panic(err)
		}
		all = append(all, t)
	}
	return all
}

// anyLanguage is what "*" is parsed as.
var anyLanguage = language.MustParse("mul")

// maxAcceptLanguage is longer than any browser's header, in bytes.
const maxAcceptLanguage = 512

// textsFor chooses the language: the best that the browser accepts (RFC 9110 section 12.5.4), or the market's if the browser
// accepts any.
func textsFor(accept, market string) *texts {
	if len(accept) > maxAcceptLanguage { // at a comma, so that the rest is valid
		accept = accept[:max(0, strings.LastIndexByte(accept[:maxAcceptLanguage], ','))]
	}
	accepted, _, err := language.ParseAcceptLanguage(accept)
	if err != nil || len(accepted) == 0 || accepted[0] == anyLanguage {
		return allTexts[marketLanguages[market]]
	}
	_, best, _ := languageMatcher.Match(accepted...)
	return allTexts[best]
}
