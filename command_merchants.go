package vippslogin

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/caddy-vipps/vippslogin/internal/check"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// merchantsOptions are the flags of `caddy vipps-login merchants`.
type merchantsOptions struct {
	config, adapter string
	json, csv       bool
}

func newMerchantsCommand() *cobra.Command {
	var options merchantsOptions
	cmd := &cobra.Command{
		Use:   "merchants [--config <path>] [--adapter <name>] [--json|--csv]",
		Short: "Lists the partner's sales units, and the hosts that they have in a config",
		Long: strings.TrimSpace(`
Asks Vipps MobilePay, with the partner keys of a config, for all sales units that the
partner reaches, and compares them with the hosts of the config: units without a host
there, and MSNs there that the partner does not reach. --csv is the start of a
merchants file. It works in production only.

The exit status is 1 if the partner does not reach an MSN of the config.`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runMerchants(cmd, options) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&options.config, "config", "c", "", "Configuration file (default: Caddyfile in the current directory)")
	flags.StringVarP(&options.adapter, "adapter", "a", "", "Name of config adapter to apply")
	flags.BoolVar(&options.json, "json", false, "Print JSON")
	flags.BoolVar(&options.csv, "csv", false, "Print the start of a merchants file")
	cmd.MarkFlagsMutuallyExclusive("json", "csv")
	return cmd
}

var errNotReached = errors.New("the partner does not reach an MSN of the config")

// listedUnit is a sales unit, and what the config has of it.
type listedUnit struct {
	MSN   string   `json:"msn"`
	Name  string   `json:"name"`
	Hosts []string `json:"hosts"`
	// Reached is false for an MSN of the config that is none of the partner's: inactive, or not connected.
	Reached bool `json:"reached"`
}

func runMerchants(cmd *cobra.Command, options merchantsOptions) error {
	config, err := readConfig(options.config, options.adapter)
	if err != nil {
		return err
	}
	app, targets, err := findTargets(config)
	if err != nil {
		return err
	}
	if app.partnerKeys == (vipps.Keys{}) {
		return errors.New("the config has no partner keys: a sales unit's own keys list nothing")
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
	defer cancel()
	found, err := app.shared.client.SalesUnits(ctx)
	if err != nil {
		return err
	}
	units := listUnits(found, targets)
	write := writeUnitsTable
	switch {
	case options.json:
		write = writeUnitsJSON
	case options.csv:
		write = writeUnitsCSV
	}
	if err := write(cmd.OutOrStdout(), units); err != nil {
		return err
	}
	if slices.ContainsFunc(units, func(u listedUnit) bool { return !u.Reached }) {
		cmd.SilenceUsage = true
		return errNotReached
	}
	return nil
}

// listUnits puts the partner's sales units and the config's hosts together, by MSN. Merchants with keys of their own need
// no partner.
func listUnits(found []vipps.SalesUnit, targets []*check.Target) []listedUnit {
	byMSN := make(map[string]*listedUnit)
	for _, unit := range found {
		byMSN[unit.MSN] = &listedUnit{MSN: unit.MSN, Name: unit.Name, Hosts: []string{}, Reached: true}
	}
	for _, t := range targets {
		unit := byMSN[t.Unit.MSN]
		switch {
		case !t.KnownMSN(), unit == nil && t.Unit.HasOwnKeys():
			continue
		case unit == nil:
			unit = &listedUnit{MSN: t.Unit.MSN, Hosts: []string{}}
			byMSN[t.Unit.MSN] = unit
		}
		if !slices.Contains(unit.Hosts, t.Origin.Host) {
			unit.Hosts = append(unit.Hosts, t.Origin.Host)
		}
	}
	units := make([]listedUnit, 0, len(byMSN))
	for _, unit := range byMSN {
		slices.Sort(unit.Hosts)
		units = append(units, *unit)
	}
	slices.SortFunc(units, func(a, b listedUnit) int {
		if len(a.MSN) != len(b.MSN) {
			return len(a.MSN) - len(b.MSN)
		}
		return strings.Compare(a.MSN, b.MSN)
	})
	return units
}

func writeUnitsJSON(w io.Writer, units []listedUnit) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(units)
}

func writeUnitsTable(w io.Writer, units []listedUnit) error {
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
		fmt.Fprintf(table, "%s\t%s\t%s\n", unit.MSN, oneLine(unit.Name), hosts)
	}
	return table.Flush()
}

// writeUnitsCSV writes a merchants file: names, and units without a host, are comments.
func writeUnitsCSV(w io.Writer, units []listedUnit) error {
	if _, err := fmt.Fprintln(w, "host,msn"); err != nil {
		return err
	}
	lines := csv.NewWriter(w)
	for _, unit := range units {
		comment := "# " + unit.MSN + " " + oneLine(unit.Name)
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

// oneLine keeps what somebody else wrote from being more than a part of a line.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
