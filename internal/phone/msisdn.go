package phone

import (
	"errors"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

var errNumber = errors.New("must be a country code and a number, such as +47 12 34 56 78")

// spacing are the characters that people and programs put between the digits of a phone number.
var spacing = strings.NewReplacer(" ", "", "\t", "", "\u00a0", "", "\u202f", "", "\u2009", "", "-", "", "\u2010", "", "\u2011", "", "\u2013", "", ".", "", "/", "", "(0)", "", "(", "", ")", "")

// ParseMSISDN turns a phone number in any international spelling into country code and number, digits
// only. Without "+" or "00" it must have at least ten digits, or be Greenland's 299 and six digits: with fewer, the country
// code may be missing, and a stranger abroad would be rung.
func ParseMSISDN(number string) (string, error) {
	if len(number) > 60 {
		return "", errNumber
	}
	digits := spacing.Replace(strings.TrimPrefix(strings.TrimSpace(number), "tel:"))
	digits, plus := strings.CutPrefix(digits, "+")
	digits, zeros := strings.CutPrefix(digits, "00")
	if strings.Trim(digits, "0123456789") != "" || plus && zeros || !plus && !zeros && len(digits) < 10 && !(len(digits) == 9 && strings.HasPrefix(digits, "299")) {
		return "", errNumber
	}
	parsed, err := phonenumbers.Parse("+"+digits, "")
	if err != nil || phonenumbers.IsPossibleNumberWithReason(parsed) != phonenumbers.IS_POSSIBLE {
		return "", errNumber
	}
	e164 := phonenumbers.Format(parsed, phonenumbers.E164)
	if len(e164) > len("+")+15 { // ITU-T E.164, section 6: fifteen digits at most; some national plans have longer ones
		return "", errNumber
	}
	// Of "+358 00 40…" one 0 is left, and would go at the next reading: one number, counted as several.
	if again, err := phonenumbers.Parse(e164, ""); err != nil || phonenumbers.Format(again, phonenumbers.E164) != e164 {
		return "", errNumber
	}
	return strings.TrimPrefix(e164, "+"), nil
}

// Countries are the country codes that Vipps MobilePay serves, as it names them: Norway, Denmark, Sweden, Finland and
// Greenland.
var Countries = []string{"47", "45", "46", "358", "299"}

// IsServed reports whether a number, as ParseMSISDN returns it, belongs to one of these countries.
func IsServed(msisdn string, countries []string) bool {
	for _, code := range countries {
		if strings.HasPrefix(msisdn, code) {
			return true
		}
	}
	return false
}
