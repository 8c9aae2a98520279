// Package outgoing looks at a site's answer on its way to the browser.
package outgoing

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Hooks are called with the header of an answer before it is written.
type Hooks struct {
	// Answer is called once, however the site begins its answer: with a status, a body, a flush or an upgrade.
	Answer func(header http.Header)

	// Interim is called for each interim answer (RFC 9110 section 15.2), such as early hints. The header is the one that the
	// answer may have, too: what Interim returns puts it back. Nil changes nothing.
	Interim func(header http.Header) (restore func())
}

// Writer is a ResponseWriter with hooks.
type Writer struct {
	*caddyhttp.ResponseWriterWrapper
	hooks Hooks
	begun bool
}

// NewWriter returns a Writer on w.
func NewWriter(w http.ResponseWriter, hooks Hooks) *Writer {
	return &Writer{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, hooks: hooks}
}

// Begin calls Hooks.Answer, where it was not called yet. A handler that returns without having written anything leaves that to
// its caller: the server then writes the header.
func (w *Writer) Begin() {
	if !w.begun {
		w.begun = true
		w.hooks.Answer(w.Header())
	}
}

// Begun reports whether the answer has begun.
func (w *Writer) Begun() bool { return w.begun }

// WriteHeader implements http.ResponseWriter.
func (w *Writer) WriteHeader(status int) {
	switch {
	case !isInterim(status):
		w.Begin()
	case w.hooks.Interim != nil:
		defer w.hooks.Interim(w.Header())()
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

// isInterim reports whether another status follows. None follows the end of HTTP (RFC 9110 section 15.2.2).
func isInterim(status int) bool {
	return status < http.StatusOK && status != http.StatusSwitchingProtocols
}

// Write implements http.ResponseWriter.
func (w *Writer) Write(b []byte) (int, error) {
	w.Begin()
	return w.ResponseWriterWrapper.Write(b)
}

// ReadFrom implements io.ReaderFrom.
func (w *Writer) ReadFrom(from io.Reader) (int64, error) {
	w.Begin()
	return w.ResponseWriterWrapper.ReadFrom(from)
}

// FlushError is what http.ResponseController calls. A flush writes a header that is not written yet; it is written in so many
// words here, for writers under this one that look out for it.
func (w *Writer) FlushError() error {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (w *Writer) Flush() { _ = w.FlushError() }

// Hijack is what http.ResponseController calls. Whoever takes the connection may write what is in the header now.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.Begin()
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Interface guards
var (
	_ http.ResponseWriter = (*Writer)(nil)
	_ http.Flusher        = (*Writer)(nil)
	_ http.Hijacker       = (*Writer)(nil)
	_ http.Pusher         = (*Writer)(nil)
	_ io.ReaderFrom       = (*Writer)(nil)
)
