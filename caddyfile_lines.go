package vippslogin

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// seenOnce finds subdirectives that stand twice where once is all that makes sense.
type seenOnce map[string]bool

func (seen seenOnce) see(d *caddyfile.Dispenser, repeatable ...string) error {
	name := d.Val()
	for _, other := range repeatable {
		if name == other {
			return nil
		}
	}
	if seen[name] {
		return d.Errf("%s is already set: keep one of them", name)
	}
	seen[name] = true
	return nil
}

// eachLine reads the lines of a block, each of which may stand once, with no block of its own. It says
// how many there are.
func eachLine(d *caddyfile.Dispenser, nesting int, read func(name string) error) (int, error) {
	once := seenOnce{}
	for d.NextBlock(nesting) {
		if err := once.see(d); err != nil {
			return 0, err
		}
		name := d.Val()
		if err := read(name); err != nil {
			return 0, err
		}
		if err := noBlock(d, name); err != nil {
			return 0, err
		}
	}
	return len(once), nil
}

// oneArgument and its like name the subdirective in their errors, and never an argument, as d.ArgErr
// does: it may be a secret.
func oneArgument(d *caddyfile.Dispenser, value *string) error {
	name := d.Val()
	if !d.AllArgs(value) || *value == "" {
		return d.Errf("%s takes one argument, and not an empty one", name)
	}
	return nil
}

func someArguments(d *caddyfile.Dispenser, values *[]string) error {
	name := d.Val()
	*values = d.RemainingArgs()
	if len(*values) == 0 || slices.Contains(*values, "") {
		return d.Errf("%s takes one argument or more, and no empty one", name)
	}
	return nil
}

func flag(d *caddyfile.Dispenser, value *bool) error {
	name := d.Val()
	if d.NextArg() {
		return d.Errf("%s takes no argument: it is on where it stands", name)
	}
	*value = true
	return nil
}

func duration(d *caddyfile.Dispenser, value *Duration) error {
	name, text := d.Val(), ""
	if !d.AllArgs(&text) {
		return d.Errf("%s takes one duration, such as 30m, 12h or 7d", name)
	}
	parsed, err := caddy.ParseDuration(text)
	if !strings.Contains(text, "{") && (err != nil || parsed <= 0) {
		return d.Errf("%s: %q is not a positive duration: write one such as 30m, 12h or 7d", name, text)
	}
	*value = Duration(text)
	return nil
}

func size(d *caddyfile.Dispenser, value *Size) error {
	name, text := d.Val(), ""
	if !d.AllArgs(&text) {
		return d.Errf("%s takes one size, such as 8KiB", name)
	}
	bytes, err := humanize.ParseBytes(text)
	if !strings.Contains(text, "{") && (err != nil || bytes == 0) {
		return d.Errf("%s: %q is not a size above zero: write one such as 8KiB", name, text)
	}
	*value = Size(text)
	return nil
}

// durationOrOff reads "off" as what it is in JSON: no duration.
func durationOrOff(d *caddyfile.Dispenser, value *Duration) error {
	if d.CountRemainingArgs() == 1 && d.NextArg() {
		if d.Val() == "off" {
			return nil
		}
		d.Prev()
	}
	return duration(d, value)
}

// noBlock is called at the end of a subdirective that is one line. An empty block is one, too.
func noBlock(d *caddyfile.Dispenser, name string) error {
	err := d.Errf("%s takes no block", name)
	if d.NextBlock(d.Nesting()) || d.Val() == "}" && !d.Token().Quoted() {
		return err
	}
	return nil
}
