package simulator

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestApprove(t *testing.T) {
	w := newWorld(t)
	a := w.answerConsent(map[string]string{"transaction": w.transaction(shopLogin()), "answer": "approve", "user": kari})
	if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), shopCallback+"?") {
		t.Fatalf("got %d %s", a.status, a.header.Get("Location"))
	}
	got := a.location.Query()
	if got.Get("code") == "" || got.Get("state") != "state-12345" || got.Get("scope") != "openid name" || len(got) != 3 {
		t.Errorf("got %v", got)
	}
}

// The state is the client's: it comes back byte for byte.
func TestStateComesBackUnchanged(t *testing.T) {
	w := newWorld(t)
	state := "æøå &=#+%\"<>/ \t"
	params := with(shopLogin(), map[string]string{"state": state})
	for _, reply := range []map[string]string{
		{"answer": "approve", "user": kari},
		{"answer": "cancel"},
	} {
		reply["transaction"] = w.transaction(params)
		if got := w.answerConsent(reply).location.Query().Get("state"); got != state {
			t.Errorf("%s: got %q, want %q", reply["answer"], got, state)
		}
	}
}

func TestCancelAndFail(t *testing.T) {
	w := newWorld(t)
	replies := []map[string]string{{"answer": "cancel", "want": "access_denied"}}
	for _, code := range failures {
		replies = append(replies, map[string]string{"answer": "fail", "error": code, "want": code})
	}
	for _, reply := range replies {
		t.Run(reply["answer"]+" "+reply["want"], func(t *testing.T) {
			a := w.answerConsent(map[string]string{
				"transaction": w.transaction(shopLogin()), "user": kari,
				"answer": reply["answer"], "error": reply["error"],
			})
			got := a.location.Query()
			if a.status != http.StatusSeeOther || got.Get("error") != reply["want"] || got.Get("error_description") == "" {
				t.Errorf("got %d %v", a.status, got)
			}
			if got.Get("state") != "state-12345" || got.Has("code") {
				t.Errorf("got %v", got)
			}
		})
	}
}

// The documented codes are all there to be tried.
func TestDocumentedFailures(t *testing.T) {
	for _, code := range []string{
		"access_denied", "server_error", "login_required", "outdated_app_version", "wrong_challenge",
		"invalid_app_callback_uri", "app_callback_uri_not_registered", "unknown_reject_reason",
	} {
		if !slices.Contains(failures, code) {
			t.Errorf("%s is missing", code)
		}
	}
}

func TestTransactionIsAnsweredOnce(t *testing.T) {
	w := newWorld(t)
	for _, first := range []map[string]string{
		{"answer": "approve", "user": kari},
		{"answer": "cancel"},
		{"answer": "approve", "user": "4799999999"},
	} {
		transaction := w.transaction(shopLogin())
		first["transaction"] = transaction
		w.answerConsent(first)
		a := w.answerConsent(map[string]string{"transaction": transaction, "answer": "approve", "user": kari})
		if a.status != 400 || a.location != nil || !strings.Contains(a.body, "start again") {
			t.Errorf("after %v: %d %v", first, a.status, a.location)
		}
	}
}

func TestBadConsents(t *testing.T) {
	w := newWorld(t)
	tests := map[string]struct {
		fields map[string]string
		more   string
		header map[string]string
		text   string
	}{
		"unknown transaction": {map[string]string{"transaction": "guess", "answer": "approve", "user": kari}, "", formHeaders, "start again"},
		"no transaction":      {map[string]string{"answer": "approve", "user": kari}, "", formHeaders, "start again"},
		"no answer":           {map[string]string{"transaction": "new", "user": kari}, "", formHeaders, "answer must be"},
		"other answer":        {map[string]string{"transaction": "new", "answer": "perhaps"}, "", formHeaders, "answer must be"},
		"no user":             {map[string]string{"transaction": "new", "answer": "approve"}, "", formHeaders, "No user"},
		"undocumented error":  {map[string]string{"transaction": "new", "answer": "fail", "error": "x&y"}, "", formHeaders, "error must be"},
		"repeated":            {map[string]string{"transaction": "new", "answer": "approve", "user": kari}, "&user=" + bjorn, formHeaders, "more than once"},
		"not a form":          {map[string]string{"transaction": "new", "answer": "approve", "user": kari}, "", map[string]string{"Content-Type": "text/plain"}, "Content-Type"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.fields["transaction"] == "new" {
				test.fields["transaction"] = w.transaction(shopLogin())
			}
			a := w.do("POST", consentPath, form(test.fields)+test.more, test.header)
			if a.status != 400 || a.location != nil || !strings.Contains(a.body, test.text) {
				t.Errorf("got %d %v %s", a.status, a.location, a.body)
			}
		})
	}
}

func TestTransactionsAreUnguessable(t *testing.T) {
	w := newWorld(t)
	a, b := w.transaction(shopLogin()), w.transaction(shopLogin())
	if a == b || len(a) < 43 {
		t.Errorf("got %q and %q, want two of 256 bits", a, b)
	}
}
