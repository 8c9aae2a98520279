package simulator

import "time"

// DefaultUsers are made up. Together they have what breaks careless sites:
// letters outside ASCII, a street of two lines, several addresses and none, the
// countries of both brands, somebody who is not of age, and an app that is too
// old for a login from a phone number. The numbers are
// from no real subscriber; the national identity number of a real person would
// have another checksum.
func DefaultUsers() []User {
	return []User{
		{
			Name: "Kari Nordmann", PhoneNumber: "4712345678", Email: "kari.nordmann@example.no",
			Birthdate: "1990-05-17", Gender: "female", NIN: "17059000000", CustomerToken: "kari-customer-token",
			Addresses: []Address{{"Storgata 1", "0155", "OSLO", "NO", "home"}},
		},
		{
			Name: "Bjørn Ærlig-Åsen", PhoneNumber: "4740000001", Email: "bjørn@ærlig-åsen.example.no",
			Birthdate: "1972-02-29", Gender: "male", NIN: "29027200000",
			Addresses: []Address{
				{"Øvre Blåbærstien 7\nBolig H0203", "9008", "TROMSØ", "NO", "home"},
				{"Sjøgata 12", "9405", "HARSTAD", "NO", "work"},
				{"c/o Åse Ærlig, Bryggen 3", "5003", "BERGEN", "NO", "other"},
			},
		},
		{
			Name: "Søren Kjærgaard", PhoneNumber: "4520000001", Email: "soren@example.dk",
			Birthdate: "1985-11-03", Gender: "male",
			Addresses: []Address{{"Nørrebrogade 44, 2. th.", "2200", "KØBENHAVN N", "DK", "home"}},
		},
		{
			Name: "Äänetär Väisänen", PhoneNumber: "358400000001", Email: "aanetar@example.fi",
			Birthdate: "1999-12-31", Gender: "female",
			Addresses: []Address{{"Hämeentie 5 A 12", "00530", "HELSINKI", "FI", "home"}},
		},
		{
			Name: "Nora Ung", PhoneNumber: "4740000002", Email: "nora@example.no",
			Birthdate: sixteenToday(), Gender: "female",
			Addresses: []Address{{"Skoleveien 2", "7030", "TRONDHEIM", "NO", "home"}},
		},
		{
			Name: "Ola Uten Adresse", PhoneNumber: "4740000003", Email: "ola@example.no",
			Birthdate: "1964-08-15", Gender: "male",
		},
		{
			Name: "Gerd Gammel-App", PhoneNumber: "4740000004", Email: "gerd@example.no",
			Birthdate: "1948-03-01", Gender: "female", OldApp: true,
		},
	}
}

// minimumAge is from when on people can use Vipps MobilePay Login.
const minimumAge = 15

// CanLogIn is false for somebody who is too young for Vipps MobilePay Login.
func (u *User) CanLogIn() bool {
	born, err := time.Parse(time.DateOnly, u.Birthdate)
	return err != nil || !time.Now().UTC().Before(born.AddDate(minimumAge, 0, 0))
}

// sixteenToday keeps the person who is not of age from growing up. Vipps
// MobilePay takes users from the age of 15.
func sixteenToday() string {
	return time.Now().UTC().AddDate(-16, 0, 0).Format(time.DateOnly)
}
