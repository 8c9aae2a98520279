package vippslogin

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"strings"

	"github.com/caddy-vipps/vippslogin/internal/seal"
)

var (
	//go:embed pages/error.html
	errorHTML string
	//go:embed pages/error.css
	errorCSS string

	errorTemplate = template.Must(template.New("error").Parse(errorHTML))

	// errorPolicy lets the page load nothing and run nothing but its one style sheet.
	errorPolicy = "default-src 'none'; style-src 'sha256-" + styleHash(errorCSS) + "'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

func styleHash(css string) string {
	sum := sha256.Sum256([]byte(css))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// page is what a person sees when a login does not succeed. html/template escapes every part of it.
type page struct {
	Kind      string // which of the texts
	Link      string // where the button leads: an address of ours; "" for no button
	Reference string // stands in the log too
}

// write sends the page as the answer to r, in the person's language and with the words of the market.
func (p page) write(w http.ResponseWriter, r *http.Request, status int, market string) error {
	words := textsFor(r.Header.Get("Accept-Language"), market)
	var body bytes.Buffer
	err := errorTemplate.Execute(&body, map[string]any{
		"Language": words.Language, "Text": words.Pages[p.Kind].in(market), "Link": p.Link,
		"ReferenceLabel": words.ReferenceLabel, "Reference": p.Reference,
		"Style": template.CSS(errorCSS), "InFrame": isInFrame(r),
	})
	if err != nil {
		return err
	}
	setEndpointHeaders(w)
	w.Header().Set("Content-Security-Policy", errorPolicy)
	if status == http.StatusUnauthorized && isInFrame(r) {
		// The site's own page may show it in a frame, where the user would see nothing at all: there is nothing on
		// it but a link, which opens the whole window.
		w.Header().Set("Content-Security-Policy", strings.Replace(errorPolicy, "frame-ancestors 'none'", "frame-ancestors 'self'", 1))
		w.Header().Set("X-Frame-Options", "SAMEORIGIN")
	}
	challenge(w, status)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", words.Language)
	w.Header().Add("Vary", "Accept-Language")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, err = w.Write(body.Bytes())
	}
	return err
}

// problem is an answer for scripts (RFC 9457).
type problem struct {
	Status   int    `json:"status"`
	Title    string `json:"title"`
	Detail   string `json:"detail,omitempty"`
	LoginURL string `json:"login_url,omitempty"`
}

func writeProblem(w http.ResponseWriter, p problem) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(p); err != nil {
		return err
	}
	challenge(w, p.Status)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	_, err := w.Write(body.Bytes())
	return err
}

// newReference is what a person can read out to support.
func newReference() string {
	const letters = "23456789abcdefghjkmnpqrstuvwxyz" // none that is taken for another
	var reference strings.Builder
	for _, b := range seal.RandomBytes(8) {
		reference.WriteByte(letters[int(b)%len(letters)])
	}
	return reference.String()
}
