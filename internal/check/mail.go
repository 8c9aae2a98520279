package check

import (
	"fmt"
	"io"
	"strings"
)

// registrationAddress is the partner team's, which registers redirect URIs for partners. Merchants use the business portal.
const registrationAddress = "partner@vippsmobilepay.com"

// WriteMail prints the e-mail that a partner sends to have Login activated and the redirect URIs registered that are
// missing, and reports whether any is. A phone login's redirect URI is among them: it is needed for logins that end in the browser only.
// What failed for another reason, such as an outage, is not in it.
func (r *Report) WriteMail(w io.Writer) (missing bool, err error) {
	var list strings.Builder
	last := ""
	for _, host := range r.Merchants {
		uris := host.unregistered()
		if len(uris) == 0 {
			continue
		}
		if host.MSN != last { // the hosts are sorted by MSN
			fmt.Fprintf(&list, "\nMSN %s\n", host.MSN)
			last = host.MSN
		}
		fmt.Fprintf(&list, "  %s\n", strings.Join(uris, "\n  "))
	}
	if list.Len() == 0 {
		if r.OK {
			_, err = fmt.Fprintln(w, "All redirect URIs that could be checked are registered: there is nothing to send.")
		}
		return false, err
	}
	_, err = fmt.Fprintf(w, "To: %s\nSubject: Redirect URIs for Login\n\nHello,\n\nPlease activate Login for these sales units, where it is not, and register these redirect URIs:\n%s\nPartner: [your name as a partner]\n", registrationAddress, list.String())
	return true, err
}

// unregistered returns the redirect URIs of a host that Vipps MobilePay refuses: both, at a sales unit without Login.
func (h hostReport) unregistered() (uris []string) {
	withoutLogin := false
	for _, f := range h.Checks {
		withoutLogin = withoutLogin || f.Name == aboutMSN && f.unregistered && h.reached
	}
	for _, f := range h.Checks {
		switch {
		case f.Name == aboutRedirectURI && (f.unregistered || withoutLogin):
			uris = append(uris, h.RedirectURI)
		case f.Name == aboutPhoneRedirectURI && (f.unregistered || withoutLogin):
			uris = append(uris, h.phoneRedirectURI+"  (logins from a phone number that end in the browser)")
		}
	}
	return uris
}
