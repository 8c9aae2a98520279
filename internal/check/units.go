package check

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// ListedUnit is a sales unit, and its hosts in the config.
type ListedUnit struct {
	MSN   string   `json:"msn"`
	Name  string   `json:"name"`
	Hosts []string `json:"hosts"`
	// Reached is false for an MSN of the config that is not among the partner's: it is inactive, or not connected.
	Reached bool `json:"reached"`
}

// ListUnits combines the partner's sales units with the config's hosts, by MSN. Merchants with keys of their own need not be
// among the partner's.
func ListUnits(found []vipps.SalesUnit, targets []*Target) []ListedUnit {
	byMSN := make(map[string]*ListedUnit)
	for _, unit := range found {
		byMSN[unit.MSN] = &ListedUnit{MSN: unit.MSN, Name: unit.Name, Hosts: []string{}, Reached: true}
	}
	for _, t := range targets {
		unit := byMSN[t.Unit.MSN]
		switch {
		case !t.KnownMSN(), unit == nil && t.Unit.HasOwnKeys():
			continue
		case unit == nil:
			unit = &ListedUnit{MSN: t.Unit.MSN, Hosts: []string{}}
			byMSN[t.Unit.MSN] = unit
		}
		if !slices.Contains(unit.Hosts, t.Origin.Host) {
			unit.Hosts = append(unit.Hosts, t.Origin.Host)
		}
	}
	units := make([]ListedUnit, 0, len(byMSN))
	for _, unit := range byMSN {
		slices.Sort(unit.Hosts)
		units = append(units, *unit)
	}
	slices.SortFunc(units, func(a, b ListedUnit) int {
		if len(a.MSN) != len(b.MSN) {
			return len(a.MSN) - len(b.MSN)
		}
		return strings.Compare(a.MSN, b.MSN)
	})
	return units
}

// WriteUnitsJSON writes a JSON array.
func WriteUnitsJSON(w io.Writer, units []ListedUnit) error {
	return WriteJSON(w, units)
}

// WriteUnitsTable writes a table.
func WriteUnitsTable(w io.Writer, units []ListedUnit) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MSN\tNAME\tHOSTS")
	for _, unit := range units {
		hosts := strings.Join(unit.Hosts, " ")
		switch {
		case !unit.Reached:
			hosts += "  (inactive, or not connected to you)"
		case hosts == "":
			hosts = "(no host here)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", unit.MSN, OneLine(unit.Name), hosts)
	}
	return table.Flush()
}

// WriteUnitsCSV writes a merchants file, with names and units without a host as comments.
func WriteUnitsCSV(w io.Writer, units []ListedUnit) error {
	if _, err := fmt.Fprintln(w, "host,msn"); err != nil {
		return err
	}
	lines := csv.NewWriter(w)
	for _, unit := range units {
		comment := "# " + unit.MSN + " " + OneLine(unit.Name)
		switch {
		case !unit.Reached:
			comment += ": inactive, or not connected to you"
		case len(unit.Hosts) == 0:
			comment += ": no host here"
		}
		lines.Flush()
		if _, err := fmt.Fprintln(w, comment); err != nil {
			return err
		}
		for _, host := range unit.Hosts {
			if err := lines.Write([]string{host, unit.MSN}); err != nil {
				return err
			}
		}
	}
	lines.Flush()
	return lines.Error()
}
