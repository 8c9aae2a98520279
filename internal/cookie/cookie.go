package cookie

import (
	"iter"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// HostPrefix makes browsers refuse a cookie from another host, such as a sibling subdomain (RFC 6265bis section 4.1.3.2). It
	// needs HTTPS.
	HostPrefix = "__Host-"

	sessionCookie = "vipps_session" // and _1, _2 where it does not fit in one
	loginCookie   = "vipps_login"   // and the id of the login
	seenCookie    = "vipps_seen"    // and the tag of the session it is about
	newCookie     = "vipps_new"     // and that tag

	// MaxChunks and MaxChunkBytes keep session cookies, names included, under 10 KiB together.
	MaxChunks     = 3
	MaxChunkBytes = 3380

	// MaxLogins and MaxLoginBytes bound the cookies of logins in progress.
	MaxLogins     = 5
	MaxLoginBytes = 4096
)

// Name returns the cookie's name on this kind of connection.
func Name(name string, secure bool) string {
	if secure {
		return HostPrefix + name
	}
	return name
}

// Names are the names of one site's cookies, without the prefix of HTTPS. All but the session's end in an
// underscore, and an id follows.
type Names struct{ Session, Login, Seen, New string }

// Plain are the names at a host that belongs to one merchant, as nearly all do.
var Plain = Names{sessionCookie, loginCookie + "_", seenCookie + "_", newCookie + "_"}

// For returns the names at a host that belongs to another merchant on another port: cookies do not depend on the port (RFC
// 6265 section 8.5), so one merchant's would overwrite the other's.
func For(msn string) *Names {
	return &Names{sessionCookie + "-" + msn, loginCookie + "-" + msn + "_", seenCookie + "-" + msn + "_", newCookie + "-" + msn + "_"}
}

// chunkEndings are what the names of a session's cookies end in.
var chunkEndings = [MaxChunks]string{"", "_1", "_2"}

// All yields each name and value of the Cookie header (RFC 6265 section 4.2.1). It allocates nothing, and skips everything
// that is not a pair. It trims blanks only: if it trimmed more, U+2000 followed by __Host- would be a __Host- cookie to us but
// not to the browser, so that a sibling subdomain could plant it.
func All(header http.Header) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, line := range header["Cookie"] {
			for line != "" {
				var pair string
				pair, line, _ = strings.Cut(line, ";")
				name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
				if ok && !yield(name, value) {
					return
				}
			}
		}
	}
}

// IsOwn reports whether a cookie of that name is the plugin's, on either kind of connection. The upstream gets none of them.
func IsOwn(name string) bool {
	name = strings.TrimPrefix(name, HostPrefix)
	for _, prefix := range []string{loginCookie, seenCookie, newCookie} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && (strings.HasPrefix(rest, "_") || strings.HasPrefix(rest, "-")) {
			return true
		}
	}
	rest, ok := strings.CutPrefix(name, sessionCookie)
	if !ok || rest == "" || rest[0] == '-' {
		return ok
	}
	// Any chunk number: the upstream does not get cookies that look like ours either.
	number, ok := strings.CutPrefix(rest, "_")
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}

// RemoveOwn removes the plugin's cookies from the request, and leaves every other cookie byte for byte as it is.
func RemoveOwn(header http.Header) {
	lines := header["Cookie"]
	kept := lines[:0:0]
	changed := false
	for _, line := range lines {
		rest, cut := withoutOwnCookies(line)
		changed = changed || cut
		if rest != "" || !cut {
			kept = append(kept, rest)
		}
	}
	switch {
	case !changed:
	case len(kept) == 0:
		delete(header, "Cookie")
	default:
		header["Cookie"] = kept
	}
}

func withoutOwnCookies(line string) (rest string, changed bool) {
	if !strings.Contains(line, "vipps_") {
		return line, false
	}
	var kept strings.Builder
	for pair := range strings.SplitSeq(line, ";") {
		name, _, _ := strings.Cut(strings.TrimSpace(pair), "=")
		switch {
		case IsOwn(strings.TrimSpace(name)):
			changed = true
		case kept.Len() == 0:
			kept.WriteString(strings.TrimLeft(pair, " "))
		default:
			kept.WriteString(";" + pair)
		}
	}
	if !changed {
		return line, false
	}
	return kept.String(), true
}

