package check

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Report is the output of `caddy vipps-login check --json`. Fields and checks may be added to it, but are never removed.
type Report struct {
	// OK is false if a check failed. Warnings, and checks that were not made, leave it true.
	OK bool `json:"ok"`
	// Environment is the base URL of Vipps MobilePay.
	Environment string       `json:"environment"`
	Partner     []Finding    `json:"partner"`
	Merchants   []hostReport `json:"merchants"`
}

// hostReport is about one host of a merchant, at one address.
type hostReport struct {
	MSN  string `json:"msn"`  // as configured, where it is a placeholder
	Host string `json:"host"` // or "*." and a host
	// SalesUnit is its name at Vipps MobilePay, if the partner's list has it.
	SalesUnit string `json:"sales_unit,omitempty"`
	// ClientID is the client_id that Vipps MobilePay's redirect shows for the MSN: a value for audience.
	ClientID string `json:"client_id,omitempty"`
	// RedirectURI must be registered. It is missing for a wildcard.
	RedirectURI string    `json:"redirect_uri,omitempty"`
	Checks      []Finding `json:"checks"`

	phoneRedirectURI string
	reached          bool // the sales unit is among the partner's
}

// NewReport combines the findings of Partner and Targets.
func (c *Checker) NewReport(partner []Finding, targets []*Target, hosts [][]Finding) *Report {
	report := &Report{Environment: c.client.Base, Partner: partner, Merchants: []hostReport{}}
	for i, t := range targets {
		host := hostReport{MSN: t.Unit.MSN, Host: t.Origin.Host, SalesUnit: c.account.name(t.Unit.MSN), ClientID: OneLine(t.shownClientID), Checks: hosts[i]}
		if !strings.HasPrefix(t.Origin.Host, "*.") {
			host.RedirectURI, host.phoneRedirectURI = t.RedirectURI, t.PhoneRedirectURI
		}
		_, host.reached = c.account.units[t.Unit.MSN]
		report.Merchants = append(report.Merchants, host)
	}
	report.OK = report.count(statusFailed) == 0
	return report
}

// count returns how many checks have a status.
func (r *Report) count(status string) int {
	n := 0
	count := func(found []Finding) {
		for _, f := range found {
			if f.Status == status {
				n++
			}
		}
	}
	count(r.Partner)
	for _, host := range r.Merchants {
		count(host.Checks)
	}
	return n
}

func (r *Report) WriteJSON(w io.Writer) error { return WriteJSON(w, r) }

// merchantColumns are the columns of the merchants' table.
var merchantColumns = []struct{ check, title string }{
	{aboutMerchantKeys, "KEYS"}, {aboutMSN, "MSN KNOWN"}, {aboutRedirectURI, "REDIRECT URI"}, {aboutPhoneRedirectURI, "PHONE REDIRECT URI"},
	{aboutAudience, "AUDIENCE"}, {aboutWebhook, "WEBHOOK"},
}

// WriteTable writes a line for each of the partner's checks and for each host, and then the problems.
func (r *Report) WriteTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(table, "Vipps MobilePay at %s\n\n", r.Environment)
	for _, f := range r.Partner {
		fmt.Fprintf(table, "%s\t%s\t%s\n", words(f.Name), shown(f.Status), f.Detail)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	r.writeMerchants(table)
	if err := table.Flush(); err != nil {
		return err
	}
	r.writeTroubles(w)
	_, err := fmt.Fprintf(w, "\n%d ok, %d failed, %d warnings, %d not checked\n",
		r.count(statusOK), r.count(statusFailed), r.count(statusWarning), r.count(statusNotChecked))
	return err
}

// writeMerchants writes a line for each host. It leaves out the optional columns that are empty.
func (r *Report) writeMerchants(w io.Writer) {
	if len(r.Merchants) == 0 {
		return
	}
	type column struct {
		title string
		cell  func(hostReport) string
	}
	columns := []column{{"MSN", func(h hostReport) string { return h.MSN }}, {"HOST", func(h hostReport) string { return h.Host }}}
	for i, c := range merchantColumns {
		if i < 4 || slices.ContainsFunc(r.Merchants, func(h hostReport) bool { return h.cell(c.check) != "-" }) {
			columns = append(columns, column{c.title, func(h hostReport) string { return h.cell(c.check) }})
		}
	}
	columns = append(columns, column{"CLIENT ID", func(h hostReport) string { return cmp.Or(h.ClientID, "-") }})
	if slices.ContainsFunc(r.Merchants, func(h hostReport) bool { return h.SalesUnit != "" }) {
		columns = append(columns, column{"SALES UNIT", func(h hostReport) string { return cmp.Or(h.SalesUnit, "-") }})
	}
	line := func(cell func(column) string) {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = cell(c)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	fmt.Fprintln(w)
	line(func(c column) string { return c.title })
	for _, host := range r.Merchants {
		line(func(c column) string { return c.cell(host) })
	}
}

func (h hostReport) cell(check string) string {
	for _, f := range h.Checks {
		if f.Name == check {
			return shown(f.Status)
		}
	}
	return "-"
}

// trouble is a problem, and the hosts that have it.
type trouble struct {
	Finding
	subjects []string
}

// troubles returns the problems. Equal findings are one, so that a thousand merchants with one problem are not a thousand
// lines.
func (r *Report) troubles() []*trouble {
	var all []*trouble
	known := make(map[Finding]*trouble)
	add := func(subject string, found []Finding) {
		for _, f := range found {
			if f.Status == statusOK {
				continue
			}
			if known[f] == nil {
				known[f] = &trouble{Finding: f}
				all = append(all, known[f])
			}
			known[f].subjects = append(known[f].subjects, subject)
		}
	}
	add("partner", r.Partner)
	for _, host := range r.Merchants {
		add(host.MSN+" "+host.Host, host.Checks)
	}
	return all
}

// maxSubjects is how many hosts of one problem the table names. JSON has all.
const maxSubjects = 3

// writeTroubles writes each problem, its reason, and what to do.
func (r *Report) writeTroubles(w io.Writer) {
	for _, t := range r.troubles() {
		subjects := strings.Join(t.subjects[:min(maxSubjects, len(t.subjects))], ", ")
		if more := len(t.subjects) - maxSubjects; more > 0 {
			subjects += fmt.Sprintf(" and %d more", more)
		}
		fmt.Fprintf(w, "\n%s: %s: %s\n  %s\n", strings.ToUpper(words(t.Status)), subjects, words(t.Name), t.Detail)
		if t.Fix != "" {
			fmt.Fprintf(w, "  %s\n", t.Fix)
		}
	}
}

func words(name string) string {
	return strings.NewReplacer("_", " ", "uri", "URI", "msn", "MSN").Replace(name)
}

// shown returns a status for the table. A failure must stand out among hundreds.
func shown(status string) string {
	if status == statusFailed {
		return "FAILED"
	}
	return words(status)
}
