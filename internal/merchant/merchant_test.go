package merchant

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestCanonicalHost(t *testing.T) {
	for host, want := range map[string]string{
		"shop.example.no": "shop.example.no", "SHOP.Example.NO": "shop.example.no", "shop.example.no:8443": "shop.example.no",
		"shop.example.no.": "shop.example.no", "shop.example.no.:443": "shop.example.no", "blåbær.no": "xn--blbr-roah.no",
		"XN--blbr-ROAH.no": "xn--blbr-roah.no", "127.0.0.1:80": "127.0.0.1", "[::1]:80": "::1", "[::1]": "::1", "::1": "::1",
		"localhost": "localhost",
		"":          "", ":80": "", ".": "", "..": "", "a..b": "", ".example.no": "", "a b": "", "a/b": "", "a\x00b": "", "evil.example#shop.no": "",
		"user@host": "", "a%2eb": "", strings.Repeat("a", 254): "", "\xff.no": "", "shop.no\\": "", "[::1%eth0]": "",
	} {
		got, ok := CanonicalHost(host)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: got %q, %v; want %q", host, got, ok, want)
		}
	}
}

func FuzzHost(f *testing.F) {
	for _, seed := range []string{"shop.example.no:80", "[::1]:80", "*.x", "blåbær.no", "a..b", ":", "evil.example/shop.example.no", "evil@shop.example.no"} {
		f.Add(seed)
	}
	table := NewHosts()
	for host, msn := range map[string]string{"shop.example.no": "1111", "*.example.no": "2222"} {
		if err := table.Add(host, &Unit{MSN: msn}); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, hostport string) {
		host, ok := CanonicalHost(hostport)
		if !ok {
			return
		}
		if again, ok := CanonicalHost(host); !ok || again != host {
			t.Errorf("%q becomes %q, and that %q", hostport, host, again)
		}
		if strings.ContainsAny(host, "/\\@?#% \r\n") {
			t.Errorf("%q becomes %q", hostport, host)
		}
		if unit := table.Lookup(host); unit != nil && !strings.HasSuffix(host, ".example.no") {
			t.Errorf("%q belongs to %s", hostport, unit.MSN)
		}
	})
}

// BenchmarkLookup: a lookup costs the same for ten hosts and for 100,000, but for what the processor's
// caches do not hold, and no allocation. Each is for another host, as requests are.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		table := NewHosts()
		for i := range n {
			if err := table.Add(fmt.Sprintf("shop-%d.example.no", i), &Unit{MSN: fmt.Sprint(100_000 + i)}); err != nil {
				b.Fatal(err)
			}
		}
		if err := table.Add("*.shops.example.no", &Unit{MSN: "1111"}); err != nil {
			b.Fatal(err)
		}
		for _, kind := range []string{"shop-%d.example.no", "%d.shops.example.no", "shop-%d.example.dk"} {
			hosts := make([]string, 4096)
			for i := range hosts {
				hosts[i] = fmt.Sprintf(kind, rand.IntN(n))
			}
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if unit := table.Lookup(hosts[i%len(hosts)]); (unit == nil) != strings.HasSuffix(kind, ".dk") {
						b.Fatal(unit)
					}
				}
			})
		}
	}
}

// TestLookupAllocatesNothing, in whatever way a host is found or not.
func TestLookupAllocatesNothing(t *testing.T) {
	table := NewHosts()
	for _, host := range []string{"shop.example.no", "*.shops.example.no"} {
		if err := table.Add(host, &Unit{MSN: "1111"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, host := range []string{"shop.example.no", "oslo.shops.example.no", "shop.example.dk", "localhost"} {
		if n := testing.AllocsPerRun(100, func() { table.Lookup(host) }); n > 0 {
			t.Errorf("%s: %v allocations", host, n)
		}
	}
}
