package vippslogin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// phoneInput is the body of a request to start a login.
type phoneInput struct {
	PhoneNumber     string `json:"phone_number"`
	CustomerToken   string `json:"customer_token"`
	BindingMessage  string `json:"binding_message"`
	Scope           string `json:"scope"`
	RequestedExpiry *int   `json:"requested_expiry"`
	Finish          string `json:"finish"`
	ReturnTo        string `json:"return_to"`
}

const (
	maxPhoneBody = 16 << 10 // bytes
)

// inputError is a mistake in a request. Its text says what to fix and quotes nothing of the input.
type inputError struct {
	status int
	text   string
}

func (e inputError) Error() string { return e.text }

func badInput(format string, args ...any) error {
	return inputError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// readPhoneInput reads the body of a request to the phone API: JSON, or a form.
func readPhoneInput(r *http.Request) (phoneInput, error) {
	var input phoneInput
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPhoneBody+1))
	if err != nil {
		return input, badInput("the body could not be read")
	}
	if len(body) > maxPhoneBody {
		return input, inputError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", maxPhoneBody)}
	}
	switch mediaType, _, _ := mime.ParseMediaType(cmp.Or(r.Header.Get("Content-Type"), "application/json")); mediaType {
	case "application/json":
		err = readPhoneJSON(body, &input)
	case "application/x-www-form-urlencoded":
		err = readPhoneForm(body, &input)
	default:
		err = inputError{http.StatusUnsupportedMediaType, "send application/json or application/x-www-form-urlencoded"}
	}
	return input, err
}

func readPhoneJSON(body []byte, input *phoneInput) error {
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(input)
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType) && wrongType.Field != "":
		if wrongType.Type.Kind() == reflect.String {
			return badInput("%s must be a text in quotes", wrongType.Field)
		}
		return badInput("%s must be a whole number", wrongType.Field)
	case err != nil && strings.HasPrefix(err.Error(), "json: unknown field"):
		return badInput("there is a field that is not known: use phone_number, customer_token, binding_message, scope, requested_expiry, finish, return_to")
	case err != nil:
		return badInput("the body is not a JSON object")
	case decoder.Decode(&struct{}{}) != io.EOF:
		return badInput("there is something behind the JSON object")
	}
	return nil
}

func readPhoneForm(body []byte, input *phoneInput) error {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return badInput("the body is not a form")
	}
	fields := map[string]*string{
		"phone_number": &input.PhoneNumber, "customer_token": &input.CustomerToken, "binding_message": &input.BindingMessage,
		"scope": &input.Scope, "finish": &input.Finish, "return_to": &input.ReturnTo,
	}
	for name, values := range form {
		switch to := fields[name]; {
		case len(values) != 1:
			return badInput("a field stands more than once")
		case to != nil:
			*to = values[0]
		case name == "requested_expiry":
			seconds, err := strconv.Atoi(values[0])
			if err != nil {
				return badInput("requested_expiry must be a number")
			}
			input.RequestedExpiry = &seconds
		default:
			return badInput("there is a field that is not known: use phone_number, customer_token, binding_message, scope, requested_expiry, finish, return_to")
		}
	}
	return nil
}

// bindingMessages are those that Vipps MobilePay shows.
var bindingMessages = regexp.MustCompile(`^[A-Z0-9-]{5,8}$`)

// check validates the input and turns it into a request. The second result is the phone number, "" for a customer token.
func (in *phoneInput) check(defaultScope string) (request vipps.PhoneRequest, msisdn string, err error) {
	if request.LoginHint, msisdn, err = in.loginHint(); err != nil {
		return request, "", err
	}
	if in.BindingMessage != "" && !bindingMessages.MatchString(in.BindingMessage) {
		return request, "", badInput("binding_message must be 5 to 8 characters of A-Z, 0-9 and -")
	}
	request.BindingMessage = in.BindingMessage
	if in.RequestedExpiry != nil {
		if *in.RequestedExpiry < 60 || *in.RequestedExpiry > 900 {
			return request, "", badInput("requested_expiry must be 60 to 900 seconds")
		}
		request.Expiry = *in.RequestedExpiry
	}
	request.Scope = defaultScope
	if in.Scope != "" {
		scopes := strings.Fields(in.Scope)
		if len(scopes) == 0 || checkScopes("scope", scopes) != nil {
			return request, "", badInput("scope must be names with spaces between them, such as openid name")
		}
		request.Scope = scopeParameter(scopes)
	}
	return request, msisdn, in.checkFinish()
}

func (in *phoneInput) checkFinish() error {
	switch in.Finish {
	case "", phone.FinishApp:
		in.Finish = phone.FinishApp
		if in.ReturnTo != "" {
			return badInput("return_to goes with finish browser")
		}
	case phone.FinishBrowser:
		if in.ReturnTo == "" {
			in.ReturnTo = "/"
		}
		if incoming.SafeReturn(in.ReturnTo) != in.ReturnTo || strings.HasPrefix(in.ReturnTo, "//") {
			return badInput("return_to must be a path on this site, such as /welcome?x=y")
		}
	default:
		return badInput("finish must be app or browser")
	}
	return nil
}

func (in *phoneInput) loginHint() (hint, msisdn string, err error) {
	switch {
	case in.PhoneNumber != "" && in.CustomerToken != "":
		return "", "", badInput("send phone_number or customer_token, not both")
	case in.CustomerToken != "":
		if len(in.CustomerToken) > 2048 || !userinfo.IsPlain(in.CustomerToken) || strings.Contains(in.CustomerToken, " ") {
			return "", "", badInput("customer_token is not one of Vipps MobilePay's")
		}
		return "urn:customer-token:" + in.CustomerToken, "", nil
	}
	if msisdn, err = phone.ParseMSISDN(in.PhoneNumber); err != nil {
		return "", "", badInput("phone_number %v", err)
	}
	return "urn:msisdn:" + msisdn, msisdn, nil
}
