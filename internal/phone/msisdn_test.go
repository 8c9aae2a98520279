package phone

import (
	"regexp"
	"strings"
	"testing"
)

var msisdn = regexp.MustCompile(`^[1-9][0-9]{4,14}$`)

// FuzzPhoneNumber: what is taken for a number is digits, and the same number when it is read again.
func FuzzPhoneNumber(f *testing.F) {
	for _, seed := range []string{"+47 12 34 56 78", "004712345678", "tel:+47-12345678", "4712345678", "+45 20 00 00 01", "+358 (0)40 0000001", "++47", "+0", "810010000000000000", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, number string) {
		digits, err := ParseMSISDN(number)
		if err != nil {
			if strings.Contains(err.Error(), number) && len(number) > 4 && strings.Trim(number, "0123456789") == "" {
				t.Errorf("the error repeats %q", number)
			}
			return
		}
		if !msisdn.MatchString(digits) {
			t.Errorf("%q became %q", number, digits)
		}
		if again, err := ParseMSISDN("+" + digits); err != nil || again != digits {
			t.Errorf("%q became %q, and that %q, %v", number, digits, again, err)
		}
	})
}
