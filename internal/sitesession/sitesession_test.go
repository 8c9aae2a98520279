package sitesession

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
)

// ownerOf is the user with this sub at the shop, or nobody.
func ownerOf(t testing.TB, sub string) Owner {
	o := Owner{Keys: sealtest.Keys(t).SiteSession, Host: "shop.example.no", MSN: "123456"}
	if sub != "" {
		o.Person = PersonOf(sub)
	}
	return o
}

// bindLines returns the Set-Cookie lines of an answer to a page at /account/orders, bound.
func bindLines(t testing.TB, c *Cookies, o Owner, lines ...string) []string {
	t.Helper()
	answer := http.Header{"Set-Cookie": lines}
	if refused := c.Bind(answer, o, "/account/orders"); len(refused) > 0 {
		t.Errorf("refused: %v", refused)
	}
	return answer["Set-Cookie"]
}

// pairOf is what a browser sends back of a Set-Cookie line.
func pairOf(line string) string {
	pair, _, _ := strings.Cut(line, ";")
	return pair
}

// filtered is what is left of a Cookie line.
func filtered(c *Cookies, o Owner, line string) string {
	header := http.Header{"Cookie": {line}}
	c.Filter(header, o)
	return strings.Join(header["Cookie"], "\n")
}

// TestBoundCookies: what was set for one is worth nothing to anybody else, anywhere else, under any other name, or changed.
func TestBoundCookies(t *testing.T) {
	c := New([]string{"PHPSESSID", "other"}, false)
	anna := ownerOf(t, "anna")
	lines := bindLines(t, c, anna, "PHPSESSID=abc; path=/; HttpOnly")
	bound, attributes, _ := strings.Cut(lines[0], ";")
	if attributes != " path=/; HttpOnly" || strings.Contains(bound, "abc") {
		t.Errorf("bound: %s", lines[0])
	}
	if got := filtered(c, anna, "a=1; "+bound+"; b=2"); got != "a=1; PHPSESSID=abc; b=2" {
		t.Errorf("the site gets %q", got)
	}
	host, msn, keys := anna, anna, anna
	host.Host, msn.MSN = "other.example.no", "234567"
	keys.Keys = sealtest.Keys(t, strings.Repeat("x", 40)).SiteSession
	for name, o := range map[string]Owner{
		"another user": ownerOf(t, "bo"), "nobody": ownerOf(t, ""), "another host": host, "another merchant": msn, "another secret": keys,
		"keys of another purpose": {sealtest.Keys(t).Session, anna.Host, anna.MSN, anna.Person}, "no keys": {nil, anna.Host, anna.MSN, anna.Person},
	} {
		if got := filtered(c, o, bound); got != "" {
			t.Errorf("%s: the site gets %q", name, got)
		}
	}
	_, value, _ := strings.Cut(bound, "=")
	if got := filtered(c, anna, "other="+value); got != "" {
		t.Errorf("under another name: the site gets %q", got)
	}
	for i := range value {
		changed := []byte(value)
		changed[i] = "AB"[btoi(changed[i] == 'A')]
		if got := filtered(c, anna, "PHPSESSID="+string(changed)); got != "" && string(changed) != value {
			t.Fatalf("with character %d changed: the site gets %q", i, got)
		}
	}
	if got := filtered(c, anna, "PHPSESSID="+value[:len(value)-4]); got != "" {
		t.Errorf("cut: the site gets %q", got)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestVisitorsCookies: what was set for nobody fits nobody with a session.
func TestVisitorsCookies(t *testing.T) {
	c := New([]string{"sid"}, true)
	bound := pairOf(bindLines(t, c, ownerOf(t, ""), "sid=basket")[0])
	if got := filtered(c, ownerOf(t, ""), bound); got != "sid=basket" {
		t.Errorf("a visitor's: %q", got)
	}
	for _, sub := range []string{"anna", "\x00"} {
		if got := filtered(c, ownerOf(t, sub), bound); got != "" {
			t.Errorf("a user's: %q", got)
		}
	}
	if PersonOf("") == (Person{}) {
		t.Error("a session without a sub would be nobody's")
	}
}

// TestNamesReadOtherwise: whatever a stack may take for the site's cookie, and nobody has bound, goes; other cookies stay.
func TestNamesReadOtherwise(t *testing.T) {
	c := New([]string{"PHPSESSID", "ASP.NET_SessionId", "my_sid", "__Host-sid"}, false)
	o := ownerOf(t, "anna")
	for _, pair := range []string{
		"PHPSESSID=evil", "PHPSESSID", "PHPSESSID=", " PHPSESSID = evil", "\tPHPSESSID\t=evil", "phpsessid=evil", "PHPSESSID[]=evil", "PHPSESSID[x]=evil", "PHPSESSID%00x=evil",
		"%50HPSESSID=evil", "PHP%53ESSID=evil", "PHP%73ESSID=evil", "PHP%2553ESSID=evil", "%50HPSESSI%44=evil", "+PHPSESSID=evil", "\u00a0PHPSESSID=evil", "PHPSESSID\u2003=evil", "\xa0PHPSESSID=evil", `"PHPSESSID"=evil`,
		"ASP_NET_SessionId=evil", "asp.net_sessionid=evil", "ASP NET_SessionId=evil", "ASP[NET_SessionId=evil", "ASP+NET_SessionId=evil", "ASP%2ENET_SessionId=evil",
		"my.sid=evil", "my sid=evil", "my[sid=evil", "my%5Bsid=evil", "my%5fsid=evil", "..Host-sid=evil", "_.Host-sid=evil", "__Host-sid=evil",
		"x=1, PHPSESSID=evil", "x=1,PHPSESSID=evil", `x="1, PHPSESSID=evil`, "x=1 PHPSESSID=evil", "x=\"a\tPHPSESSID=evil\"", "$Version=1, PHPSESSID=evil", "x=1,php%53essid=evil",
	} {
		if got := filtered(c, o, "a=1; "+pair+"; b=2"); got != "a=1; b=2" {
			t.Errorf("%q: the site gets %q", pair, got)
		}
	}
	for _, line := range []string{
		"a=1", "a=1; b=2", "a=1;b=2", "a", "", " ", "a=1;", ";;a=1", "a=1;  b = 2 ", `a="x, y; z"`, "PHPSESSID2=x", "XPHPSESSID=x", "PHPSESSID-x=1", "PHP_SESSID=x", "x=PHPSESSID", "a=%50", "%=1", "%zz=1", "my__sid=1", "=x",
		"prefs=a,b c", "note=my sid is 5",
	} {
		if got := filtered(c, o, line); got != line {
			t.Errorf("%q became %q", line, got)
		}
	}
}

// TestDoubledCookies: a sibling's cookie of the same name, before or after, changes nothing, on several lines too, and does
// not have the browser forget the user's own.
func TestDoubledCookies(t *testing.T) {
	c := New([]string{"sid"}, false)
	anna, bo := ownerOf(t, "anna"), ownerOf(t, "bo")
	own := pairOf(bindLines(t, c, anna, "sid=own; Path=/")[0])
	old := pairOf(bindLines(t, c, bo, "sid=bos; Path=/")[0])
	visitors := pairOf(bindLines(t, c, ownerOf(t, ""), "sid=planted; Path=/")[0])
	for _, lines := range [][]string{
		{"sid=evil; " + own}, {own + "; sid=evil"}, {"sid=evil", own}, {own, "sid=evil"}, {old + "; " + own + "; " + visitors + "; sid=evil"},
	} {
		header := http.Header{"Cookie": slices.Clone(lines)}
		found := c.Filter(header, anna)
		if got := header["Cookie"]; !slices.Equal(got, []string{"sid=own"}) {
			t.Errorf("%q: the site gets %q", lines, got)
		}
		answer := http.Header{}
		if found.Expire(answer, "/", true); len(answer) > 0 {
			t.Errorf("%q: expires %v", lines, answer)
		}
	}
}

// TestExpiredMisfits: the browser forgets what does not fit where it has it, but not what the answer sets.
func TestExpiredMisfits(t *testing.T) {
	c := New([]string{"sid", "__Host-sid"}, false)
	anna, bo := ownerOf(t, "anna"), ownerOf(t, "bo")
	var cookies []string
	for _, line := range bindLines(t, c, anna,
		"sid=1; Path=/; HttpOnly", "sid=2", "sid=3; path=/shop; domain=.Example.no", "sid=4; Path=relative; Secure; Partitioned; SameSite=None", "__Host-sid=5; Path=/; Secure",
	) {
		cookies = append(cookies, pairOf(line))
	}
	header := http.Header{"Cookie": {strings.Join(cookies, "; ")}}
	found := c.Filter(header, bo)
	if len(header) > 0 {
		t.Errorf("the site gets %v", header)
	}
	answer := http.Header{"Cache-Control": {"max-age=60"}}
	found.Expire(answer, "/account/orders", true)
	want := []string{
		"sid=; Path=/; Max-Age=0; Secure", "sid=; Path=/account; Max-Age=0; Secure", "sid=; Path=/shop; Max-Age=0; Domain=example.no; Secure", "__Host-sid=; Path=/; Max-Age=0; Secure",
	}
	if got := answer["Set-Cookie"]; !slices.Equal(got, want) {
		t.Errorf("expires %q", got)
	}
	if got := answer["Cache-Control"]; !slices.Contains(got, "private") {
		t.Errorf("a cache may keep it: %q", got)
	}
	answer = http.Header{}
	if c.Filter(http.Header{"Cookie": {cookies[3]}}, bo).Expire(answer, "/", true); answer.Get("Set-Cookie") != "sid=; Path=/account; Max-Age=0; Secure; Partitioned" {
		t.Errorf("of a partitioned one: %v", answer)
	}
	// What the answer sets, or deletes itself, is not touched; nor is what stands in no place that is known, over HTTP.
	answer = http.Header{"Set-Cookie": {"x=1", "sid=new; Path=/", "sid=gone; Max-Age=0"}}
	found.Expire(answer, "/account/orders", false)
	if got := answer["Set-Cookie"][3:]; !slices.Equal(got, []string{"sid=; Path=/shop; Max-Age=0; Domain=example.no", "__Host-sid=; Path=/; Max-Age=0"}) {
		t.Errorf("beside others: %q", got)
	}
	answer = http.Header{}
	if c.Filter(http.Header{"Cookie": {"sid=unbound; sid=another; SID=x; s%69d=x"}}, bo).Expire(answer, "/", false); !slices.Equal(answer["Set-Cookie"], []string{"sid=; Path=/; Max-Age=0"}) {
		t.Errorf("of unbound ones: %v", answer)
	}
}

// TestSetCookieLines: a session cookie is bound in whatever way it is written, and everything else stays as it is.
func TestSetCookieLines(t *testing.T) {
	c := New([]string{"sid"}, false)
	o := ownerOf(t, "anna")
	for line, value := range map[string]string{
		"sid=abc": "abc", "sid=abc;Path=/": "abc", " sid = abc ; Path=/": "abc", "\tsid=abc": "abc", "sid=": "", "sid=;Max-Age=0": "", `sid="a b,c"; secure`: `"a b,c"`,
		"sid=a=b==": "a=b==", "sid=é\xff": "é\xff", "sid=deleted; expires=Thu, 01 Jan 1970 00:00:00 GMT; path=/": "deleted",
	} {
		got := bindLines(t, c, o, line)[0]
		_, attributes, _ := strings.Cut(line, ";")
		_, kept, _ := strings.Cut(got, ";")
		if kept != attributes || filtered(c, o, pairOf(got)) != "sid="+value {
			t.Errorf("%q became %q, of which the site gets %q", line, got, filtered(c, o, pairOf(got)))
		}
	}
	for _, line := range []string{"SID=x; Path=/", "sid2=x", "xsid=x", "=sid=x", "sid", "", ";sid=x", "other=sid=x; sid=y"} {
		if got := bindLines(t, c, o, line)[0]; got != line {
			t.Errorf("%q became %q", line, got)
		}
	}
	// Any spelling of the field, a thousand lines, and what cannot be kept.
	answer := http.Header{"set-cookie": {"sid=1"}, "SET-COOKIE": {"sid=2", "x=2"}, "Set-Cookie": nil, "Set-Cookie2": {"sid=3"}}
	for i := range 1000 {
		answer.Add("Set-Cookie", fmt.Sprintf("sid=%d", i))
	}
	answer.Add("Set-Cookie", "sid="+strings.Repeat("x", 3000)+"; Path=/")
	answer.Add("Set-Cookie", "sid="+strings.Repeat("x", 3100)+"; Path=/")
	answer.Add("Set-Cookie", "sid=a\x00b")
	answer.Add("Set-Cookie", "sid=a\x7fb")
	if refused := c.Bind(answer, o, "/"); !slices.Equal(refused, []string{"sid"}) {
		t.Errorf("refused: %v", refused)
	}
	if n := len(answer["Set-Cookie"]); n != 1001 {
		t.Errorf("%d lines", n)
	}
	for field, lines := range answer {
		for _, line := range lines {
			name, value, _ := strings.Cut(pairOf(line), "=")
			if field != "Set-Cookie2" && name == "sid" && (filtered(c, o, pairOf(line)) == "" || len(name)+len(value) > MaxBytes) {
				t.Errorf("%s: %s", field, line)
			}
		}
	}
	// Where it is not known whose site this is, nothing is set.
	answer = http.Header{"Set-Cookie": {"sid=1", "x=1"}, "set-cookie": {"sid=2"}}
	if c.Bind(answer, Owner{}, "/"); len(answer) != 1 || !slices.Equal(answer["Set-Cookie"], []string{"x=1"}) {
		t.Errorf("without keys: %v", answer)
	}
}

// TestRemovedCookies: what Remove takes out it puts back, and trailers have none.
func TestRemovedCookies(t *testing.T) {
	c := New([]string{"sid"}, false)
	answer := http.Header{"Set-Cookie": {"sid=1", "x=1"}, "set-cookie": {"sid=2"}, "Trailer:Set-Cookie": {"sid=3", "x=3"}, "Link": {"</x>"}}
	restore := c.Remove(answer)
	if len(answer) != 3 || !slices.Equal(answer["Set-Cookie"], []string{"x=1"}) {
		t.Errorf("removed: %v", answer)
	}
	restore()
	if len(answer) != 4 || len(answer["Set-Cookie"]) != 2 {
		t.Errorf("restored: %v", answer)
	}
	if c.RemoveTrailers(answer); !slices.Equal(answer["Trailer:Set-Cookie"], []string{"x=3"}) || len(answer["Set-Cookie"]) != 2 {
		t.Errorf("trailers: %v", answer)
	}
}

// TestKeptAtLogin: a visitor's cookie becomes that of the user who logs in, as the site has set it, and nobody else's.
func TestKeptAtLogin(t *testing.T) {
	anna, bo, nobody := ownerOf(t, "anna"), ownerOf(t, "bo"), ownerOf(t, "")
	c := New([]string{"sid", "other"}, true)
	set := func(o Owner, line string) string { return pairOf(bindLines(t, c, o, line)[0]) }
	basket := set(nobody, "sid=basket; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600")
	logIn := func(c *Cookies, o Owner, replaces bool, cookies ...string) []string {
		request, answer := http.Header{"Cookie": {strings.Join(cookies, "; ")}}, http.Header{}
		before := slices.Clone(request["Cookie"])
		c.LogIn(request, answer, o, replaces, true)
		if !slices.Equal(before, request["Cookie"]) {
			t.Errorf("the request became %q", request["Cookie"])
		}
		return answer["Set-Cookie"]
	}
	kept := logIn(c, anna, false, "x=1", basket)
	if len(kept) != 1 || !strings.HasSuffix(kept[0], "; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600") || filtered(c, anna, pairOf(kept[0])) != "sid=basket" {
		t.Fatalf("kept: %q", kept)
	}
	if got := filtered(c, bo, pairOf(kept[0])) + filtered(c, nobody, pairOf(kept[0])) + filtered(c, anna, basket); got != "" {
		t.Errorf("somebody else gets %q", got)
	}
	const gone = "sid=; Path=/; Max-Age=0; Secure"
	for name, got := range map[string][]string{
		"again, for another": logIn(c, bo, false, pairOf(kept[0])), "where a session is replaced": logIn(c, anna, true, basket), "without the option": logIn(New([]string{"sid"}, false), anna, false, basket),
		"another's": logIn(c, anna, false, set(bo, "sid=bos; Path=/")), "unbound": logIn(c, anna, false, "sid=evil"), "two of them": logIn(c, anna, false, basket, set(nobody, "sid=planted; Path=/")),
	} {
		if !slices.Equal(got, []string{gone}) {
			t.Errorf("%s: %q", name, got)
		}
	}
	own := set(anna, "sid=annas; Path=/")
	for name, got := range map[string][]string{"the user's own": logIn(c, anna, false, own), "beside the user's own": logIn(c, anna, false, own, basket), "beside an unbound one": logIn(c, anna, false, own, "sid=evil"), "none": logIn(c, anna, false)} {
		if len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
	// The same one twice is one. One that is without a Path keeps its place.
	if got := logIn(c, anna, false, basket, basket); len(got) != 1 || filtered(c, anna, pairOf(got[0])) != "sid=basket" {
		t.Errorf("twice: %q", got)
	}
	if got := logIn(c, anna, false, set(nobody, "other=1; Secure; Partitioned")); len(got) != 1 || !strings.HasSuffix(got[0], "; Secure; Partitioned; Path=/account") {
		t.Errorf("without a Path: %q", got)
	}
	if got := logIn(c, anna, false, "sid=evil", basket); len(got) != 1 || filtered(c, anna, pairOf(got[0])) != "sid=basket" {
		t.Errorf("beside an unbound one: %q", got)
	}
}

// TestPathOfTheVisitorsChoice: a path with a semicolon becomes no attribute of a line of ours.
func TestPathOfTheVisitorsChoice(t *testing.T) {
	c := New([]string{"sid"}, true)
	answer := http.Header{"Set-Cookie": {"sid=1"}}
	c.Bind(answer, ownerOf(t, ""), "/;Domain=example.no/x")
	request := http.Header{"Cookie": {pairOf(answer.Get("Set-Cookie"))}}
	kept, gone := http.Header{}, http.Header{}
	c.LogIn(request, kept, ownerOf(t, "anna"), false, false)
	c.LogOut(request, gone, ownerOf(t, ""), false)
	for _, answer := range []http.Header{kept, gone} {
		if line := answer.Get("Set-Cookie"); line == "" || strings.Contains(line, "Domain") {
			t.Errorf("set: %s", line)
		}
	}
}

// TestLoggedOut: the browser forgets all of them.
func TestLoggedOut(t *testing.T) {
	c := New([]string{"sid"}, false)
	anna := ownerOf(t, "anna")
	cookies := []string{pairOf(bindLines(t, c, anna, "sid=1; Path=/")[0]), pairOf(bindLines(t, c, ownerOf(t, "bo"), "sid=2; Path=/x")[0]), pairOf(bindLines(t, c, ownerOf(t, ""), "sid=3; Domain=example.no")[0]), "sid=4", "x=5"}
	answer := http.Header{}
	c.LogOut(http.Header{"Cookie": {strings.Join(cookies, "; ")}}, answer, anna, false)
	want := []string{"sid=; Path=/; Max-Age=0", "sid=; Path=/x; Max-Age=0", "sid=; Path=/account; Max-Age=0; Domain=example.no"}
	if got := answer["Set-Cookie"]; !slices.Equal(got, want) {
		t.Errorf("expires %q", got)
	}
}

// FuzzFilter: other cookies stay, and nothing that a stack reads as the site's cookie gets by that was not bound.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{"a=1; sid=x", "s%69d=x", `a="b; sid=x"`, "sid", ";;=", "sid=x, sid=y", "\u00a0sid = x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c := New([]string{"sid"}, false)
		o := ownerOf(t, "anna")
		own := pairOf(bindLines(t, c, o, "sid=own")[0])
		for _, whole := range []string{line, own + "; " + line, line + "; " + own} {
			header := http.Header{"Cookie": {whole}}
			c.Filter(header, o)
			for _, left := range header["Cookie"] {
				for part := range strings.FieldsFuncSeq(left, func(r rune) bool { return strings.ContainsRune(";, \t", r) }) {
					name, value, _ := strings.Cut(part, "=")
					if strings.EqualFold(name, "sid") && value != "own" && strings.Contains(part, "=") {
						t.Errorf("%q became %q", whole, left)
					}
				}
			}
			if whole == line && !strings.Contains(strings.ToLower(line), "s") && !strings.ContainsAny(line, "%") && strings.Join(header["Cookie"], "") != line {
				t.Errorf("%q became %q", line, header["Cookie"])
			}
		}
		if sealed, err := base64.RawURLEncoding.DecodeString(line); err == nil {
			if b, ok := open(o, "sid", base64.RawURLEncoding.EncodeToString(sealed)); ok {
				t.Errorf("%q opens: %v", line, b)
			}
		}
	})
}
