// Command go shows who sent a request, as X-Vipps-Assertion proves it.
//
//	keys, err := keyfunc.NewDefaultCtx(ctx, []string{"https://shop.example.no/vipps/jwks.json"}) // once, for all requests
//	user, err := check(keys.Keyfunc, r.Header.Get("X-Vipps-Assertion"), "https://shop.example.no", "123456")
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

type user struct {
	jwt.RegisteredClaims
	MSN   string `json:"msn"`
	Email string `json:"email"`
}

// check returns who the user is, and an error for whatever is no proof.
func check(keys jwt.Keyfunc, token, origin, msn string) (*user, error) {
	u := new(user)
	_, err := jwt.ParseWithClaims(token, u, keys, jwt.WithValidMethods([]string{"ES256"}),
		jwt.WithIssuer(origin), jwt.WithAudience(origin), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
	if err != nil {
		return nil, err
	}
	if u.MSN != msn || u.Subject == "" {
		return nil, errors.New("another merchant's")
	}
	return u, nil
}

// For trying: go run . <address of the keys> <origin> <msn>, and the assertion as input.
func main() {
	token, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = show(strings.TrimSpace(string(token)), os.Args[1], os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
}

func show(token, address, origin, msn string) error {
	keys, err := keyfunc.NewDefaultCtx(context.Background(), []string{address})
	if err != nil {
		return err
	}
	u, err := check(keys.Keyfunc, token, origin, msn)
	if err != nil {
		return err
	}
	fmt.Println(u.Subject)
	return nil
}
