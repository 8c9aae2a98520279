package vipps

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
)

// TestReadUnits: an odd entry does not hide the others, and nothing but an MSN is taken for one.
func TestReadUnits(t *testing.T) {
	a, b := SalesUnit{"123456", "Shop A"}, SalesUnit{"234567", ""}
	for _, test := range []struct {
		list string
		want []SalesUnit
	}{
		{`[{"msn":123456,"name":"Shop A"},{"msn":"234567"}]`, []SalesUnit{a, b}},
		{`[{"msn":123456,"name":"Shop A"},{"msn":234567,"name":7}]`, []SalesUnit{a, b}},
		{`[{"msn":"123456\u001b[31m\nx,1","name":"x"},null,7,{"name":"x"},{"msn":null},{"msn":[1]},{"msn":1e5},{"msn":234567}]`, []SalesUnit{b}},
		{`[]`, []SalesUnit{}},
		{`null`, nil},
		{`[{"name":"x"}]`, nil},
	} {
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(test.list), &list); err != nil {
			t.Fatal(err)
		}
		units, err := readUnits(list)
		if !slices.Equal(units, test.want) || (err != nil) != (test.want == nil) || err != nil && !errors.Is(err, ErrBadAnswer) {
			t.Errorf("%s: %v %v", test.list, units, err)
		}
	}
}
