package docs_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// curlExample is a ```sh block of the documentation with one curl command, and a comment with the
// status and the JSON that it prints.
type curlExample struct {
	where   string
	command string
	status  int
	body    string // "" for none
}

// curlExamples returns the blocks in their order.
func curlExamples(t *testing.T) []curlExample {
	t.Helper()
	var examples []curlExample
	for _, p := range documentation(t) {
		for _, b := range p.blocks {
			if b.language != "sh" || !asksShop(b) {
				continue // docs_test.go runs it
			}
			e := curlExample{where: fmt.Sprintf("%s:%d", p.file, b.line), command: b.text}
			_, printed, ok := strings.Cut(e.command, "\n# ")
			status, body, _ := strings.Cut(strings.TrimSpace(printed), " ")
			var err error
			if e.status, err = strconv.Atoi(status); err != nil || !ok || strings.Count(e.command, "curl ") != 1 {
				t.Fatalf("%s: want one curl command, and then a line with # and a status", e.where)
			}
			e.body = body
			examples = append(examples, e)
		}
	}
	return examples
}

// asksShop reports whether a command is a request to the shop of the documentation.
func asksShop(b docBlock) bool { return strings.Contains(b.text, "https://shop.example.no") }

// curlHome is a folder with a .curlrc: every host is on this machine, on the port of the URL, and the
// status comes behind the body.
func curlHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	const curlrc = "connect-to = \"::127.0.0.1:\"\nnoproxy = \"*\"\nmax-time = 40\nwrite-out = \"\\n%{http_code}\"\n"
	if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte(curlrc), 0o600); err != nil {
		t.Fatal(err)
	}
	return home
}

// TestCurlExamplesInDocumentation runs what the documentation says about logins from a phone number, to the
// letter but for the host.
func TestCurlExamplesInDocumentation(t *testing.T) {
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is needed to run the documentation's examples (apt-get install %s): %v", tool, tool, err)
		}
	}
	w := harness.NewPhoneWorld(t)
	shop, home, id := w.Shop("shop-a.localhost"), curlHome(t), ""
	run := func(e curlExample) {
		t.Helper()
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", strings.ReplaceAll(e.command, "https://shop.example.no", shop))
		cmd.Env = append(os.Environ(), "HOME="+home, "CURL_HOME="+home, "TILL_API_KEY="+harness.APIKey, "id="+id)
		var complaints strings.Builder
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s%s", e.where, err, out, complaints.String())
		}
		// curl writes the body, a line break, and the status.
		printed := string(out)
		end := strings.LastIndex(printed, "\n")
		if end < 0 || printed[end+1:] != fmt.Sprint(e.status) {
			t.Fatalf("%s: want %d, and curl printed\n%s", e.where, e.status, printed)
		}
		// The simulator of the tests may be asked every second.
		want := strings.ReplaceAll(e.body, `"interval": 5`, `"interval": 1`)
		wantExample(t, e.where, strings.TrimSpace(printed[:end]), want)
		if e.status == http.StatusAccepted {
			id = harness.Answer{Text: printed[:end]}.State(t).ID
		}
	}

	ran := make(map[string]bool)
	for _, e := range curlExamples(t) {
		switch {
		case strings.Contains(e.command, "wait="):
			ran["wait"] = true
			pending := w.Vipps.Sim.PhoneLogins()
			if len(pending) != 1 || pending[0].BindingMessage != "TILL-07" {
				t.Fatalf("Vipps knows of %+v", pending)
			}
			harness.MustAnswer(t, w, pending[0].AuthReqID, true)
			run(e)
		case strings.Contains(e.command, "DELETE"):
			ran["delete"] = true
			run(e)
			harness.NewTill(t, shop).Call("GET", "/phone/"+id, "").WantStatus(t, http.StatusNotFound)
		case strings.Contains(e.command, `"browser"`):
			ran["browser"] = true
			run(e)
			testBrowserExample(t, w, shop, id)
		case strings.Contains(e.command, "/phone/exists"):
			ran["exists"] = true
			run(e)
		default:
			ran["start"] = true
			run(e)
		}
	}
	if len(ran) != 5 {
		t.Errorf("only %v of the documentation ran", ran)
	}
}

// testBrowserExample is what the documentation says happens with finish browser, after the start.
func testBrowserExample(t *testing.T, w *harness.World, shop, id string) {
	t.Helper()
	pending := w.Vipps.Sim.PhoneLogins()
	if len(pending) != 1 || pending[0].RedirectURI != shop+"/vipps/phone/callback" {
		t.Fatalf("Vipps knows of %+v", pending)
	}
	phone := harness.NewBrowser(t)
	landed := phone.Get(harness.MustAnswer(t, w, pending[0].AuthReqID, true)).WantStatus(t, http.StatusFound)
	if landed.RedirectTo() != shop+"/account/welcome" {
		t.Errorf("the phone lands at %s", landed.RedirectTo())
	}
	phone.Follow(landed).WantStatus(t, http.StatusOK)
	if name := w.Upstream.Last(t).Header.Get("X-Vipps-Name"); name != "Kari Nordmann" {
		t.Errorf("the phone is logged in as %q", name)
	}
	if s := harness.NewTill(t, shop).Status(id); s.Status != "complete" {
		t.Errorf("the till reads %+v", s)
	}
}

// wantExample compares what curl printed with what the documentation says: "…" stands for any text, and the
// member "…": "…" for any more members.
func wantExample(t *testing.T, where, printed, documented string) {
	t.Helper()
	if documented == "" {
		if printed != "" {
			t.Errorf("%s: curl printed %s, want nothing", where, printed)
		}
		return
	}
	var got, want any
	if err := json.Unmarshal([]byte(printed), &got); err != nil {
		t.Fatalf("%s: %v in %s", where, err, printed)
	}
	if err := json.Unmarshal([]byte(documented), &want); err != nil {
		t.Fatalf("%s: %v in %s", where, err, documented)
	}
	if !likeExample(got, want) {
		t.Errorf("%s: curl printed %s\nwant %s", where, printed, documented)
	}
}

func likeExample(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		members, ok := got.(map[string]any)
		_, more := want["…"]
		if !ok || !more && len(members) != len(want) {
			return false
		}
		for name, value := range want {
			if name != "…" && !likeExample(members[name], value) {
				return false
			}
		}
		return true
	case string:
		text, ok := got.(string)
		return ok && text != "" && (want == "…" || text == want)
	}
	return got == want
}