// UntilClosed is the maxAge of a cookie that ends with the browser.
const UntilClosed = time.Duration(math.MaxInt64)

// Set sets one of the plugin's cookies for maxAge; a maxAge of zero or less clears it. It also keeps the answer out of shared
// caches, whatever the site says: a cached one would give a user's session to others, or end theirs.
func Set(w http.ResponseWriter, name, value string, secure bool, maxAge time.Duration) {
	KeepPrivate(w.Header())
	full := Name(name, secure)
	// One Set-Cookie for a name (RFC 6265 section 4.1.1): a session may begin after an invalid one was cleared.
	others := slices.DeleteFunc(w.Header()["Set-Cookie"], func(earlier string) bool {
		got, _, _ := strings.Cut(earlier, "=")
		return got == full
	})
	w.Header()["Set-Cookie"] = append(others, setCookie(full, value, secure, maxAge))
}

// setCookie returns a line of Set-Cookie (RFC 6265bis section 4.1.1).
func setCookie(name, value string, secure bool, maxAge time.Duration) string {
	const path, age = "; Path=/", "; Max-Age="
	var line strings.Builder
	line.Grow(len(name) + 1 + len(value) + len(path) + len(age) + 20 + len(attributes(secure)))
	for _, part := range [...]string{name, "=", value, path} {
		line.WriteString(part)
	}
	if maxAge != UntilClosed {
		var digits [20]byte
		line.WriteString(age)
		line.Write(strconv.AppendInt(digits[:0], seconds(maxAge), 10))
	}
	line.WriteString(attributes(secure))
	return line.String()
}

// seconds returns how many seconds a cookie lives, and 0 to clear it. Parts of a second count as a whole one.
func seconds(maxAge time.Duration) int64 {
	return int64(max(0, maxAge/time.Second+min(maxAge%time.Second, 1)))
}

// attributes are the same for all of them (RFC 6265bis section 4.1.2).
func attributes(secure bool) string {
	if secure {
		return "; HttpOnly; Secure; SameSite=Lax"
	}
	return "; HttpOnly; SameSite=Lax"
}

// KeepPrivate keeps an answer out of shared caches, whatever the site says.
func KeepPrivate(header http.Header) {
	if said := header["Cache-Control"]; !slices.Contains(said, "private") && !slices.Contains(said, "no-store") {
		header.Add("Cache-Control", "private")
	}
}

// SetSession sets a session's cookies, and clears those that are left of an earlier, longer session. Without values it clears
// all of them.
func SetSession(w http.ResponseWriter, r *http.Request, base string, values []string, secure bool, maxAge time.Duration) {
	for i, value := range values {
		Set(w, base+chunkEndings[i], value, secure, maxAge)
	}
	for _, ending := range chunkEndings[len(values):] {
		if hasCookie(r.Header, Name(base+ending, secure)) {
			Set(w, base+ending, "", secure, 0)
		}
	}
}

func hasCookie(header http.Header, name string) bool {
	for got := range All(header) {
		if got == name {
			return true
		}
	}
	return false
}

// SessionValues returns the values of the session cookies in order, and how many there are up to the first that is missing. any
// reports whether there is any such cookie.
func SessionValues(header http.Header, base string, secure bool) (values [MaxChunks]string, n int, any bool) {
	prefix := Name(base, secure)
	for name, value := range All(header) {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		for i := range values {
			// The first of two cookies with one name has the longer path or is older (RFC 6265 section 5.4). With __Host- there is
			// only ours.
			if name[len(prefix):] == chunkEndings[i] && values[i] == "" {
				values[i], any = value, true
			}
		}
	}
	for n < len(values) && values[n] != "" {
		n++
	}
	return values, n, any
}
