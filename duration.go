package vippslogin

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Duration is a length of time in a config: text such as "90s", "12h" or "7d", in which placeholders are resolved when
// the config is loaded. In JSON, a number of nanoseconds is understood as well; 0 is the default.
type Duration string

// UnmarshalJSON reads text or a number of nanoseconds.
func (d *Duration) UnmarshalJSON(value []byte) error {
	var nanoseconds int64
	if json.Unmarshal(value, &nanoseconds) == nil {
		*d = ""
		if nanoseconds != 0 {
			*d = Duration(time.Duration(nanoseconds).String())
		}
		return nil
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		return errors.New("it is no duration: write text such as \"12h\", or a number of nanoseconds")
	}
	*d = Duration(text)
	return nil
}

// resolve returns the duration, or what it is where there is none.
func (d Duration) resolve(name string, otherwise time.Duration) (time.Duration, error) {
	text := string(d)
	if text == "" {
		return otherwise, nil
	}
	if err := resolveText(name, &text); err != nil {
		return 0, err
	}
	parsed, err := caddy.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a duration: write one such as 30m, 12h or 7d", name, text)
	}
	return parsed, nil
}

// resolveOrOff is resolve for what may be "off", which is the default.
func (d Duration) resolveOrOff(name string) (time.Duration, error) {
	text := string(d)
	if text == "" {
		return 0, nil
	}
	if err := resolveText(name, &text); err != nil || text == "off" {
		return 0, err
	}
	return Duration(text).resolve(name, 0)
}
