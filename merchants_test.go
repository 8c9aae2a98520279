package vippslogin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"unsafe"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// fileHandler is a handler that a merchants file belongs to.
func fileHandler(keys vipps.Keys) *Handler {
	return &Handler{app: &App{partnerKeys: keys}, scope: "openid name", Market: "NO", logger: zap.NewNop()}
}

var somePartner = vipps.Keys{ClientID: "id", ClientSecret: "secret", SubscriptionKey: "key"}

// TestMerchantsFile: what a file means.
func TestMerchantsFile(t *testing.T) {
	t.Setenv("SHOP_SECRET", "resolved")
	const partner = "{123456   openid name NO}"
	for name, test := range map[string]struct {
		content string
		want    map[string]string
	}{
		"the two columns":             {"host,msn\na.no,123456\n", map[string]string{"a.no": partner}},
		"several hosts of a merchant": {"host,msn\na.no,123456\nb.no,123456\n", map[string]string{"a.no": partner, "b.no": partner}},
		"another order":               {"msn,host\n123456,a.no\n", map[string]string{"a.no": partner}},
		"a byte order mark":           {"\ufeffhost,msn\na.no,123456\n", map[string]string{"a.no": partner}},
		"a mark and quotes":           {"\ufeff\"host\",\"msn\"\n\"a.no\",\"123456\"\n", map[string]string{"a.no": partner}},
		"Windows lines, none at last": {"host,msn\r\na.no,123456\r\n\r\nb.no,123456", map[string]string{"a.no": partner, "b.no": partner}},
		"comments and empty lines":    {"# ours\n\nhost,msn\n# Oslo, the one at \"the\" station\na.no,123456\n\n", map[string]string{"a.no": partner}},
		"spaces":                      {"host , msn\n a.no , 123456 \nb.no, \"123456\"\n", map[string]string{"a.no": partner, "b.no": partner}},
		"another spelling":            {"host,msn\nA.NO.,123456\nblåbær.no,123456\n", map[string]string{"a.no": partner, "xn--blbr-roah.no": partner}},
		"a wildcard":                  {"host,msn\n*.a.no,123456\nb.a.no,234567\n", map[string]string{"c.a.no": partner, "b.a.no": "{234567   openid name NO}", "a.no": ""}},
		"everything": {"market,scope,client_secret,client_id,msn,host\nDK,name email,{env.SHOP_SECRET},shop-id,123456,a.no\n,,,,123456,b.no\n",
			map[string]string{"a.no": "{123456 shop-id resolved openid name email DK}", "b.no": partner}},
	} {
		t.Run(name, func(t *testing.T) {
			table := merchant.NewHosts()
			hosts, err := fileHandler(somePartner).addFromFile("m.csv", strings.NewReader(test.content), table)
			if err != nil {
				t.Fatal(err)
			}
			if hosts != len(table.Exact)+len(table.Wildcard) {
				t.Errorf("%d hosts, and %v", hosts, table)
			}
			for host, want := range test.want {
				got := ""
				if unit := table.Lookup(host); unit != nil {
					got = fmt.Sprintf("{%s %s %s %s %s}", unit.MSN, unit.ClientID, unit.ClientSecret, unit.Scope, unit.Market)
				}
				if got != want {
					t.Errorf("%s belongs to %q, want %q", host, got, want)
				}
			}
		})
	}
}

// TestOneUnitForOneMerchant: what is the same for many hosts is in memory once.
func TestOneUnitForOneMerchant(t *testing.T) {
	table := merchant.NewHosts()
	_, err := fileHandler(somePartner).addFromFile("m.csv", strings.NewReader(`host,msn,market,scope
a.no,123456,,
b.no,234567,,name email
c.no,123456,,
d.no,123456,DK,name  email
`), table)
	if err != nil {
		t.Fatal(err)
	}
	if table.Exact["a.no"] != table.Exact["c.no"] || table.Exact["a.no"] == table.Exact["d.no"] {
		t.Errorf("the units are %v", table.Exact)
	}
	if b, d := table.Exact["b.no"].Scope, table.Exact["d.no"].Scope; b != d || unsafe.StringData(b) != unsafe.StringData(d) {
		t.Errorf("the scopes are %q and %q, in two places", b, d)
	}
}

