package outgoing

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// hidden is a writer under ours that looks out for the status, as other middleware does.
type hidden struct {
	*caddyhttp.ResponseWriterWrapper
	status int
}

func (h *hidden) WriteHeader(status int) {
	h.status = status
	h.ResponseWriterWrapper.WriteHeader(status)
}

// serve starts a server whose answers go through a Writer, over HTTP/1.1 or HTTP/2.
func serve(t *testing.T, overHTTP2 bool, answer http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		under := &hidden{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: rw}}
		w := NewWriter(under, Hooks{
			Answer: func(header http.Header) { header.Add("X-Hook", "answer") },
			Interim: func(header http.Header) func() {
				before := header["X-Secret"]
				delete(header, "X-Secret")
				return func() { header["X-Secret"] = before }
			},
		})
		answer(w, r)
		w.Begin()
		if !w.Begun() {
			t.Error("it has not begun")
		}
	}))
	server.EnableHTTP2 = overHTTP2
	if overHTTP2 {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

// TestAnswersBegin: the hook is called once, before the header is written, however an answer begins.
func TestAnswersBegin(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) },
		"status, twice": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write([]byte("x"))
		},
		"body": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) },
		"copied body": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("x"))
		},
		"flush":          func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
		"flush of today": func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() },
		"nothing":        func(http.ResponseWriter, *http.Request) {},
	}
	for name, answer := range answers {
		for _, overHTTP2 := range []bool{false, true} {
			server := serve(t, overHTTP2, answer)
			resp, err := server.Client().Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := resp.Header["X-Hook"]; len(got) != 1 || (resp.ProtoMajor == 2) != overHTTP2 {
				t.Errorf("%s over %s: %v", name, resp.Proto, resp.Header)
			}
		}
	}
}

// TestFlushIsAnAnswer: writers under ours are told the status of an answer that begins with a flush.
func TestFlushIsAnAnswer(t *testing.T) {
	under := &hidden{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: httptest.NewRecorder()}}
	w := NewWriter(under, Hooks{Answer: func(http.Header) {}})
	if err := http.NewResponseController(w).Flush(); err != nil || under.status != http.StatusOK {
		t.Errorf("status %d, %v", under.status, err)
	}
}

// TestInterimAnswers: they go through a hook of their own, any number of them, and the answer has what was left out.
func TestInterimAnswers(t *testing.T) {
	for _, overHTTP2 := range []bool{false, true} {
		server := serve(t, overHTTP2, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Secret", "1")
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusProcessing)
			w.WriteHeader(http.StatusOK)
		})
		var interim []http.Header
		trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
			interim = append(interim, http.Header(header))
			return nil
		}}
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if len(interim) != 2 || interim[0].Get("X-Secret") != "" || interim[0].Get("Link") == "" || interim[0].Get("X-Hook") != "" {
			t.Errorf("%s: interim %v", resp.Proto, interim)
		}
		if resp.Header.Get("X-Secret") != "1" || len(resp.Header["X-Hook"]) != 1 {
			t.Errorf("%s: %v", resp.Proto, resp.Header)
		}
	}
}

// TestUpgrades: whoever takes the connection over has the header of the answer.
func TestUpgrades(t *testing.T) {
	for name, announced := range map[string]bool{"after a status": true, "at once": false} {
		server := serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
			if announced {
				w.Header().Set("Connection", "Upgrade")
				w.Header().Set("Upgrade", "test")
				w.WriteHeader(http.StatusSwitchingProtocols)
			}
			conn, buffered, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if !announced {
				_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\nX-Hook: " + w.Header().Get("X-Hook") + "\r\n\r\n")
			}
			_, _ = buffered.WriteString("hello\n")
			_ = buffered.Flush()
		})
		r, err := http.NewRequest(http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "test")
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(resp.Body).ReadString('\n')
		resp.Body.Close()
		if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("X-Hook") != "answer" || line != "hello\n" {
			t.Errorf("%s: %d %v, %q, %v", name, resp.StatusCode, resp.Header, line, err)
		}
	}
}
