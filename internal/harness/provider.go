package harness

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	PathBackchannel = "/vipps-login-ciba/api/backchannel/authentication"
	PathUserExists  = "/vipps-login-ciba/api/v1/user-exists"
)

// RawAnswer answers with bytes, whatever they are, and closes the connection; reset says how.
func RawAnswer(bytes string, reset bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // closing with some of it unread would be a reset
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, bytes)
		if tcp, ok := conn.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// Endless sends as fast as anybody reads.
func Endless(w http.ResponseWriter, r *http.Request) {
	block := []byte(strings.Repeat(" ", 64<<10))
	for r.Context().Err() == nil {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// Anew loads sites with nothing fetched from Vipps MobilePay yet.
func (w *World) Anew(sites string, n int) {
	w.T.Helper()
	w.LoadWhole(strings.Replace(w.Globals(), "client_id", fmt.Sprintf("system fresh %d\n\t\tclient_id", n), 1) + sites)
}

// WithStatus answers with a status and a body.
func WithStatus(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// HangUp ends the connection without an answer.
func HangUp(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 has many calls on one connection
	}
	_ = conn.Close()
}

// TruncatedAnswer ends the connection in the middle of an answer.
func TruncatedAnswer(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `{"sub":"`)
}

// WaitFor waits until something is so.
func WaitFor(t testing.TB, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for pause := time.Millisecond; !condition(); pause = min(2*pause, 50*time.Millisecond) { // tests run side by side on two cores
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
		time.Sleep(pause)
	}
}

// AnswerWith has an endpoint of Vipps MobilePay answer with a status and a body.
func (w *World) AnswerWith(path string, status int, body string) {
	w.Vipps.Answer(path, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, body)
	})
}
