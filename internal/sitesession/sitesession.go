// Package sitesession binds a site's own session cookies to the person they were set for: what one leaves in a browser is worth
// nothing to the next.
package sitesession

import (
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
)

// Cookies are a site's session cookies.
type Cookies struct {
	names  []string
	folded map[string]bool // as stacks may read them
	keep   bool
}

// New returns the cookies of these names. With keepAtLogin, a login binds a visitor's to whoever logs in.
func New(names []string, keepAtLogin bool) *Cookies {
	c := &Cookies{names: names, folded: make(map[string]bool, len(names)), keep: keepAtLogin}
	for _, name := range names {
		c.folded[Fold(name)] = true
	}
	return c
}

// Found are the session cookies of a request: those that fit its owner, and those that do not.
type Found struct{ fits, misfits []bound }

// OfSomebody reports whether a cookie among the misfits was set for a user.
func (f Found) OfSomebody() bool {
	return slices.ContainsFunc(f.misfits, func(b bound) bool { return b.person != (Person{}) })
}

// Filter leaves in a request those session cookies that fit its owner, as the site has set them. Whatever a stack may take for
// one, and is none, goes. Other cookies stay as they are, byte for byte.
func (c *Cookies) Filter(header http.Header, o Owner) (found Found) {
	lines := header["Cookie"]
	kept := lines[:0:0]
	changed := false
	for _, line := range lines {
		rest, lineChanged := c.filterLine(line, o, &found)
		changed = changed || lineChanged
		if rest != "" || !lineChanged {
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
	return found
}

func (c *Cookies) filterLine(line string, o Owner, found *Found) (rest string, changed bool) {
	var kept strings.Builder
	keep := func(pair string) {
		if kept.Len() > 0 {
			kept.WriteByte(';')
		} else {
			pair = strings.TrimLeft(pair, " ")
		}
		kept.WriteString(pair)
	}
	for pair := range strings.SplitSeq(line, ";") {
		name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
		name = strings.TrimRight(name, " \t")
		if !c.mayBe(name) && !c.mayHold(strings.Trim(pair, " \t")) {
			keep(pair)
			continue
		}
		changed = true
		if !c.isOne(name) {
			continue // only looks like one: no browser has it from the site
		}
		b, ok := open(o, name, strings.TrimLeft(value, " \t"))
		switch {
		case !ok:
			found.misfits = append(found.misfits, bound{place: place{name: name, path: "/"}, unknown: true})
		case b.person == o.Person:
			found.fits = append(found.fits, b)
			keep(" " + name + "=" + b.value)
		default:
			found.misfits = append(found.misfits, b)
		}
	}
	if !changed {
		return line, false
	}
	return kept.String(), true
}

// Bind binds the session cookies in an answer to the owner. requestPath is the path that the browser has asked for. It returns
// the names of those that it has left out because browsers would not take them.
func (c *Cookies) Bind(answer http.Header, o Owner, requestPath string) (refused []string) {
	announceNoCookies(answer)
	if len(o.Keys) == 0 { // whose site this is could not be found out
		c.Remove(answer)
		return nil
	}
	for field, lines := range answer {
		if textproto.CanonicalMIMEHeaderKey(field) != "Set-Cookie" {
			continue
		}
		kept := lines[:0:0]
		for _, line := range lines {
			s, ok := parseSetCookie(line)
			if !ok || !c.isOne(s.name) {
				kept = append(kept, line)
				continue
			}
			bound, err := c.bind(s, o, requestPath)
			if err == nil && !hasControl(line) {
				kept = append(kept, bound)
			} else if !slices.Contains(refused, s.name) {
				refused = append(refused, s.name)
			}
		}
		setOrDelete(answer, field, kept)
	}
	return refused
}

func (c *Cookies) bind(s setCookie, o Owner, requestPath string) (line string, err error) {
	b := bound{place: s.placeOf(requestPath), person: o.Person, attributes: onlyPartitioned(s.attributes), value: s.value}
	if c.keep && o.Person == (Person{}) {
		b.attributes = s.attributes
	}
	value := b.seal(o)
	if len(s.name)+len(value) > MaxBytes {
		return "", errRefused
	}
	return s.name + "=" + value + s.attributes, nil
}

// Remove takes the session cookies out of an answer. What it returns puts them back.
func (c *Cookies) Remove(answer http.Header) (restore func()) { return c.remove(answer, "") }

// RemoveTrailers takes them out of what follows the body: nobody has bound them.
func (c *Cookies) RemoveTrailers(answer http.Header) { c.remove(answer, http.TrailerPrefix) }

// announceNoCookies takes Set-Cookie out of the trailers that an answer announces: the server sends those that are announced
// only.
func announceNoCookies(answer http.Header) {
	lines := answer["Trailer"]
	for i, line := range lines {
		var kept []string
		for field := range strings.SplitSeq(line, ",") {
			if textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(field)) != "Set-Cookie" {
				kept = append(kept, field)
			}
		}
		lines[i] = strings.Join(kept, ",")
	}
	if lines = slices.DeleteFunc(lines, func(line string) bool { return strings.TrimSpace(line) == "" }); lines != nil {
		setOrDelete(answer, "Trailer", lines)
	}
}

// remove is Remove from the fields whose names begin so.
func (c *Cookies) remove(answer http.Header, prefix string) (restore func()) {
	before := make(http.Header)
	for field, lines := range answer {
		name, ok := strings.CutPrefix(field, prefix)
		if !ok || textproto.CanonicalMIMEHeaderKey(name) != "Set-Cookie" {
			continue
		}
		before[field] = lines
		setOrDelete(answer, field, slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
			s, ok := parseSetCookie(line)
			return ok && c.isOne(s.name)
		}))
	}
	return func() {
		for field, lines := range before {
			answer[field] = lines
		}
	}
}