// TestMerchantsFileInDocumentation: the file that is shown can be read.
func TestMerchantsFileInDocumentation(t *testing.T) {
	t.Setenv("KAFE_CLIENT_ID", "id")
	t.Setenv("KAFE_CLIENT_SECRET", "secret")
	page, err := os.ReadFile("docs/directive.md")
	if err != nil {
		t.Fatal(err)
	}
	_, content, _ := strings.Cut(string(page), "```text\n# One line for each host.")
	content, _, _ = strings.Cut(content, "```")
	table := merchant.NewHosts()
	if hosts, err := fileHandler(somePartner).addFromFile("m.csv", strings.NewReader("#"+content), table); err != nil || hosts != 3 {
		t.Errorf("%d hosts: %v", hosts, err)
	}
	if kafe := table.Lookup("kafe.gyms.example.no"); kafe == nil || !kafe.HasOwnKeys() || kafe.Market != "DK" {
		t.Errorf("the one with everything is %v", kafe)
	}
}

// TestBadMerchantsFile: each mistake is told with the line and the fix, and no key is.
func TestBadMerchantsFile(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"empty":                     {"", `m.csv:1: it is empty: begin with the line host,msn`},
		"a mark alone":              {"\ufeff", `m.csv:1: it is empty: `},
		"comments alone":            {"# host,msn\n\n", `m.csv:1: it is empty: `},
		"the first line alone":      {"\nhost,msn\n\n# a.no,123456\n", `m.csv:2: no line comes after this one: write one for each host`},
		"no first line":             {"a.no,123456\n", `m.csv:1: column 1 has no name that is known: let the first line name the columns, of host, msn, client_id, client_secret, scope, market`},
		"a secret in its place":     {"host,msn,secret-key\n", `m.csv:1: column 3 has no name that is known`},
		"semicolons":                {"host;msn\na.no;123456\n", `m.csv:1: this line has no comma and a semicolon: write commas between the columns`},
		"a column twice":            {"host,msn,scope,msn\n", `m.csv:1: column 4 has the name of column 2: keep one of them`},
		"a column too much":         {"host,msn,\na.no,123456,\n", `m.csv:1: column 3 has no name that is known`},
		"upper case":                {"Host,MSN\na.no,123456\n", `m.csv:1: column 1 has no name that is known`},
		"no host":                   {"msn,market\n123456,NO\n", `m.csv:1: a column is missing: host and msn must be there`},
		"no msn":                    {"host\na.no\n", `m.csv:1: a column is missing: host and msn must be there`},
		"one key alone":             {"host,msn,client_id\na.no,123456,x\n", `m.csv:1: a column is missing: client_id and client_secret go together`},
		"a field too few":           {"host,msn,market\na.no,123456,NO\nb.no,123456\n", `m.csv:3: it has more or fewer columns than the first line`},
		"a field too much":          {"host,msn\n# one\na.no,123456\nb.no,123456,secret-key\n", `m.csv:4: it has more or fewer columns than the first line`},
		"a stray quote":             {"host,msn\na\"b.no,123456\n", `m.csv:2: a quotation mark is out of place`},
		"a quote that does not end": {"host,msn\na.no,123456\n\"b.no,123456\nc.no,123456\n", `m.csv:3: a quotation mark is out of place`},
		"a short MSN":               {"host,msn\na.no,123456\nb.no,123\n", `m.csv:3: "123" is not a Merchant Serial Number: write its 4 to 10 digits`},
		"no MSN":                    {"host,msn\na.no,\n", `m.csv:2: "" is not a Merchant Serial Number`},
		"a request's MSN":           {"host,msn\na.no,{http.request.host}\n", `m.csv:2: "{http.request.host}" is not a Merchant Serial Number`},
		"an MSN of a spreadsheet":   {"host,msn\na.no,1.23E+05\n", `m.csv:2: "1.23E+05" is not a Merchant Serial Number`},
		"no host in a line":         {"host,msn\n,123456\n", `m.csv:2: "" is not a host: write a host name`},
		"a URL":                     {"host,msn\nhttps://a.no/,123456\n", `m.csv:2: "https://a.no/" is not a host`},
		"a port":                    {"host,msn\na.no:443,123456\n", `m.csv:2: "a.no:443" is not a host`},
		"a line break in a host":    {"host,msn\n\"a\nb.no\",123456\n", `m.csv:2: "a\nb.no" is not a host`},
		"every host":                {"host,msn\n*,123456\n", `m.csv:2: "*" is not a host`},
		"Latin-1":                   {"host,msn\nbl\xe5b\xe6r.no,123456\n", `m.csv:2: "bl\xe5b\xe6r.no" is not a host`},
		"UTF-16":                    {"\xff\xfeh\x00o\x00s\x00t\x00,\x00m\x00s\x00n\x00\n\x00", `m.csv:1: column 1 has no name that is known`},
		"a host twice":              {"host,msn\na.no,123456\nb.no,123456\nA.no,123456\n", `m.csv:4: host "A.no" stands twice: write it once`},
		"a host of two":             {"host,msn\na.no,123456\n\na.no,234567\n", `m.csv:4: host "a.no" is given to MSN 123456 and to MSN 234567: keep it at one of them`},
		"a market":                  {"host,msn,market\na.no,123456,no\n", `m.csv:2: market: "no" is not known: use one of NO DK FI SE`},
		"a scope":                   {"host,msn,scope\na.no,123456,\"name,email\"\n", `m.csv:2: scope: "name,email" is not a scope`},
		"no secret":                 {"host,msn,client_id,client_secret\na.no,123456,secret-key,\n", `m.csv:2: client_secret: it is empty: set it`},
		"no client_id":              {"host,msn,client_id,client_secret\na.no,123456,,secret-key\n", `m.csv:2: client_id: it is empty: set it`},
		"an unset variable":         {"host,msn,client_id,client_secret\na.no,123456,x,{env.NO_SUCH}\n", `m.csv:2: client_secret: `},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fileHandler(somePartner).addFromFile("m.csv", strings.NewReader(test.content), merchant.NewHosts())
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret-key") {
				t.Errorf("error: %v\nwant in it: %s", err, test.want)
			}
		})
	}
	_, err := fileHandler(vipps.Keys{}).addFromFile("m.csv", strings.NewReader("host,msn\na.no,123456\n"), merchant.NewHosts())
	if err == nil || !strings.Contains(err.Error(), "m.csv:2: no keys: ") {
		t.Errorf("without partner keys: %v", err)
	}
	broken := io.MultiReader(strings.NewReader("host,msn\na.no,123456\n"), iotest.ErrReader(os.ErrPermission))
	if _, err := fileHandler(somePartner).addFromFile("m.csv", broken, merchant.NewHosts()); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a file that breaks off: %v", err)
	}
}

