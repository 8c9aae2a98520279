package check

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// The checks, by the names they have in JSON.
const (
	aboutPartnerKeys = "partner_keys"
	aboutDiscovery   = "discovery"
	aboutSigningKeys = "signing_keys"
	aboutClock       = "clock"
	// aboutSalesUnits is there only where the list of the partner's sales units could not be read. Logins do not need it.
	aboutSalesUnits   = "sales_units"
	aboutMerchantKeys = "keys"
	aboutMSN          = "msn"
	aboutRedirectURI  = "redirect_uri"
	// aboutPhoneRedirectURI never fails: only logins with `finish: browser` need it.
	aboutPhoneRedirectURI = "phone_redirect_uri"
	// aboutAudience is checked where the config pins one.
	aboutAudience = "audience"
	// aboutWebhook never fails: without pings, logins are polled. It is checked where the site takes pings, or a
	// registration sends them there.
	aboutWebhook = "webhook"
)

// The statuses of checks.
const (
	statusOK         = "ok"
	statusWarning    = "warning"
	statusFailed     = "failed"
	statusNotChecked = "not_checked"
)

// Finding is the outcome of one check. Its texts are ours, with hosts, MSNs, HTTP statuses, OAuth error codes, client_ids and
// names of sales units: no secret can be in them.
type Finding struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"` // what to do, where the status is failed or warning

	// unregistered says that Vipps MobilePay refuses because something is not registered there, and not for the moment.
	unregistered bool
}

var (
	errKeysRefusedInTest = fmt.Errorf("%w: partner keys do not work in the test environment", vipps.ErrKeysRefused)
	errOwnKeysRefused    = fmt.Errorf("%w: the sales unit's own", vipps.ErrKeysRefused)
	errSkew              = errors.New("this machine's clock is wrong")
)

// fix is what to do about a failed check.
type fix struct {
	check string // the check's name; "" for any
	is    error
	text  string // with {msn}, {uri} and {environment}
}

// fixes is the one table from failed checks to what to do. The first matching row counts.
var fixes = []fix{
	{"", vipps.ErrBusy, "Run the check again in a while, with a lower --parallel."},
	{"", vipps.ErrNoAnswer, "See that this machine reaches {environment} (DNS, firewall, outgoing proxy), then look at Vipps MobilePay's status page."},

	{aboutPartnerKeys, errKeysRefusedInTest, "Give each merchant the keys of its sales unit, and leave the partner keys out: they work in production only."},
	{aboutPartnerKeys, vipps.ErrKeysRefused, "Compare client_id, client_secret and subscription_key of the global option vipps_login with the partner keys in the business portal. They must be those of the environment."},
	{aboutDiscovery, vipps.ErrBadAnswer, "Let environment be Vipps MobilePay's own address: production, test or its base URL. Nothing in between may change its answers."},
	{aboutSigningKeys, vipps.ErrBadAnswer, "Nothing in between may change the answers of {environment}. If nothing does, ask Vipps MobilePay: no login can be verified now."},
	{aboutClock, errSkew, "Set this machine's clock by NTP."},

	{aboutMerchantKeys, errOwnKeysRefused, "In the business portal, sales unit {msn}: compare client_id and client_secret, and let the token endpoint authentication method be client_secret_basic."},
	{aboutMerchantKeys, errNotReached, "See in the business portal that sales unit {msn} is connected to the partner and active: it is not among your sales units. If it is another merchant's, correct the MSN."},
	{aboutMerchantKeys, errReached, "Sales unit {msn} is connected to the partner. In the business portal, set up Login for it, with the token endpoint authentication method client_secret_basic, or ask the partner team to activate it (--registration-mail)."},
	{aboutMerchantKeys, vipps.ErrNotConnected, "In the business portal: see that sales unit {msn} is active, connected to the partner, and has Login set up."},
	{aboutMerchantKeys, vipps.ErrKeysRefused, "In the business portal: see that sales unit {msn} is connected to the partner and has Login set up, with the token endpoint authentication method client_secret_basic."},
	{aboutMSN, errNotReached, "Compare the MSN with the business portal: sales unit {msn} must exist in this environment, be active and connected to the partner: it is not among your sales units."},
	{aboutMSN, errReached, "Sales unit {msn} is connected to the partner, and Login is not set up for it: set it up in the business portal, or ask the partner team to activate it (--registration-mail)."},
	{aboutMSN, vipps.ErrPageRefused, "Compare the MSN with the business portal: sales unit {msn} must exist in this environment, be connected to the partner, and have Login set up."},
	{aboutRedirectURI, vipps.ErrNoLoginClient, "In the business portal, sales unit {msn}: set up Login, and compare client_id where the merchant has keys of its own."},
	{aboutRedirectURI, vipps.ErrPageRefused, "In the business portal, sales unit {msn}: register the redirect URI {uri}"},
	{aboutRedirectURI, vipps.ErrRequestRefused, "Compare scope with what the agreement of sales unit {msn} has, and report the code to Vipps MobilePay if that is right."},
	{aboutPhoneRedirectURI, vipps.ErrPageRefused, "For finish: browser only. In the business portal, sales unit {msn}: register the redirect URI {uri}"},
	{aboutAudience, errOtherAudience, "Nobody can log in at sales unit {msn}: let audience be the client_id that Vipps MobilePay shows, if it is the one in the merchant's business portal, or leave audience out."},
	{aboutWebhook, errNoRegistration, "Logins are polled without it. Register it for all of the partner's sales units, once: caddy vipps-login webhook register --url {uri} (or with --merchant {msn}, for this one)"},
	{aboutWebhook, errNoSecret, "Vipps MobilePay deletes a registration that does not answer for two weeks: write its webhook_secret into the site's phone block, or delete it (caddy vipps-login webhook list)."},
	{aboutWebhook, vipps.ErrNotConnected, "See in the business portal that sales unit {msn} is active and connected to the partner."},
	{aboutWebhook, vipps.ErrKeysRefused, "The partner keys may not read registrations: ask Vipps MobilePay for the Webhooks API."},

	{"", vipps.ErrBadAnswer, "Run the check again. If it stays so, tell Vipps MobilePay what was answered."},
}

