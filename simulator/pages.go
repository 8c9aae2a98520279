package simulator

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"time"
)

//go:embed pages
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// brand is whose app the market uses. It chooses the colour of the page.
type brand struct{ Name, Class string }

// brandDay is when MobilePay becomes Vipps in Denmark and Finland.
var brandDay = time.Date(2027, time.January, 12, 0, 0, 0, 0, time.FixedZone("CET", 3600))

// brandOf follows Vipps MobilePay: Vipps in Norway and Sweden, MobilePay in
// Denmark and Finland until 12 January 2027, either name where no market was
// named. The two names are never one brand.
func brandOf(market string, now time.Time) brand {
	switch {
	case !now.Before(brandDay), market == "NO", market == "SE":
		return brand{"Vipps", "vipps"}
	case market == "DK", market == "FI":
		return brand{"MobilePay", "mobilepay"}
	default:
		return brand{"Vipps or MobilePay", "vipps"}
	}
}

type consentPage struct {
	Brand       brand
	Merchant    *Merchant
	Scopes      []string
	Dropped     []string
	Users       []*User
	Failures    []string
	Transaction string
	Action      string
	StylePath   string
}

type messagePage struct {
	Brand     brand
	Message   string
	StylePath string
}

type indexPage struct {
	Brand      brand
	Base       string
	Merchants  []*Merchant
	Users      []*User
	Calls      map[string]int
	CallsPath  string
	PhonePath  string
	RevokePath string
	StylePath  string
}

// scopeTexts says in words what the merchant asks for. A scope without words,
// like openid, asks for nothing a person would recognise.
func scopeTexts(scopes []string) []string {
	words := map[string]string{
		"name": "Name", "email": "Email address", "phoneNumber": "Phone number",
		"address": "Addresses", "birthDate": "Date of birth", "gender": "Gender",
		"nin":               "National identity number",
		"delegatedConsents": "The merchant's own consents",
		"customFlow":        "The merchant's own consents",
	}
	texts := []string{}
	for _, scope := range scopes {
		if text, ok := words[scope]; ok {
			texts = append(texts, text)
		}
	}
	return texts
}

// index says what this is, for a person who opens the simulator's address.
func (s *Simulator) index(w http.ResponseWriter, r *http.Request) {
	s.render(w, http.StatusOK, "index.html", "", indexPage{
		Brand: brandOf("", time.Now()), Base: s.base(r), Merchants: s.merchants, Users: s.users,
		Calls: s.Calls(), CallsPath: callsPath, PhonePath: phonePath, RevokePath: revokePath, StylePath: stylePath,
	})
}

// errorPage tells the person what is wrong, and goes nowhere.
func (s *Simulator) errorPage(w http.ResponseWriter, status int, message string) {
	s.render(w, status, "error.html", "", messagePage{brandOf("", time.Now()), message, stylePath})
}

// render writes a page that runs no script, loads nothing but its style sheet
// and cannot be framed. formTarget is one more origin that forms may lead to.
func (s *Simulator) render(w http.ResponseWriter, status int, name, formTarget string, data any) {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, data); err != nil {
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; "+
		"frame-ancestors 'none'; form-action 'self' "+formTarget)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w)
}

// style serves the pages' style sheet.
func (s *Simulator) style(w http.ResponseWriter, _ *http.Request) {
	css, err := pageFiles.ReadFile("pages/style.css")
	if err != nil {
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(css)
}