// FuzzMerchantsFile: whatever is in a file, it is read or refused with its line, and what is read are hosts
// and MSNs.
func FuzzMerchantsFile(f *testing.F) {
	for _, seed := range []string{
		"host,msn\na.no,123456\n", "\ufeffmsn,host,scope,market\r\n123456,*.a.no,name email,DK\r\n", "host,msn,client_id,client_secret\na.no,123456,x,{env.HOME}\n",
		"# c\n\nhost,msn\n\"a.no\",\"123456\"\n", "host;msn\n", "host,msn\n\"", "host,msn,msn\n", "host,msn\na.no,1\n", "host,msn\na.no,123456\nA.NO,234567\n", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		table := merchant.NewHosts()
		hosts, err := fileHandler(somePartner).addFromFile("m.csv", strings.NewReader(content), table)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "m.csv:") || strings.Contains(err.Error(), "\n") && !strings.Contains(content, "\n") {
				t.Errorf("%q: %v", content, err)
			}
			return
		}
		if hosts == 0 || hosts != len(table.Exact)+len(table.Wildcard) {
			t.Errorf("%q: %d hosts of %v", content, hosts, table)
		}
		for _, units := range []map[string]*merchant.Unit{table.Exact, table.Wildcard} {
			for host, unit := range units {
				if canonical, ok := merchant.CanonicalHost(host); !ok || canonical != host || !merchant.IsMSN(unit.MSN) {
					t.Errorf("%q: %q belongs to %v", content, host, unit)
				}
				if (unit.ClientID == "") != (unit.ClientSecret == "") {
					t.Errorf("%q: %v has half its keys", content, unit)
				}
			}
		}
	})
}
