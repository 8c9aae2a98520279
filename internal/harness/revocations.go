package harness

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
)

const ConsentSecret = "a-secret-in-the-url-of-the-consent-webhook"

var EndableShops = strings.Replace(TwoShops, "vipps_login 123456\n",
	"vipps_login 123456 {\n\t\tconsent_webhook_secret an-older-secret-of-32-characters-and-more "+ConsentSecret+"\n\t}\n", 1)

// CopyOf is somebody who has stolen a browser's cookies.
func CopyOf(b *Browser, address string) *Browser {
	b.T.Helper()
	thief := NewBrowser(b.T)
	u, _ := url.Parse(address)
	thief.Client.Jar.SetCookies(u, b.Client.Jar.Cookies(u))
	return thief
}

func (b *Browser) LoggedIn(address string) bool {
	b.T.Helper()
	return b.Get(address).StatusCode == http.StatusOK
}

// admin is Caddy's admin endpoint.
type admin struct {
	*Browser
	Address string
}

// LoadWithAdmin loads sites with the admin endpoint on.
func (w *World) LoadWithAdmin(sites string) admin {
	w.T.Helper()
	address := fmt.Sprintf("localhost:%d", freeport.New(w.T))
	w.LoadWhole(strings.Replace(w.Globals(), "admin off", "admin "+address, 1) + sites)
	b := NewBrowser(w.T)
	b.Header = nil // an operator has curl
	return admin{b, "http://" + address + "/vipps_login/sessions"}
}

func (a admin) End(query string) Answer {
	a.T.Helper()
	return a.Do(NewRequest(a.T, http.MethodDelete, a.Address+query, nil))
}

// ConsentRevoked is what Vipps MobilePay sends: an unsigned JWT.
func ConsentRevoked(event, sub string, issued time.Time) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." +
		encode(fmt.Appendf(nil, `{"sub":%q,"event":%q,"iat":%d,"exp":%d}`, sub, event, issued.Unix(), issued.Unix()+3600)) + "."
}
