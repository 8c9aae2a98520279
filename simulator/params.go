package simulator

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxFormBytes limits what is read of a request's body.
const maxFormBytes = 64 << 10

// repeated names the first parameter that is there more than once, which
// RFC 6749, section 3.1 and 3.2, forbids.
func repeated(params url.Values) string {
	names := []string{}
	for name, values := range params {
		if len(values) > 1 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return slices.Min(names)
}

// readForm reads a body of application/x-www-form-urlencoded. Parameters in the
// URL do not count.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, *oauthError) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return nil, badRequest("invalid_request", "The Content-Type must be application/x-www-form-urlencoded.")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
	if err := r.ParseForm(); err != nil {
		return nil, badRequest("invalid_request", "The body is not a readable form.")
	}
	if name := repeated(r.PostForm); name != "" {
		return nil, badRequest("invalid_request", "The parameter %s is there more than once.", name)
	}
	return r.PostForm, nil
}

// bearerToken is the token of an Authorization header, which is there once.
func bearerToken(h http.Header) (string, bool) {
	scheme, token, found := authorization(h)
	return token, found && strings.EqualFold(scheme, "Bearer") && token != ""
}

func authorization(h http.Header) (scheme, credentials string, found bool) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return "", "", false
	}
	return strings.Cut(values[0], " ")
}
