package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Report is what `caddy vipps-login check --json` prints. Its shape is stable: fields and checks may
// be added, and none goes away.
type Report struct {
	// OK is false where a check failed. Warnings and what was not checked leave it true.
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
	// SalesUnit is its name at Vipps MobilePay, where the partner's list has it.
	SalesUnit string `json:"sales_unit,omitempty"`
	// ClientID is what Vipps MobilePay's redirect shows for the MSN: what audience can be.
	ClientID string `json:"client_id,omitempty"`
	// RedirectURI is what must be registered; left out for a wildcard.
	RedirectURI string    `json:"redirect_uri,omitempty"`
	Checks      []Finding `json:"checks"`

	phoneRedirectURI string
}

// NewReport puts together what Partner and Targets have found.
func (c *Checker) NewReport(partner []Finding, targets []*Target, hosts [][]Finding) *Report {
	report := &Report{Environment: c.client.Base, Partner: partner, Merchants: []hostReport{}}
	for i, t := range targets {
		host := hostReport{MSN: t.Unit.MSN, Host: t.Origin.Host, SalesUnit: c.account.name(t.Unit.MSN), ClientID: OneLine(t.shownClientID), Checks: hosts[i]}
		if !strings.HasPrefix(t.Origin.Host, "*.") {
			host.RedirectURI, host.phoneRedirectURI = t.RedirectURI, t.PhoneRedirectURI
		}
		report.Merchants = append(report.Merchants, host)
	}
	report.OK = report.count(statusFailed) == 0
	return report
}

// count is how many checks came to a status.
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

func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// merchantColumns are the columns of the merchants' table.
var merchantColumns = []struct{ check, title string }{
	{aboutMerchantKeys, "KEYS"}, {aboutMSN, "MSN KNOWN"}, {aboutRedirectURI, "REDIRECT URI"}, {aboutPhoneRedirectURI, "PHONE REDIRECT URI"},
	{aboutAudience, "AUDIENCE"}, {aboutWebhook, "WEBHOOK"},
}

// WriteTable prints a line for each of the partner's checks and each host, and then what is not well.
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

// writeMerchants writes a line for each host. Columns that no host has anything in are left out, but for the first.
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

// trouble is one thing that is not well, and whose.
type trouble struct {
	Finding
	subjects []string
}

// troubles are the findings that are not well. Those that say the same are one, so that a thousand
// merchants whose check waits for one thing are not a thousand lines.
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

// maxSubjects is how many hosts of one trouble are named in the table. JSON names all.
const maxSubjects = 3

// writeTroubles says of all that is not well why, and what to do.
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

// shown is how a status looks in a table: a failure must not be missed among hundreds.
func shown(status string) string {
	if status == statusFailed {
		return "FAILED"
	}
	return words(status)
}
