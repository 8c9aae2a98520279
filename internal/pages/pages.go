package pages

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"strings"
	"time"
)

var (
	//go:embed error.html
	errorHTML string
	//go:embed error.css
	errorCSS string

	errorTemplate = template.Must(template.New("error").Parse(errorHTML))

	// errorPolicy allows the page its one style sheet, and nothing else.
	errorPolicy = "default-src 'none'; style-src 'sha256-" + styleHash(errorCSS) + "'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

func styleHash(css string) string {
	sum := sha256.Sum256([]byte(css))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Page is shown when a login does not succeed. html/template escapes all of it.
type Page struct {
	Kind      string // the key of its texts
	Link      string // where the button leads: an address of ours; "" for no button
	Reference string // is in the log as well
}

// Write answers r with the page, in the user's language and with the brand of the market. inFrame says that the browser shows
// it inside another page.
func (p Page) Write(w http.ResponseWriter, r *http.Request, status int, market Market, inFrame bool) error {
	words := textsFor(r.Header.Get("Accept-Language"), market.Code)
	var body bytes.Buffer
	err := errorTemplate.Execute(&body, map[string]any{
		"Language": words.Language, "Text": words.Pages[p.Kind].with(market.brand(words.Language, time.Now())), "Link": p.Link,
		"ReferenceLabel": words.ReferenceLabel, "Reference": p.Reference,
		"Style": template.CSS(errorCSS), "InFrame": inFrame,
	})
	if err != nil {
		return err
	}
	SetHeaders(w)
	w.Header().Set("Content-Security-Policy", errorPolicy)
	if status == http.StatusUnauthorized && inFrame {
		// The site's own pages may frame it, so that the user sees something: it has only a link, which opens in the whole
		// window.
		w.Header().Set("Content-Security-Policy", strings.Replace(errorPolicy, "frame-ancestors 'none'", "frame-ancestors 'self'", 1))
		w.Header().Set("X-Frame-Options", "SAMEORIGIN")
	}
	Challenge(w, status)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", words.Language)
	w.Header().Add("Vary", "Accept-Language")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, err = w.Write(body.Bytes())
	}
	return err
}

// Problem is an answer for scripts (RFC 9457).
type Problem struct {
	Status   int    `json:"status"`
	Title    string `json:"title"`
	Detail   string `json:"detail,omitempty"`
	LoginURL string `json:"login_url,omitempty"`

	Required *Required `json:"required,omitempty"` // what the session lacks, if that is the reason
}

// Required is what a request needs of a login.
type Required struct {
	MaxAge          int      `json:"max_age,omitempty"` // seconds since the login
	Scope           []string `json:"scope,omitempty"`
	AppConfirmation bool     `json:"app_confirmation,omitempty"`
}

func WriteProblem(w http.ResponseWriter, p Problem) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(p); err != nil {
		return err
	}
	Challenge(w, p.Status)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	_, err := w.Write(body.Bytes())
	return err
}
