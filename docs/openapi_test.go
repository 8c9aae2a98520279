package docs_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// openAPI is docs/openapi.yaml, and what of it real answers have shown.
type openAPI struct {
	t        *testing.T
	root     part
	compiler *jsonschema.Compiler
	shown    map[string]bool // "post /phone 503", and "post /phone 503 error=storage"
}

// part is a place in the document, with references followed.
type part struct {
	pointer string
	value   any
}

func readOpenAPI(t *testing.T) *openAPI {
	t.Helper()
	content, err := os.ReadFile("docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return parseOpenAPI(t, content)
}

func parseOpenAPI(t *testing.T, content []byte) *openAPI {
	t.Helper()
	var raw any
	if err := yaml.Unmarshal(content, &raw); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(raw) // fails for keys that are no text, such as a 200 without quotes
	if err != nil {
		t.Fatal(err)
	}
	doc := fromJSON(t, string(encoded))
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return &openAPI{t: t, root: part{"", doc}, compiler: compiler, shown: make(map[string]bool)}
}

// fromJSON reads JSON as the validator wants it.
func fromJSON(t *testing.T, text string) any {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")

// get goes from p to what is below it. It is false where there is nothing.
func (d *openAPI) get(p part, keys ...string) (part, bool) {
	for _, key := range keys {
		members, _ := p.value.(map[string]any)
		value, ok := members[key]
		if !ok {
			return part{}, false
		}
		if p, ok = d.follow(part{p.pointer + "/" + escapePointer.Replace(key), value}); !ok {
			return part{}, false
		}
	}
	return p, true
}

// follow goes where p refers to, if it does.
func (d *openAPI) follow(p part) (part, bool) {
	members, _ := p.value.(map[string]any)
	ref, ok := members["$ref"].(string)
	if !ok {
		return p, true
	}
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return part{}, false
	}
	return d.get(d.root, strings.Split(path, "/")...)
}

// keys returns the names of what is below p, sorted.
func (p part) keys() []string {
	members, _ := p.value.(map[string]any)
	return slices.Sorted(maps.Keys(members))
}

// validate holds value against the schema at p.
func (d *openAPI) validate(p part, value any) error {
	d.t.Helper()
	location := "openapi.json#" + strings.NewReplacer("%7E", "~", "%2F", "/").Replace(url.PathEscape(p.pointer))
	schema, err := d.compiler.Compile(location)
	if err != nil {
		d.t.Fatalf("%s: %v", p.pointer, err)
	}
	return schema.Validate(value)
}

var httpMethods = []string{"get", "head", "post", "put", "patch", "delete", "options"}

// eachOperation calls do for every operation.
func (d *openAPI) eachOperation(do func(name, path string, operation part)) {
	paths, _ := d.get(d.root, "paths")
	for _, path := range paths.keys() {
		for _, method := range httpMethods {
			if operation, ok := d.get(paths, path, method); ok {
				do(method+" "+path, path, operation)
			}
		}
	}
}

// parameters are those of an operation and of its path, by place and name.
func (d *openAPI) parameters(path string, operation part) map[string]part {
	found := make(map[string]part)
	item, _ := d.get(d.root, "paths", path)
	for _, from := range []part{item, operation} {
		list, _ := d.get(from, "parameters")
		values, _ := list.value.([]any)
		for i, value := range values {
			p, _ := d.follow(part{fmt.Sprintf("%s/%d", list.pointer, i), value})
			in, _ := d.get(p, "in")
			name, _ := d.get(p, "name")
			found[fmt.Sprintf("%s %s", in.value, name.value)] = p
		}
	}
	return found
}

// operationOf returns the operation that a request is of: an exact path wins over a template.
func (d *openAPI) operationOf(r *http.Request) (name string, operation part, ok bool) {
	path, below := strings.CutPrefix(r.URL.Path, "/vipps")
	paths, _ := d.get(d.root, "paths")
	method := strings.ToLower(r.Method)
	if !below {
		return "", part{}, false
	}
	if _, exact := d.get(paths, path); !exact {
		path = path[:strings.LastIndex(path, "/")] + "/{id}"
	}
	operation, ok = d.get(paths, path, method)
	return method + " " + path, operation, ok
}

// checkAnswer holds an answer against the document, and returns what the document has to say of the
// request.
func (d *openAPI) checkAnswer(a harness.Answer, body string) (badRequest error) {
	d.t.Helper()
	name, operation, ok := d.operationOf(a.Request)
	response, documented := d.get(operation, "responses", strconv.Itoa(a.StatusCode))
	if !ok || !documented {
		d.t.Errorf("%s %s answers %d, which is not documented: %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.Text)
		return nil
	}
	shown := fmt.Sprintf("%s %d", name, a.StatusCode)
	d.shown[shown] = true
	d.checkHeaders(shown, response, a)
	d.checkBody(shown, response, a)
	_, path, _ := strings.Cut(name, " ")
	badRequest = d.badRequest(path, operation, a.Request, body)
	if a.StatusCode < 300 && badRequest != nil {
		d.t.Errorf("%s: the request is not as documented: %v", shown, badRequest)
	}
	return badRequest
}

// carriers are headers that every answer of a server may have.
var carriers = []string{"Content-Length", "Content-Type", "Date", "Server"}

func (d *openAPI) checkHeaders(shown string, response part, a harness.Answer) {
	d.t.Helper()
	headers, ok := d.get(response, "headers")
	if !ok {
		return // a page, which is not described to this depth
	}
	documented := slices.Clone(carriers)
	for _, field := range headers.keys() {
		documented = append(documented, http.CanonicalHeaderKey(field))
	}
	for field := range a.Header {
		if !slices.Contains(documented, field) {
			d.t.Errorf("%s: the header %s is not documented", shown, field)
		}
	}
	for _, field := range headers.keys() {
		header, _ := d.get(headers, field)
		values := a.Header.Values(field)
		if field != "Set-Cookie" && len(values) > 1 {
			values = []string{strings.Join(values, ", ")} // RFC 9110 section 5.2
		}
		if required, _ := d.get(header, "required"); required.value == true && len(values) == 0 {
			d.t.Errorf("%s: the header %s is missing", shown, field)
		}
		schema, _ := d.get(header, "schema")
		for _, value := range values {
			if err := d.validate(schema, d.typed(schema, value)); err != nil {
				d.t.Errorf("%s: %s: %q: %v", shown, field, value, err)
			}
			d.shown[shown+" "+field] = true
		}
	}
}

// typed turns text of a header, a query or a form into what its schema is about.
func (d *openAPI) typed(schema part, text string) any {
	if kind, _ := d.get(schema, "type"); kind.value == "integer" {
		if _, err := strconv.Atoi(text); err == nil {
			return json.Number(text)
		}
	}
	return text
}

func (d *openAPI) checkBody(shown string, response part, a harness.Answer) {
	d.t.Helper()
	content, ok := d.get(response, "content")
	if !ok || a.Request.Method == http.MethodHead {
		if a.Text != "" {
			d.t.Errorf("%s: a body that is not documented: %s", shown, a.Text)
		}
		if !ok {
			return
		}
	}
	mediaType, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type"))
	schema, ok := d.get(content, mediaType, "schema")
	switch {
	case !ok:
		d.t.Errorf("%s: Content-Type %q is not documented", shown, a.Header.Get("Content-Type"))
		return
	case a.Request.Method == http.MethodHead:
		return
	}
	d.checkValue(shown, schema, mediaType, a.Text)
}

func (d *openAPI) checkValue(shown string, schema part, mediaType, body string) {
	d.t.Helper()
	var value any = body
	if strings.HasSuffix(mediaType, "json") {
		value = fromJSON(d.t, body)
	}
	if err := d.validate(schema, value); err != nil {
		d.t.Errorf("%s: %s: %v", shown, body, err)
	}
	members, _ := value.(map[string]any)
	for name, member := range members {
		d.shown[fmt.Sprintf("%s %s=%v", shown, name, member)] = true
	}
}

// badRequest says what is wrong with a request by the document.
func (d *openAPI) badRequest(path string, operation part, r *http.Request, body string) error {
	d.t.Helper()
	query := r.URL.Query()
	for key, parameter := range d.parameters(path, operation) {
		in, name, _ := strings.Cut(key, " ")
		values := map[string][]string{
			"query": query[name], "header": r.Header.Values(name), "path": {r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]},
		}[in]
		if required, _ := d.get(parameter, "required"); required.value == true && len(values) == 0 {
			return fmt.Errorf("%s is missing", key)
		}
		schema, _ := d.get(parameter, "schema")
		for _, value := range values {
			if err := d.validate(schema, d.typed(schema, value)); err != nil {
				return err
			}
		}
		if in == "query" {
			delete(query, name)
		}
	}
	if len(query) > 0 {
		return fmt.Errorf("parameters that are not documented: %v", query)
	}
	return d.badRequestBody(operation, r, body)
}

func (d *openAPI) badRequestBody(operation part, r *http.Request, body string) error {
	d.t.Helper()
	request, ok := d.get(operation, "requestBody")
	if !ok {
		if body != "" {
			return fmt.Errorf("a body that is not documented")
		}
		return nil
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	schema, ok := d.get(request, "content", mediaType, "schema")
	if !ok {
		return fmt.Errorf("content type %q", mediaType)
	}
	if mediaType == "application/json" {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
		if err != nil {
			return err
		}
		return d.validate(schema, value)
	}
	if mediaType == "text/plain" {
		return d.validate(schema, body)
	}
	form, err := url.ParseQuery(body)
	if err != nil {
		return err
	}
	value := make(map[string]any)
	for name, values := range form {
		property, _ := d.get(schema, "properties", name)
		value[name] = d.typed(property, strings.Join(values, "\n"))
	}
	return d.validate(schema, value)
}

// words are the values that a schema lists for members of an object: "error=busy".
func (d *openAPI) words(schema part) []string {
	var found []string
	for _, of := range []string{"allOf", "oneOf", "anyOf"} {
		list, _ := d.get(schema, of)
		values, _ := list.value.([]any)
		for i, value := range values {
			if p, ok := d.follow(part{fmt.Sprintf("%s/%d", list.pointer, i), value}); ok {
				found = append(found, d.words(p)...)
			}
		}
	}
	properties, _ := d.get(schema, "properties")
	for _, name := range properties.keys() {
		if word, ok := d.get(properties, name, "const"); ok {
			found = append(found, fmt.Sprintf("%s=%v", name, word.value))
		}
		list, _ := d.get(properties, name, "enum")
		values, _ := list.value.([]any)
		for _, value := range values {
			found = append(found, fmt.Sprintf("%s=%v", name, value))
		}
	}
	return found
}

// checkAllShown fails for what is documented and no call has shown.
func (d *openAPI) checkAllShown() {
	d.t.Helper()
	d.eachOperation(func(name, _ string, operation part) {
		responses, _ := d.get(operation, "responses")
		for _, status := range responses.keys() {
			shown := name + " " + status
			response, _ := d.get(responses, status)
			wanted := []string{""}
			headers, _ := d.get(response, "headers")
			for _, field := range headers.keys() {
				wanted = append(wanted, " "+field)
			}
			content, _ := d.get(response, "content")
			for _, mediaType := range content.keys() {
				schema, _ := d.get(content, mediaType, "schema")
				for _, word := range d.words(schema) {
					wanted = append(wanted, " "+word)
				}
			}
			for _, want := range wanted {
				head := strings.HasPrefix(name, "head ") && strings.Contains(want, "=") // it has no body
				if !head && !d.shown[shown+want] {
					d.t.Errorf("%s%s is documented, and no call has shown it", shown, want)
				}
			}
		}
	})
}

// call sends a request as a till, and holds the answer against the document.
func (d *openAPI) call(c harness.Till, method, path, body string, header ...string) harness.Answer {
	d.t.Helper()
	a := c.Call(method, path, body, header...)
	d.checkAnswer(a, body)
	return a
}

// TestOpenAPI calls everything that docs/openapi.yaml documents.
func TestOpenAPI(t *testing.T) {
	d := readOpenAPI(t)
	w := harness.NewPhoneWorld(t)
	w.Load(strings.NewReplacer(
		"/account/* 123456 {", "/account/* 123456 {\n\t\tconsent_webhook_secret "+harness.ConsentSecret,
		"/account/* 234567 {", "/account/* 234567 {\n\t\tsession {\n\t\t\tidle_timeout 10s\n\t\t}",
	).Replace(harness.PhoneShops) + `
http://shop-d.localhost:$HTTP {
	vipps_login {http.request.header.X-Shop} {
		phone {
			api_key {env.TILL_API_KEY}
			webhook_secret ` + harness.WebhookSecret + `
		}
	}
}
`)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	t.Run("started", func(t *testing.T) { d.t = t; d.testStarted(c) })
	t.Run("ends", func(t *testing.T) { d.t = t; d.testEnds(w, c) })
	t.Run("refused", func(t *testing.T) { d.t = t; d.testRefused(w, c) })
	t.Run("Vipps MobilePay does not", func(t *testing.T) { d.t = t; d.testVippsFaults(w, c) })
	t.Run("webhook", func(t *testing.T) { d.t = t; d.testWebhook(w, c); d.testConsentRevoked(c) })
	t.Run("userinfo", func(t *testing.T) { d.t = t; d.testUserinfo(w) })
	t.Run("no storage", func(t *testing.T) { d.t = t; d.testNoStorage(w, c) })
	t.Run("other methods", func(t *testing.T) { d.t = t; d.testOtherMethods(w, c) })
	d.t = t
	d.checkAllShown()
}

// numbered is a start for the n-th of many people: each can be asked five times only.
func numbered(n int) string { return `{"phone_number":"` + harness.ManyNumbers(n + 1)[n] + `"}` }

func (d *openAPI) testStarted(c harness.Till) {
	for _, body := range []string{
		numbered(0), "phone_number=%2B47+41000001&binding_message=TILL-07&requested_expiry=60&finish=app",
		`{"phone_number":"+47 410 00 002","scope":"openid name","finish":"browser","return_to":"/account/?x=1"}`,
	} {
		id := d.call(c, "POST", "/phone", body).WantStatus(d.t, http.StatusAccepted).State(d.t).ID
		d.call(c, "GET", "/phone/"+id+"?wait=0", "").WantStatus(d.t, http.StatusOK)
		d.call(c, "DELETE", "/phone/"+id, "").WantStatus(d.t, http.StatusNoContent)
		d.call(c, "DELETE", "/phone/"+id, "").WantStatus(d.t, http.StatusNotFound)
		d.call(c, "GET", "/phone/"+id, "").WantStatus(d.t, http.StatusNotFound)
	}
	d.call(c, "POST", "/phone/exists", `{"phone_number":"+47 12 34 56 78"}`).WantStatus(d.t, http.StatusOK)
	d.call(c, "POST", "/phone/exists", "phone_number=4799999999").WantStatus(d.t, http.StatusOK)
}

// testEnds: a login with every status, and every error of it. A ping has Vipps MobilePay asked at once.
func (d *openAPI) testEnds(w *harness.World, c harness.Till) {
	fault := func(faults simulator.Faults) func(string) {
		return func(authReqID string) {
			w.Vipps.Sim.SetFaults(faults)
			harness.MustAnswer(d.t, w, authReqID, true)
		}
	}
	n := 10
	for want, act := range map[string]func(authReqID string){
		"complete":             func(authReqID string) { harness.MustAnswer(d.t, w, authReqID, true) },
		"denied":               func(authReqID string) { harness.MustAnswer(d.t, w, authReqID, false) },
		"expired":              func(authReqID string) { _ = w.Vipps.Sim.ExpirePhone(authReqID) },
		"failed id_token":      fault(simulator.Faults{IDToken: func(_, claims map[string]any) { claims["nonce"] = "x" }}),
		"failed sub_mismatch":  fault(simulator.Faults{Userinfo: func(claims map[string]any) { claims["sub"] = "x" }}),
		"failed other_number":  fault(simulator.Faults{Userinfo: func(claims map[string]any) { claims["phone_number"] = harness.Kari }}),
		"failed code_refused":  func(string) { w.Vipps.Answer(harness.PathToken, harness.WithStatus(400, `{"error":"invalid_grant"}`)) },
		"failed not_connected": func(string) { w.Vipps.Answer(harness.PathToken, harness.WithStatus(403, `{}`)) },
		"failed bad_answer":    func(string) { w.Vipps.Answer(harness.PathToken, harness.WithStatus(200, `{}`)) },
	} {
		n++
		id, authReqID := c.Start(w, numbered(n))
		act(authReqID)
		if want == "failed code_refused" { // which is believed at the second time
			d.call(c, "GET", "/phone/"+id+"?wait=2", "")
		}
		w.Ping(d.t, c.Shop+"/vipps/webhook", `{"auth_req_id":"`+authReqID+`"}`, harness.WebhookSecret, nil)
		a := d.call(c, "GET", "/phone/"+id+"?wait=10", "")
		s := a.State(d.t)
		if got := strings.TrimSpace(s.Status + " " + s.Error); !strings.HasPrefix(got, want) {
			d.t.Errorf("got %s, want %s", a.Text, want)
		}
		w.Vipps.Sim.SetFaults(simulator.Faults{})
		w.Vipps.Answer(harness.PathToken, nil)
	}
}

// testRefused: the document says of a bad request that it is one, as far as a schema can.
func (d *openAPI) testRefused(w *harness.World, c harness.Till) {
	for _, bad := range []string{
		`POST /phone {}`, `POST /phone {"phone_number":null}`, `POST /phone {"phone_number":4712345678}`, `POST /phone {"phone_number":""}`,
		`POST /phone {"phone_number":"4712345678","customer_token":"x"}`, `POST /phone {"customer_token":"a b"}`, `POST /phone {"customer_token":"a%b"}`,
		`POST /phone {"phone_number":"4712345678","binding_message":"abc"}`, `POST /phone {"phone_number":"4712345678","scope":"na\"me"}`,
		`POST /phone {"phone_number":"4712345678","scope":["name"]}`, `POST /phone {"phone_number":"4712345678","requested_expiry":59}`,
		`POST /phone {"phone_number":"4712345678","requested_expiry":901}`, `POST /phone {"phone_number":"4712345678","requested_expiry":"600"}`,
		`POST /phone {"phone_number":"4712345678","requested_expiry":60.5}`, `POST /phone {"phone_number":"4712345678","finish":"tv"}`,
		`POST /phone {"phone_number":"4712345678","return_to":"/x"}`, `POST /phone {"phone_number":"4712345678","finish":"app","return_to":"/x"}`,
		`POST /phone {"phone_number":"4712345678","finish":"browser","return_to":"https://evil.example/"}`,
		`POST /phone {"phone_number":"4712345678","finish":"browser","return_to":"//evil.example/"}`,
		`POST /phone {"phone_number":"4712345678","finish":"browser","return_to":"/\\evil.example/"}`,
		`POST /phone {"phone_number":"4712345678","phonenumber":"1"}`, `POST /phone {"phone_number"`, `POST /phone phone_number=4712345678&x=y`,
		`POST /phone phone_number=4712345678&requested_expiry=x`, `POST /phone/exists {}`, `POST /phone/exists {"phone_number":"4712345678","finish":"app"}`,
		`GET /phone/AAAAAAAAAAAAAAAAAAAAAA?wait=x`, `GET /phone/AAAAAAAAAAAAAAAAAAAAAA?wait=-1`, `GET /phone/AAAAAAAAAAAAAAAAAAAAAA?wait=61`,
	} {
		method, rest, _ := strings.Cut(bad, " ")
		path, body, _ := strings.Cut(rest, " ")
		a := c.Call(method, path, body).WantStatus(d.t, http.StatusBadRequest)
		if d.checkAnswer(a, body) == nil {
			d.t.Errorf("%s: is refused, and documented as fine", bad)
		}
	}
	const id, number = "/phone/AAAAAAAAAAAAAAAAAAAAAA", `{"phone_number":"4712345678"}`
	big := `{"phone_number":"` + strings.Repeat("4", 17<<10) + `"}`
	nobody := harness.NewTill(d.t, w.Shop("shop-d.localhost"))
	for _, operation := range []string{"POST /phone", "POST /phone/exists", "GET " + id, "DELETE " + id} {
		method, path, _ := strings.Cut(operation, " ")
		body := map[string]string{"POST": number}[method]
		d.checkAnswer(c.Do(harness.NewRequest(d.t, method, c.Shop+"/vipps"+path, nil)).WantStatus(d.t, http.StatusUnauthorized), "")
		d.call(c, method, path, body, "Origin: https://evil.example").WantStatus(d.t, http.StatusForbidden)
		d.call(nobody, method, path, body).WantStatus(d.t, http.StatusMisdirectedRequest)
		if method == "POST" {
			d.call(c, method, path, big).WantStatus(d.t, http.StatusRequestEntityTooLarge)
			d.call(c, method, path, "", "Content-Type: text/plain").WantStatus(d.t, http.StatusUnsupportedMediaType)
		}
	}
	// Vipps MobilePay itself would refuse the second one.
	started := 0
	w.Vipps.Answer("/vipps-login-ciba/api/backchannel/authentication", func(rw http.ResponseWriter, r *http.Request) {
		started++
		harness.WithStatus(200, fmt.Sprintf(`{"auth_req_id":"r%d","expires_in":600,"interval":1}`, started))(rw, r)
	})
	for range 5 {
		d.call(c, "POST", "/phone", number).WantStatus(d.t, http.StatusAccepted)
	}
	d.call(c, "POST", "/phone", number).WantStatus(d.t, http.StatusTooManyRequests)
	w.Vipps.Answer("/vipps-login-ciba/api/backchannel/authentication", nil)
}

func (d *openAPI) testVippsFaults(w *harness.World, c harness.Till) {
	n := 20
	for path, at := range map[string]string{
		"/phone": "/vipps-login-ciba/api/backchannel/authentication", "/phone/exists": "/vipps-login-ciba/api/v1/user-exists",
	} {
		for _, fault := range []struct {
			answer http.HandlerFunc
			status int
		}{
			{harness.WithStatus(400, `{"error":"invalid_user"}`), map[string]int{"/phone": 422, "/phone/exists": 200}[path]},
			{harness.WithStatus(400, `{"error":"old_app"}`), 422}, {harness.WithStatus(400, `{"error":"invalid_scope"}`), 422},
			{harness.WithStatus(400, `{"error":"invalid_binding_message"}`), 422}, {harness.WithStatus(400, `{"error":"expired_login_hint_token"}`), 422},
			{harness.WithStatus(400, `{"error":"invalid_request","error_description":"login_hint must be in format: 'urn:msisdn:…'"}`), 422},
			{harness.WithStatus(403, ``), 502},
			{harness.WithStatus(429, `{}`), 429},
			{func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Retry-After", "17")
				harness.WithStatus(429, `{}`)(rw, r)
			}, 429},
			{harness.WithStatus(500, ``), 502}, {harness.WithStatus(401, `{}`), 502}, {harness.WithStatus(503, ``), 503}, {busyFor(7), 503}, {harness.HangUp, 504},
		} {
			n++
			w.Vipps.Answer(at, fault.answer)
			d.call(c, "POST", path, numbered(n)).WantStatus(d.t, fault.status)
		}
		w.Vipps.Answer(at, nil)
	}
}

func (d *openAPI) testWebhook(w *harness.World, c harness.Till) {
	nobody := w.Shop("shop-d.localhost") + "/vipps/webhook"
	for _, test := range []struct {
		address, body, secret string
		status                int
	}{
		{c.Shop + "/vipps/webhook", `{"auth_req_id":"unknown"}`, harness.WebhookSecret, 200},
		{c.Shop + "/vipps/webhook", `{"auth_req_id":"unknown","more":1}`, harness.WebhookSecret, 200},
		{c.Shop + "/vipps/webhook", `{"auth_req_id":7}`, harness.WebhookSecret, 400},
		{c.Shop + "/vipps/webhook", `{}`, "wrong", 401},
		{c.Shop + "/vipps/webhook", `{"x":"` + strings.Repeat("x", 65<<10) + `"}`, harness.WebhookSecret, 413},
		{nobody, `{}`, harness.WebhookSecret, 421},
	} {
		bad := d.checkAnswer(w.Ping(d.t, test.address, test.body, test.secret, nil).WantStatus(d.t, test.status), test.body)
		if test.status == http.StatusBadRequest && bad == nil {
			d.t.Errorf("%s: is refused, and documented as fine", test.body)
		}
	}
}

// testConsentRevoked is the other webhook at the same address.
func (d *openAPI) testConsentRevoked(c harness.Till) {
	for _, test := range []struct {
		query, body string
		status      int
	}{
		{"?secret=" + harness.ConsentSecret, harness.ConsentRevoked("CONSENT_REVOKED", "somebody", time.Now()), 200},
		{"?secret=" + harness.ConsentSecret, "no JWT", 400},
		{"?secret=" + strings.Repeat("x", 40), harness.ConsentRevoked("CONSENT_REVOKED", "somebody", time.Now()), 401},
	} {
		a := c.Do(harness.NewRequest(d.t, "POST", c.Shop+"/vipps/webhook"+test.query, strings.NewReader(test.body), "Content-Type: text/plain"))
		bad := d.checkAnswer(a.WantStatus(d.t, test.status), test.body)
		if test.status == http.StatusBadRequest && bad == nil {
			d.t.Errorf("%s: is refused, and documented as fine", test.body)
		}
	}
}

// busyFor is Vipps MobilePay asking to come back in that many seconds.
func busyFor(seconds int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (d *openAPI) testUserinfo(w *harness.World) {
	nobody := harness.NewTill(d.t, w.Shop("shop-d.localhost"))
	for _, method := range []string{"GET", "HEAD"} {
		stranger := harness.NewBrowser(d.t)
		address := w.Shop("shop-b.localhost") + "/vipps/userinfo"
		userinfo := func(header ...string) harness.Answer {
			a := stranger.Do(harness.NewRequest(d.t, method, address, nil, header...))
			d.checkAnswer(a, "")
			return a
		}
		userinfo().WantStatus(d.t, http.StatusUnauthorized)
		userinfo("Cookie: vipps_session=made-up").WantStatus(d.t, http.StatusUnauthorized)
		userinfo("Referer: "+w.Shop("shop-b.localhost")+"/account/a?b=c&d").WantStatus(d.t, http.StatusUnauthorized)
		d.call(nobody, method, "/userinfo", "").WantStatus(d.t, http.StatusMisdirectedRequest)
		stranger.Login(w.Shop("shop-b.localhost")+"/account/", harness.Kari)
		userinfo().WantStatus(d.t, http.StatusOK)
	}

	// The same answer, but for some headers, has a script that asks for something else.
	a := harness.NewTill(d.t, w.Shop("shop-a.localhost")).Get(w.Shop("shop-a.localhost")+"/account/data").WantStatus(d.t, http.StatusUnauthorized)
	response, _ := d.get(d.root, "components", "responses", "LoginRequired")
	d.checkBody("a script", response, a)
}

// testNoStorage puts a file where the folder of the plugin was.
func (d *openAPI) testNoStorage(w *harness.World, c harness.Till) {
	const id = "/phone/AAAAAAAAAAAAAAAAAAAAAA"
	folder := filepath.Join(w.Storage, "vipps_login")
	if err := os.RemoveAll(folder); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.call(c, "POST", "/phone", numbered(40)).WantStatus(d.t, http.StatusServiceUnavailable)
	d.call(c, "GET", id, "").WantStatus(d.t, http.StatusServiceUnavailable)
	d.call(c, "DELETE", id, "").WantStatus(d.t, http.StatusServiceUnavailable)
	ping := w.Ping(d.t, c.Shop+"/vipps/webhook", `{"auth_req_id":"x"}`, harness.WebhookSecret, nil).WantStatus(d.t, http.StatusServiceUnavailable)
	d.checkAnswer(ping, `{"auth_req_id":"x"}`)
	if err := os.Remove(folder); err != nil {
		d.t.Fatal(err)
	}
}

// testOtherMethods: what is not documented at a path is answered with 405, and Allow lists what is.
func (d *openAPI) testOtherMethods(w *harness.World, c harness.Till) {
	paths, _ := d.get(d.root, "paths")
	for _, path := range paths.keys() {
		kind := "MethodNotAllowed"
		if path == "/userinfo" || path == "/webhook" {
			kind = "MethodNotAllowedProblem"
		}
		response, _ := d.get(d.root, "components", "responses", kind)
		var allowed, refused []string
		for _, method := range httpMethods {
			if _, ok := d.get(paths, path, method); ok {
				allowed = append(allowed, strings.ToUpper(method))
			} else if method != "head" { // whose answer has no body to look at
				refused = append(refused, strings.ToUpper(method))
			}
		}
		for _, method := range refused {
			a := c.Call(method, strings.Replace(path, "{id}", "AAAAAAAAAAAAAAAAAAAAAA", 1), "").WantStatus(d.t, http.StatusMethodNotAllowed)
			d.checkHeaders(method+" "+path, response, a)
			d.checkBody(method+" "+path, response, a)
			if allow := strings.Split(a.Header.Get("Allow"), ", "); !slices.Equal(slices.Sorted(slices.Values(allow)), slices.Sorted(slices.Values(allowed))) {
				d.t.Errorf("%s: Allow: %s, and %s are documented", path, allow, allowed)
			}
		}
	}
}

// TestOpenAPIDocument: what the document says fits together.
func TestOpenAPIDocument(t *testing.T) {
	d := readOpenAPI(t)
	if version, _ := d.get(d.root, "openapi"); !strings.HasPrefix(fmt.Sprint(version.value), "3.1.") {
		t.Errorf("openapi: %v", version.value)
	}
	ids := make(map[string]string)
	template := regexp.MustCompile(`\{([^}]+)\}`)
	d.eachOperation(func(name, path string, operation part) {
		id, _ := d.get(operation, "operationId")
		if other := ids[fmt.Sprint(id.value)]; id.value == nil || other != "" {
			t.Errorf("%s: operationId %v, which %s has", name, id.value, other)
		}
		ids[fmt.Sprint(id.value)] = name
		var inPath, defined []string
		for _, match := range template.FindAllStringSubmatch(path, -1) {
			inPath = append(inPath, "path "+match[1])
		}
		for key := range d.parameters(path, operation) {
			if strings.HasPrefix(key, "path ") {
				defined = append(defined, key)
			}
		}
		if slices.Sort(defined); !slices.Equal(inPath, defined) {
			t.Errorf("%s: %v are in the path, %v are defined", name, inPath, defined)
		}
	})
	d.checkPart(d.root)
}

// checkPart looks at everything below p: references lead somewhere, and examples are examples.
func (d *openAPI) checkPart(p part) {
	d.t.Helper()
	if list, ok := p.value.([]any); ok {
		for i, value := range list {
			d.checkPart(part{fmt.Sprintf("%s/%d", p.pointer, i), value})
		}
	}
	members, _ := p.value.(map[string]any)
	if _, isSchema := members["$ref"].(string); isSchema {
		if _, ok := d.follow(p); !ok {
			d.t.Errorf("%s leads nowhere: %v", p.pointer, members["$ref"])
		}
	}
	for key, value := range members {
		d.checkPart(part{p.pointer + "/" + escapePointer.Replace(key), value})
	}
	schema, ok := d.get(p, "schema")
	if !ok {
		return
	}
	if example, ok := members["example"]; ok {
		d.checkExample(p, schema, example)
	}
	examples, _ := d.get(p, "examples")
	for _, name := range examples.keys() {
		example, _ := d.get(examples, name, "value")
		d.checkExample(example, schema, example.value)
	}
}

func (d *openAPI) checkExample(at, schema part, example any) {
	d.t.Helper()
	if err := d.validate(schema, example); err != nil {
		d.t.Errorf("the example at %s: %v", at.pointer, err)
	}
}

// TestOpenAPIEndpoints: docs/directive.md names the same endpoints, and those that are pages.
func TestOpenAPIEndpoints(t *testing.T) {
	directive, err := os.ReadFile("docs/directive.md")
	if err != nil {
		t.Fatal(err)
	}
	pages := []string{"get /jwks.json" /* RFC 7517 describes it */, "get /login", "get /callback", "get /logout", "get /phone/callback"}
	var inDirective, inDocument []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z]+)`? .*?/vipps(/[^?`]*)").FindAllStringSubmatch(string(directive), -1) {
		if name := strings.ToLower(row[1]) + " " + row[2]; !slices.Contains(pages, name) {
			inDirective = append(inDirective, name)
		}
	}
	readOpenAPI(t).eachOperation(func(name, _ string, _ part) {
		if !strings.HasPrefix(name, "head ") {
			inDocument = append(inDocument, name)
		}
	})
	slices.Sort(inDirective)
	if slices.Sort(inDocument); len(inDirective) < 5 || !slices.Equal(inDirective, inDocument) {
		t.Errorf("docs/directive.md has %v, docs/openapi.yaml has %v", inDirective, inDocument)
	}
}