// fixFor returns what to do about err, filled in.
func fixFor(check string, err error, words *strings.Replacer) string {
	for _, m := range fixes {
		if (m.check == "" || m.check == check) && errors.Is(err, m.is) {
			return words.Replace(m.text)
		}
	}
	return "Report this to the authors of the plugin."
}

// judge turns the outcome of a check into a finding; t is nil for the partner's.
func (c *Checker) judge(name string, err error, detail string, t *Target) Finding {
	uri := ""
	if t != nil {
		uri = t.RedirectURI
	}
	return c.judgeURI(name, err, detail, t, uri)
}

func (c *Checker) judgeURI(name string, err error, detail string, t *Target, uri string) Finding {
	if err == nil {
		return Finding{Name: name, Status: statusOK, Detail: detail}
	}
	msn := ""
	if t != nil {
		msn = t.Unit.MSN
	}
	words := strings.NewReplacer("{msn}", msn, "{uri}", uri, "{environment}", c.client.Base)
	return Finding{Name: name, Status: statusFailed, Detail: err.Error(), Fix: fixFor(name, err, words),
		unregistered: errors.Is(err, vipps.ErrPageRefused)}
}

func asWarning(f Finding) Finding {
	if f.Status == statusFailed {
		f.Status = statusWarning
	}
	return f
}

func notChecked(name, reason string) Finding {
	return Finding{Name: name, Status: statusNotChecked, Detail: reason}
}

// hostNotChecked returns the findings of a host that was not checked.
func (c *Checker) hostNotChecked(t *Target, reason string) []Finding {
	var found []Finding
	if !t.Unit.HasOwnKeys() {
		found = append(found, notChecked(aboutMSN, reason))
	}
	found = append(found, c.redirectsNotChecked(t, reason)...)
	if t.WebhookURL != "" {
		found = append(found, notChecked(aboutWebhook, reason))
	}
	return found
}

func (c *Checker) redirectsNotChecked(t *Target, reason string) []Finding {
	found := []Finding{notChecked(aboutRedirectURI, reason)}
	if t.PhoneRedirectURI != "" {
		found = append(found, notChecked(aboutPhoneRedirectURI, reason))
	}
	if t.Unit.Audience != "" {
		found = append(found, notChecked(aboutAudience, reason))
	}
	return found
}
