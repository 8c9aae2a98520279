package vippslogin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-vipps/vippslogin/internal/check"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
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

// partnerInProduction returns why the APIs for partners cannot be called with a config.
func partnerInProduction(app *App) error {
	switch {
	case app.partnerKeys == (vipps.Keys{}):
		return errors.New("the config has no partner keys: a sales unit's own do not work here")
	case app.shared.client.Base == vipps.TestURL:
		return errors.New("partner keys work in production only, and the environment of the config is test")
	}
	return nil
}

var errNotReached = errors.New("the partner does not reach an MSN of the config")

func runMerchants(cmd *cobra.Command, options merchantsOptions) error {
	app, targets, err := readTargets(options.config, options.adapter)
	if err != nil {
		return err
	}
	if err := partnerInProduction(app); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
	defer cancel()
	found, err := app.shared.client.SalesUnits(ctx)
	if err != nil {
		return err
	}
	units := check.ListUnits(found, targets)
	write := check.WriteUnitsTable
	switch {
	case options.json:
		write = check.WriteUnitsJSON
	case options.csv:
		write = check.WriteUnitsCSV
	}
	if err := write(cmd.OutOrStdout(), units); err != nil {
		return err
	}
	if slices.ContainsFunc(units, func(u check.ListedUnit) bool { return !u.Reached }) {
		cmd.SilenceUsage = true
		return errNotReached
	}
	return nil
}

// webhookOptions are the flags of `caddy vipps-login webhook`.
type webhookOptions struct {
	config, adapter, merchant, url string
	json                           bool
}

func newWebhookCommand() *cobra.Command {
	var options webhookOptions
	cmd := &cobra.Command{
		Use:   "webhook list|register|delete <id>",
		Short: "Lists, registers and deletes the webhooks of the ping",
		Long: strings.TrimSpace(`
Manages, at Vipps MobilePay, where the ping of logins from phone numbers is sent: for
all of the partner's sales units, or with --merchant for one. The keys come from a
config. The secret of a new registration is printed once, with the line of the config
that takes it, and is stored nowhere.`),
	}
	cmd.Args, cmd.RunE = cobra.NoArgs, showHelp
	flags := cmd.PersistentFlags()
	flags.StringVarP(&options.config, "config", "c", "", "Configuration file (default: Caddyfile in the current directory)")
	flags.StringVarP(&options.adapter, "adapter", "a", "", "Name of config adapter to apply")
	flags.StringVarP(&options.merchant, "merchant", "m", "", "For this MSN alone")
	list := &cobra.Command{Use: "list", Short: "Lists the registrations", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return options.run(cmd, options.list) }}
	list.Flags().BoolVar(&options.json, "json", false, "Print JSON")
	register := &cobra.Command{Use: "register", Short: "Registers the endpoint of a config, or --url", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return options.run(cmd, options.register) }}
	register.Flags().StringVar(&options.url, "url", "", "The endpoint (default: that of the config, where one host has the ping)")
	remove := &cobra.Command{Use: "delete <id>", Short: "Deletes a registration", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !webhookID.MatchString(args[0]) {
				return fmt.Errorf("%q is not the id of a registration: see caddy vipps-login webhook list", args[0])
			}
			return options.run(cmd, func(ctx context.Context, cmd *cobra.Command, at webhookPlace) error {
				return at.client.DeleteWebhook(ctx, at.unit, args[0])
			})
		}}
	cmd.AddCommand(list, register, remove)
	return cmd
}

// webhookID is what an id looks like: a UUID at Vipps MobilePay.
var webhookID = regexp.MustCompile(`^[0-9A-Za-z_-]+$`)

// webhookPlace says whose registrations a command is about, and which hosts of the config take pings.
type webhookPlace struct {
	client *vipps.Client
	unit   *merchant.Unit // nil: the partner's
	urls   []string       // of the config, whose hosts take the ping
}

// run reads the config and runs one of the commands.
func (o *webhookOptions) run(cmd *cobra.Command, do func(context.Context, *cobra.Command, webhookPlace) error) error {
	if o.merchant != "" && !merchant.IsMSN(o.merchant) {
		return fmt.Errorf("--merchant %q: it is not a Merchant Serial Number: write its 4 to 10 digits", o.merchant)
	}
	app, targets, err := readTargets(o.config, o.adapter)
	if err != nil {
		return err
	}
	if err := partnerInProduction(app); err != nil {
		return err
	}
	at := webhookPlace{client: app.shared.client}
	if o.merchant != "" {
		at.unit = &merchant.Unit{MSN: o.merchant}
	}
	at.urls = check.PingURLs(slices.DeleteFunc(targets, func(t *check.Target) bool { return o.merchant != "" && o.merchant != t.Unit.MSN }))
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
	defer cancel()
	cmd.SilenceUsage = true
	return do(ctx, cmd, at)
}

func (o *webhookOptions) list(ctx context.Context, cmd *cobra.Command, at webhookPlace) error {
	found, err := at.client.Webhooks(ctx, at.unit)
	if err != nil {
		return err
	}
	if o.json {
		return check.WriteJSON(cmd.OutOrStdout(), append([]vipps.Webhook{}, found...)) // [] for none
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tURL\tEVENTS")
	for _, w := range found {
		fmt.Fprintf(table, "%s\t%s\t%s\n", check.OneLine(w.ID), check.OneLine(w.URL), check.OneLine(strings.Join(w.Events, " ")))
	}
	return table.Flush()
}

func (o *webhookOptions) register(ctx context.Context, cmd *cobra.Command, at webhookPlace) error {
	address := o.url
	if address == "" {
		if len(at.urls) != 1 {
			return fmt.Errorf("%d hosts of the config have the ping (phone, with webhook_secret): say which one with --url, as in --url https://shop.example.no/vipps/webhook", len(at.urls))
		}
		address = at.urls[0]
	}
	simulated := strings.HasPrefix(at.client.Base, "http://")
	if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "https" && !(simulated && u.Scheme == "http") {
		return fmt.Errorf("--url: %q is not an https URL: Vipps MobilePay calls no other", address)
	}
	id, secret, err := at.client.RegisterWebhook(ctx, at.unit, address)
	var refused vipps.StatusError
	switch {
	case errors.As(err, &refused) && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusConflict):
		return fmt.Errorf("%w: is it registered already, or are there 25? See caddy vipps-login webhook list", err)
	case err != nil:
		return err
	case check.OneLine(secret) != secret:
		return fmt.Errorf("the secret of %s cannot be printed: delete the registration, and tell Vipps MobilePay", check.OneLine(id))
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "Registered %s as %s.\n\nThe secret is shown this once. In the site's phone block:\n\n\twebhook_secret %s\n",
		check.OneLine(address), cmp.Or(check.OneLine(id), "(an id that was not told: see list)"), caddyfileToken(secret))
	return err
}

// caddyfileToken quotes a secret that the Caddyfile would not read as one word.
func caddyfileToken(text string) string {
	if strings.ContainsAny(text, " \"`") || strings.HasPrefix(text, "#") {
		return `"` + strings.NewReplacer(`"`, `\"`).Replace(text) + `"`
	}
	return text
}
