package vippslogin

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"
)

// TestFailuresHavePages: every failure has its page, and no page is of no use.
func TestFailuresHavePages(t *testing.T) {
	kinds := []string{"form_not_sent", "more_required_form"} // which are no failures of their own
	for _, f := range append(slices.Clone(failures), unknownFailure) {
		kinds = append(kinds, f.page)
	}
	slices.Sort(kinds)
	content, err := os.ReadFile("internal/pages/en.json")
	if err != nil {
		t.Fatal(err)
	}
	var words struct{ Pages map[string]any }
	if err := json.Unmarshal(content, &words); err != nil {
		t.Fatal(err)
	}
	if found, want := slices.Sorted(maps.Keys(words.Pages)), slices.Compact(kinds); !slices.Equal(found, want) {
		t.Errorf("there are pages for %v, want %v", found, want)
	}
}
