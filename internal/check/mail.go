package check

import (
	"fmt"
	"io"
	"strings"
)

// registrationAddress is where partners have redirect URIs registered: merchants do it themselves in the business portal.
const registrationAddress = "partner@vippsmobilepay.com"

// WriteMail prints the e-mail that a partner sends to have Login activated and the redirect URIs registered that are
// missing, and reports whether any is. A phone login's redirect URI is among them: it is needed for logins that end in the browser only.
func (r *Report) WriteMail(w io.Writer) (missing bool, err error) {
	var list strings.Builder
	for _, host := range r.Merchants {
		var uris []string
		for _, f := range host.Checks {
			switch {
			case f.Name == aboutRedirectURI && f.Status == statusFailed,
				f.Name == aboutMSN && f.Status == statusFailed && host.SalesUnit != "": // the partner's, and without Login
				uris = append(uris, host.RedirectURI)
			case f.Name == aboutPhoneRedirectURI && f.Status == statusWarning:
				uris = append(uris, host.phoneRedirectURI+"  (logins from a phone number that end in the browser)")
			}
		}
		if len(uris) > 0 {
			fmt.Fprintf(&list, "\nMSN %s\n  %s\n", host.MSN, strings.Join(uris, "\n  "))
		}
	}
	if list.Len() == 0 {
		_, err = fmt.Fprintln(w, "All redirect URIs that could be checked are registered: there is nothing to send.")
		return false, err
	}
	_, err = fmt.Fprintf(w, "To: %s\nSubject: Redirect URIs for Login\n\nHello,\n\nPlease activate Login for these sales units, where it is not, and register these redirect URIs:\n%s\nPartner: [your name as a partner]\n", registrationAddress, list.String())
	return true, err
}
