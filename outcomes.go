package vippslogin

import (
	"errors"
	"hash/maphash"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/time/rate"

	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// Each outcome of a login has one log line and one count. INFO has at most one line for each login that ends and each logout;
// the start of a login, which anybody can cause in any number, is DEBUG. Of a user's data, a line has the sub only.

// recordStart records that a login was started.
func (h *Handler) recordStart(v *visit, flow string) {
	if flow == flowBrowser && !h.app.perMerchant {
		h.browserStarts.Inc()
	} else {
		counted.started.WithLabelValues(flow, h.app.merchantLabel(v)).Inc()
	}
	if c := h.logger.Check(zapcore.DebugLevel, "login started"); c != nil {
		c.Write(zap.String("flow", flow), zap.String("msn", v.msn))
	}
}

// recordLogin records a completed login: since when it was in progress, and how much of that time we and Vipps MobilePay
// took.
func (h *Handler) recordLogin(v *visit, flow string, s *session.Session, since time.Time, took time.Duration) {
	counted.completed.WithLabelValues(flow, h.app.merchantLabel(v)).Inc()
	fields := []zap.Field{
		zap.String("flow", flow), zap.String("msn", v.msn), zap.String("sub", s.Sub()),
		zap.Duration("since_start", time.Since(since)), zap.Duration("duration", took),
	}
	if s.ID != "" { // a till's login opens none
		fields = append(fields, zap.String("session", s.IDText()))
	}
	h.logger.Info("login completed", fields...)
}

// recordFailure records a failed login. It returns a reference to the log line, for the user to read out, or "" where there
// is no line: one client can cause five lines a second in the long run, so that nobody fills the log.
func (h *Handler) recordFailure(v *visit, flow string, f failure, err error) (reference string) {
	counted.failed.WithLabelValues(flow, f.reason, h.app.merchantLabel(v)).Inc()
	c := h.logger.Check(f.level, "login failed")
	if c == nil || !h.app.clientLogs.allow(v.client) {
		return ""
	}
	reference = newReference()
	fields := []zap.Field{
		zap.String("flow", flow), zap.String("reason", f.reason), zap.Int("status", f.status),
		zap.String("reference", reference), zap.String("msn", v.msn), zap.String("host", v.Host), zap.Error(err),
	}
	if !v.began.IsZero() {
		fields = append(fields, zap.Duration("duration", time.Since(v.began)))
	}
	c.Write(fields...)
	return reference
}

// countPhoneFailure counts a login from a phone number that was refused at its start. failPhone counts other failures.
func (h *Handler) countPhoneFailure(v *visit, err error) {
	var reason string
	var often phone.AskedTooOften
	var refused vipps.StatusError
	refusal, refusedByVipps := refusalOf(err)
	switch {
	case refusedByVipps:
		reason = refusal.Error
	case errors.As(err, &often):
		reason = "asked_too_often"
	case errors.As(err, &refused) && refused.Status == http.StatusTooManyRequests:
		reason = "busy"
	default:
		return
	}
	counted.failed.WithLabelValues(phone.Flow, reason, h.app.merchantLabel(v)).Inc()
}

// recordWebhookRefused records a refused webhook. Vipps MobilePay deletes a registration after two weeks of failures.
func (h *Handler) recordWebhookRefused(v *visit, reason string, status int) {
	counted.webhooks.WithLabelValues(reason).Inc()
	if c := h.logger.Check(zapcore.WarnLevel, "webhook refused"); c != nil && h.app.clientLogs.allow(v.client) {
		c.Write(zap.String("reason", reason), zap.Int("status", status), zap.String("msn", v.msn), zap.String("host", v.Host))
	}
}

// recordLogout records a logout.
func (h *Handler) recordLogout(v *visit) {
	h.logger.Info("logged out", zap.String("msn", v.msn), zap.String("sub", v.session.Sub()),
		zap.String("session", v.session.IDText()))
}

// phoneOutcome records the outcomes of a merchant's logins from phone numbers.
type phoneOutcome struct {
	handler *Handler
	visit   *visit
}

func (o phoneOutcome) PhoneStarted(flow string) { o.handler.recordStart(o.visit, flow) }

func (o phoneOutcome) PhoneCompleted(flow string, claims []userinfo.Claim, since time.Time, took time.Duration) {
	o.handler.recordLogin(o.visit, flow, &session.Session{Claims: claims}, since, took) // a till's login opens no session
}

func (o phoneOutcome) PhoneFailed(flow string, err error) {
	o.handler.recordFailure(o.visit, flow, failureOf(err), err)
}

func (o phoneOutcome) PhoneReason(err error) string { return failureOf(err).reason }

// newReference returns a reference that a user can read out to support.
func newReference() string {
	const letters = "23456789abcdefghjkmnpqrstuvwxyz" // without letters that look alike
	var reference strings.Builder
	for _, b := range seal.RandomBytes(8) {
		reference.WriteByte(letters[int(b)%len(letters)])
	}
	return reference.String()
}

// logLimiter limits how many log lines one client can cause: anybody can send bad callbacks all day. Clients share a fixed
// number of limiters by a keyed hash, so that memory is bounded, and a noisy client hardly ever silences another.
type logLimiter struct {
	seed     maphash.Seed
	limiters [1024]*rate.Limiter
}

const (
	linesPerSecond = 5
	linesAtOnce    = 200
)

func newLogLimiter() *logLimiter {
	t := &logLimiter{seed: maphash.MakeSeed()}
	for i := range t.limiters {
		t.limiters[i] = rate.NewLimiter(linesPerSecond, linesAtOnce)
	}
	return t
}

// allow reports whether a line that this client causes may be logged now.
func (t *logLimiter) allow(client string) bool {
	return t.limiters[maphash.String(t.seed, client)%uint64(len(t.limiters))].Allow()
}
