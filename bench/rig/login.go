package rig

import (
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// BrowserHeader is what a browser sends with somebody's click on a link, but for the cookies.
func BrowserHeader() http.Header {
	return http.Header{
		"Accept":          {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		"Accept-Language": {"nb-NO,nb;q=0.9,en;q=0.8"},
		"Sec-Fetch-Dest":  {"document"},
		"Sec-Fetch-Mode":  {"navigate"},
		"Sec-Fetch-Site":  {"same-origin"},
		"User-Agent":      {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
	}
}

var transaction = regexp.MustCompile(`name="transaction" value="([^"]*)"`)

// Login opens a page that needs a login, logs in as the only person, and opens the page it ends at. It
// returns the Cookie header of the session.
func Login(client *http.Client, page string) (string, error) {
	start, err := send(client, http.MethodGet, page, "", http.StatusFound)
	if err != nil {
		return "", err
	}
	pending := cookiesOf(start)
	consent, address, err := follow(client, start)
	if err != nil {
		return "", err
	}
	field := transaction.FindStringSubmatch(consent)
	if field == nil {
		return "", errors.New("no consent page")
	}
	form := url.Values{"transaction": {html.UnescapeString(field[1])}, "user": {Phone}, "answer": {"approve"}}
	target, err := address.Parse("/_simulator/consent")
	if err != nil {
		return "", err
	}
	approved, err := sendForm(client, target.String(), form)
	if err != nil {
		return "", err
	}
	done, err := send(client, http.MethodGet, approved.Header.Get("Location"), pending, http.StatusFound)
	if err != nil {
		return "", err
	}
	session := cookiesOf(done)
	if !strings.Contains(session, "vipps_session=") {
		return "", errors.New("no session")
	}
	_, err = send(client, http.MethodGet, done.Header.Get("Location"), session, http.StatusOK)
	return session, err
}

// follow goes to the consent page: Vipps MobilePay redirects to itself on the way.
func follow(client *http.Client, from *http.Response) (body string, at *url.URL, err error) {
	for range 5 {
		if at, err = from.Request.URL.Parse(from.Header.Get("Location")); err != nil {
			return "", nil, err
		}
		req, err := http.NewRequest(http.MethodGet, at.String(), nil)
		if err != nil {
			return "", nil, err
		}
		req.Header = BrowserHeader()
		if from, err = client.Do(req); err != nil {
			return "", nil, err
		}
		content, err := io.ReadAll(from.Body)
		from.Body.Close()
		if err != nil || from.StatusCode == http.StatusOK {
			return string(content), at, err
		}
	}
	return "", nil, errors.New("redirected without end")
}

func send(client *http.Client, method, address, cookie string, want int) (*http.Response, error) {
	req, err := http.NewRequest(method, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header = BrowserHeader()
	if cookie != "" {
		req.Header.Set("Cookie", cookie)
	}
	return do(client, req, want)
}

func sendForm(client *http.Client, address string, form url.Values) (*http.Response, error) {
	req, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header = BrowserHeader()
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(client, req, http.StatusSeeOther)
}

func do(client *http.Client, req *http.Request, want int) (*http.Response, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s %s: %d in place of %d: %s", req.Method, req.URL.Path, resp.StatusCode, want, body)
	}
	return resp, err
}

// cookiesOf is the Cookie header of a browser that got these cookies.
func cookiesOf(resp *http.Response) string {
	var pairs []string
	for _, cookie := range resp.Cookies() {
		if cookie.MaxAge >= 0 {
			pairs = append(pairs, cookie.Name+"="+cookie.Value)
		}
	}
	return strings.Join(pairs, "; ")
}
