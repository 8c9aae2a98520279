package simulator

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
)

// The simulator in a whole Caddy, which drops headers with underscores unless
// it is told to expect them: Vipps MobilePay's client_id and client_secret
// would not arrive.
func TestInCaddy(t *testing.T) {
	for name, test := range map[string]struct {
		option string
		status int
	}{
		"keys expected": {"expected_underscore_headers client_id client_secret", 200},
		"keys dropped":  {"protocols h1", 400},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{t: t, base: startCaddy(t, test.option), client: http.DefaultClient}
			if a := w.do("POST", accessTokenPath, "", partnerKeyHeaders()); a.status != test.status {
				t.Errorf("accesstoken: %d, want %d: %s", a.status, test.status, a.body)
			}
			if got := w.do("GET", discoveryPath, "", nil).json(t)["issuer"]; got != issuer(w.base) {
				t.Errorf("issuer %v, want %s", got, issuer(w.base))
			}
			for name, value := range map[string]string{"Host": "rebound.example.com", "X-Forwarded-For": "192.0.2.1"} {
				a := w.do("GET", discoveryPath, "", map[string]string{name: value})
				if a.status != 403 || a.body != "Forbidden\n" {
					t.Errorf("%s: %d %q", name, a.status, a.body)
				}
			}
		})
	}
}

// startCaddy runs Caddy in this process until the test ends, and returns its
// address. serverOption is a line of the global option servers.
func startCaddy(t *testing.T, serverOption string) string {
	t.Helper()
	address := freeAddress(t)
	_, port, _ := strings.Cut(address, ":")
	input := fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	storage file_system %s
	storage_clean_interval off
	servers {
		%s
	}
}
http://:%s {
	bind 127.0.0.1
	vipps_simulator {
		partner partner-id partner-secret partner-subscription
		merchant 123456 {
			redirect_uri %s
		}
	}
}
`, t.TempDir(), serverOption, port, shopCallback)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + address
}

// freeAddress is one that nobody listens to.
func freeAddress(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + strconv.Itoa(freeport.New(t))
}
