package vippslogin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/caddy-vipps/vippslogin/internal/check"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "vipps-login",
		Short: "Commands for logins with Vipps MobilePay",
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Args, cmd.RunE = cobra.NoArgs, showHelp
			cmd.AddCommand(newCheckCommand(), newMerchantsCommand(), newWebhookCommand())
		},
	})
}

// showHelp is what a command does that only has commands. With cobra.NoArgs, the name of one that does not exist is an error;
// cobra would show the help, and succeed.
func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// checkOptions are the flags of `caddy vipps-login check`.
type checkOptions struct {
	config    string
	adapter   string
	merchants []string
	json      bool
	mail      bool
	parallel  int
	timeout   time.Duration

	pings []string // where the config takes pings
}

const (
	defaultParallel = 10
	maxParallel     = 50 // Vipps MobilePay's limits apply to all of a partner's logins together
	defaultTimeout  = 10 * time.Minute
)

func newCheckCommand() *cobra.Command {
	var options checkOptions
	cmd := &cobra.Command{
		Use:   "check [--config <path>] [--adapter <name>] [--merchant <msn>]... [--json|--registration-mail]",
		Short: "Checks keys, MSNs and redirect URIs with Vipps MobilePay",
		Long: `
Reads a config as 'caddy validate' does, asks Vipps MobilePay whether logins at its
merchants can work, and says what to fix where they cannot. Nobody is logged in,
nothing is started or changed, and no secret is printed. Shared state on a server is tried
with a value that is removed again.

The exit status is 1 if a check fails or the config cannot be loaded, and 0
otherwise, also where there are warnings or something could not be checked.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runCheck(cmd, options)
		},
	}
	cmd.Long = strings.TrimSpace(cmd.Long)
	flags := cmd.Flags()
	flags.StringVarP(&options.config, "config", "c", "", "Configuration file (default: Caddyfile in the current directory)")
	flags.StringVarP(&options.adapter, "adapter", "a", "", "Name of config adapter to apply")
	flags.StringSliceVarP(&options.merchants, "merchant", "m", nil, "Check this MSN only; repeat it for more")
	flags.BoolVar(&options.json, "json", false, "Print JSON")
	flags.BoolVar(&options.mail, "registration-mail", false, "Print the e-mail to Vipps MobilePay that has missing redirect URIs registered, and nothing else")
	cmd.MarkFlagsMutuallyExclusive("json", "registration-mail")
	flags.IntVar(&options.parallel, "parallel", defaultParallel, "Calls to Vipps MobilePay at the same time, at most 50")
	flags.DurationVar(&options.timeout, "timeout", defaultTimeout, "For all checks together")
	return cmd
}

// errChecksFailed makes the exit status 1. The report says why.
var errChecksFailed = errors.New("a check failed")

func runCheck(cmd *cobra.Command, options checkOptions) error {
	if options.parallel < 1 || options.parallel > maxParallel || options.timeout <= 0 {
		return fmt.Errorf("--parallel is 1 to %d, and --timeout more than 0", maxParallel)
	}
	app, targets, err := readTargets(options.config, options.adapter)
	if err != nil {
		return err
	}
	options.pings = check.PingURLs(targets)
	if targets, err = narrow(targets, options.merchants); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, options.timeout)
	defer cancel()
	report, err := checkAll(ctx, app, targets, options)
	if err == nil && errors.Is(ctx.Err(), context.Canceled) {
		err = errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	if options.mail {
		return writeMail(cmd, report)
	}
	write := report.WriteTable
	if options.json {
		write = report.WriteJSON
	}
	if err := write(cmd.OutOrStdout()); err != nil {
		return err
	}
	if !report.OK {
		cmd.SilenceErrors = true
		return errChecksFailed
	}
	return nil
}

func writeMail(cmd *cobra.Command, report *check.Report) error {
	missing, err := report.WriteMail(cmd.OutOrStdout())
	if !report.OK {
		fmt.Fprintln(cmd.ErrOrStderr(), "Checks failed: see caddy vipps-login check. The e-mail has only what is not registered.")
	}
	if err == nil && (missing || !report.OK) {
		cmd.SilenceErrors = true
		return errChecksFailed
	}
	return err
}

// narrow returns the targets of the given MSNs, or all of them where none is given.
func narrow(targets []*check.Target, msns []string) ([]*check.Target, error) {
	if len(msns) == 0 {
		return targets, nil
	}
	for _, msn := range msns {
		if !slices.ContainsFunc(targets, func(t *check.Target) bool { return t.Unit.MSN == msn }) {
			return nil, fmt.Errorf("--merchant %q: no host of this config has that MSN, as far as can be known before a request", msn)
		}
	}
	return slices.DeleteFunc(targets, func(t *check.Target) bool { return !slices.Contains(msns, t.Unit.MSN) }), nil
}

// checkAll checks everything, with a progress bar on a terminal.
func checkAll(ctx context.Context, app *App, targets []*check.Target, options checkOptions) (*check.Report, error) {
	bar := newProgress(check.Steps(targets), options.json || options.mail)
	c, err := check.New(app.shared.client, options.pings, options.parallel, func() { _ = bar.Add(1) })
	if err != nil {
		return nil, err
	}
	partner := append(c.Partner(ctx), app.checkState(ctx)...)
	hosts := c.Targets(ctx, targets)
	_ = bar.Finish()
	return c.NewReport(partner, targets, hosts), nil
}

// newProgress returns a progress bar, which is invisible where there is no terminal, and with JSON.
func newProgress(steps int, quiet bool) *progressbar.ProgressBar {
	var to io.Writer = io.Discard
	visible := !quiet && term.IsTerminal(int(os.Stderr.Fd()))
	if visible {
		to = os.Stderr
	}
	return progressbar.NewOptions(cmp.Or(steps, 1),
		progressbar.OptionSetWriter(to),
		progressbar.OptionSetVisibility(visible),
		progressbar.OptionSetDescription("Asking Vipps MobilePay"),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
}
