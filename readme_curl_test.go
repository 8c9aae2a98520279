package vippslogin_test

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
)

// curlExample is a ```sh block of the README: one curl command, and a comment with the status and the
// JSON that it prints.
type curlExample struct {
	line    int
	command string
	status  int
	body    string // "" for none
}

// curlExamples returns the blocks in their order. The README has no other ```sh blocks.
func curlExamples(t *testing.T) []curlExample {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(readme)
	var examples []curlExample
	for _, at := range fenced.FindAllStringSubmatchIndex(text, -1) {
		if text[at[2]:at[3]] != "sh" {
			continue
		}
		e := curlExample{line: strings.Count(text[:at[0]], "\n") + 1, command: text[at[4]:at[5]]}
		_, printed, ok := strings.Cut(e.command, "\n# ")
		status, body, _ := strings.Cut(strings.TrimSpace(printed), " ")
		if e.status, err = strconv.Atoi(status); err != nil || !ok || strings.Count(e.command, "curl ") != 1 {
			t.Fatalf("README.md:%d: want one curl command, and then a line with # and a status", e.line)
		}
		e.body = body
		examples = append(examples, e)
	}
	return examples
}

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

// TestCurlExamplesInDocumentation runs what the README says about logins from a phone number, to the
// letter but for the host.
func TestCurlExamplesInDocumentation(t *testing.T) {
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is needed to run the README's examples (apt-get install %s): %v", tool, tool, err)
		}
	}
	w := newPhoneWorld(t)
	shop, home, id := w.shop("shop-a.localhost"), curlHome(t), ""
	run := func(e curlExample) {
		t.Helper()
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", strings.ReplaceAll(e.command, "https://shop.example.no", shop))
		cmd.Env = append(os.Environ(), "HOME="+home, "CURL_HOME="+home, "TILL_API_KEY="+apiKey, "id="+id)
		var complaints strings.Builder
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("README.md:%d: %v\n%s%s", e.line, err, out, complaints.String())
		}
		// curl writes the body, a line break, and the status.
		printed := string(out)
		end := strings.LastIndex(printed, "\n")
		if end < 0 || printed[end+1:] != fmt.Sprint(e.status) {
			t.Fatalf("README.md:%d: want %d, and curl printed\n%s", e.line, e.status, printed)
		}
		// The simulator of the tests may be asked every second.
		want := strings.ReplaceAll(e.body, `"interval": 5`, `"interval": 1`)
		wantExample(t, e.line, strings.TrimSpace(printed[:end]), want)
		if e.status == http.StatusAccepted {
			id = answer{body: printed[:end]}.state(t).ID
		}
	}

	ran := make(map[string]bool)
	for _, e := range curlExamples(t) {
		switch {
		case strings.Contains(e.command, "wait="):
			ran["wait"] = true
			pending := w.vipps.sim.PhoneLogins()
			if len(pending) != 1 || pending[0].BindingMessage != "TILL-07" {
				t.Fatalf("Vipps knows of %+v", pending)
			}
			mustAnswer(t, w, pending[0].AuthReqID, true)
			run(e)
		case strings.Contains(e.command, "DELETE"):
			ran["delete"] = true
			run(e)
			newTill(t, shop).call("GET", "/phone/"+id, "").wantStatus(t, http.StatusNotFound)
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
		t.Errorf("only %v of the README ran", ran)
	}
}

// testBrowserExample is what the README says happens with finish browser, after the start.
func testBrowserExample(t *testing.T, w *world, shop, id string) {
	t.Helper()
	pending := w.vipps.sim.PhoneLogins()
	if len(pending) != 1 || pending[0].RedirectURI != shop+"/vipps/phone/callback" {
		t.Fatalf("Vipps knows of %+v", pending)
	}
	phone := newBrowser(t)
	landed := phone.get(mustAnswer(t, w, pending[0].AuthReqID, true)).wantStatus(t, http.StatusFound)
	if landed.location() != shop+"/account/welcome" {
		t.Errorf("the phone lands at %s", landed.location())
	}
	phone.follow(landed).wantStatus(t, http.StatusOK)
	if name := w.upstream.last(t).Header.Get("X-Vipps-Name"); name != "Kari Nordmann" {
		t.Errorf("the phone is logged in as %q", name)
	}
	if s := newTill(t, shop).status(id); s.Status != "complete" {
		t.Errorf("the till reads %+v", s)
	}
}

// wantExample compares what curl printed with what the README says: "…" stands for any text, and the
// member "…": "…" for any more members.
func wantExample(t *testing.T, line int, printed, documented string) {
	t.Helper()
	if documented == "" {
		if printed != "" {
			t.Errorf("README.md:%d: curl printed %s, want nothing", line, printed)
		}
		return
	}
	var got, want any
	if err := json.Unmarshal([]byte(printed), &got); err != nil {
		t.Fatalf("README.md:%d: %v in %s", line, err, printed)
	}
	if err := json.Unmarshal([]byte(documented), &want); err != nil {
		t.Fatalf("README.md:%d: %v in %s", line, err, documented)
	}
	if !likeExample(got, want) {
		t.Errorf("README.md:%d: curl printed %s\nwant %s", line, printed, documented)
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