func setOrDelete(header http.Header, field string, lines []string) {
	if len(lines) == 0 {
		delete(header, field)
		return
	}
	header[field] = lines
}

// Expire has the browser forget the misfits, but for those that the answer sets anew, or that are where a cookie that fits is:
// a sibling can plant one whose place nobody knows.
func (f Found) Expire(answer http.Header, requestPath string, secure bool) {
	if len(f.misfits) == 0 {
		return
	}
	done := make(map[place]bool)
	for _, b := range f.fits {
		done[b.place] = true
	}
	for _, line := range answer["Set-Cookie"] {
		if s, ok := parseSetCookie(line); ok {
			done[s.placeOf(requestPath)] = true
		}
	}
	for _, b := range f.misfits {
		if !done[b.place] {
			done[b.place] = true
			answer.Add("Set-Cookie", b.expire(secure))
			cookie.KeepPrivate(answer)
		}
	}
}

// LogOut has the browser forget all session cookies that came with a request, whoever they were set for.
func (c *Cookies) LogOut(request, answer http.Header, o Owner, secure bool) {
	all := c.look(request, o)
	Found{misfits: slices.Concat(all.fits, all.misfits)}.Expire(answer, "/", secure)
}

// LogIn is for the answer that ends a login of the owner: the browser forgets what does not fit. With keep_at_login a cookie
// that was set for nobody is bound to the owner, unless the login replaces a session.
func (c *Cookies) LogIn(request, answer http.Header, o Owner, replaces, secure bool) {
	found := c.look(request, o)
	if c.keep && !replaces {
		for _, name := range c.names {
			if b, ok := found.visitors(name); ok {
				answer.Add("Set-Cookie", b.setAgain(o))
			}
		}
	}
	found.Expire(answer, "/", secure)
}

// visitors returns the cookie of that name that was set for nobody. It is false where there are several, of which a sibling
// may have planted one, and where the user has one already.
func (f Found) visitors(name string) (b bound, ok bool) {
	if slices.ContainsFunc(f.fits, func(own bound) bool { return own.name == name }) {
		return bound{}, false
	}
	for _, misfit := range f.misfits {
		if misfit.name != name || misfit.unknown || misfit.person != (Person{}) {
			continue
		}
		if ok && b != misfit {
			return bound{}, false
		}
		b, ok = misfit, true
	}
	return b, ok
}

// look is Filter of a request that stays as it is.
func (c *Cookies) look(request http.Header, o Owner) Found {
	return c.Filter(http.Header{"Cookie": slices.Clone(request["Cookie"])}, o)
}

// DropTrailer has no Cookie follow the body of a request: some servers merge what does into the header.
func DropTrailer(r *http.Request) {
	if len(r.Trailer) > 0 && r.Body != nil {
		delete(r.Trailer, "Cookie")
		r.Body = &trailerDropper{r.Body, r}
	}
}

// trailerDropper removes it when the body ends: then the server adds the trailers to the request, announced or not.
type trailerDropper struct {
	io.ReadCloser
	request *http.Request
}

func (t *trailerDropper) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err != nil {
		delete(t.request.Trailer, "Cookie")
	}
	return n, err
}
