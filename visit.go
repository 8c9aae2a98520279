package vippslogin

import (
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/pages"
	"github.com/caddy-vipps/vippslogin/internal/placement"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// visit is what is known about a request before it is decided how to answer it.
type visit struct {
	incoming.Origin
	asked string // the canonical host of the request; Origin has what browsers see
	unit  *merchant.Unit
	msn   string
	keys  *seal.Keys
	names *cookie.Names

	client  string // the client's IP address, as Caddy knows it
	began   time.Time
	session *session.Session // nil: none
	invalid bool             // there are session cookies, and they are invalid
	refused bool             // the request was refused

	fitting *string // the first Cookie line whose site's session cookies were filtered

	lapsed *session.Session // an expired session, for its history of logins
	demand *demand          // what the request, or the login, requires; nil: nothing

	newLogin bool // this is the first page view of the login

	mobilePayUntil time.Time // until when the pages speak of MobilePay
}

// market returns the merchant's market, if it is known.
func (v *visit) market() pages.Market {
	market := pages.Market{MobilePayUntil: v.mobilePayUntil}
	if v.unit != nil {
		market.Code = v.unit.Market
	}
	return market
}

// visitedVar is the variable with the visit of a request that has passed a vipps_login.
const visitedVar = "vipps_login.visit"

// visitOnce calls visit once for a request. A second vipps_login would take the identity headers of the first for a client's.
func (h *Handler) visitOnce(r *http.Request) (*visit, error) {
	if seen, ok := caddyhttp.GetVar(r.Context(), visitedVar).(*visit); ok {
		return seen, placement.ErrTwice
	}
	v, err := h.visit(r)
	caddyhttp.SetVar(r.Context(), visitedVar, v)
	return v, err
}

// visit finds out to which merchant a request belongs, and which session it has.
func (h *Handler) visit(r *http.Request) (*visit, error) {
	v := &visit{began: time.Now(), names: &cookie.Plain, mobilePayUntil: h.app.mobilePayUntil}
	v.client, _ = caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	var ok bool
	if v.Origin, v.asked, ok = h.origins.Of(r); !ok {
		return v, errNoMerchant
	}
	if incoming.IsStrangeScheme(r) {
		h.strangeScheme.Do(func() {
			h.logger.Warn("a trusted proxy sends an X-Forwarded-Proto that is none of http, https, ws and wss: the scheme is that of its connection")
		})
	}
	if v.unit = h.hosts.Load().Lookup(v.asked); v.unit == nil {
		return v, errNoMerchant
	}
	if v.msn = resolveMSN(r, v.unit.MSN, v.asked); v.msn == "" {
		return v, errNoMerchant
	}
	if h.app.sharedHosts.Has(v.Host) {
		v.names = cookie.For(v.msn)
	}
	var err error
	if v.keys, err = h.app.cookieKeys(r.Context()); err != nil {
		return v, err
	}
	return v, h.openVisit(r, v)
}

// openVisit opens the session of a visit, if there is one.
func (h *Handler) openVisit(r *http.Request, v *visit) error {
	values, n, any := cookie.SessionValues(r.Header, v.names.Session, v.Secure())
	if !any {
		return nil
	}
	results := h.sessionResults
	if h.app.perMerchant {
		results = counted.sessionResults(h.app.merchantLabel(v))
	}
	if err := h.app.revocationsLoaded(r.Context()); err != nil {
		return err
	}
	s, ok := h.app.opened.Open(v.keys.Session, values[:n], v.Host, v.msn)
	if ok && h.idleTimeout > 0 {
		s.Seen = lastUse(r.Header, v, s)
	}
	switch {
	case !ok:
		results.unreadable.Inc()
	case s.Expired(v.began, h.lifetime):
		results.expired.Inc()
	case s.Idle(v.began, h.idleTimeout):
		results.idle.Inc()
	case h.RequireAppConfirmation && !s.InApp:
		results.unconfirmed.Inc()
	case h.app.shared.revocations.Now.Has(s, v.msn):
		results.revoked.Inc()
	default:
		results.opened.Inc()
		s.Claims = keptClaims(v, s.Claims)
		v.session = s
	}
	v.invalid = v.session == nil
	if v.invalid && ok && !h.app.shared.revocations.Now.Has(s, v.msn) {
		v.lapsed = s
	}
	return nil
}

// history returns when this browser has completed its last logins. A logout clears it.
func (v *visit) history() session.History {
	if v.session == nil {
		return v.lapsed.History()
	}
	return v.session.History()
}

// resolveMSN returns the MSN of a request, or "" where a placeholder gives none. A placeholder may depend on the Host of the
// request, so that must be the host of the visit.
func resolveMSN(r *http.Request, msn, host string) string {
	if !strings.Contains(msn, "{") {
		return msn
	}
	if own, _ := merchant.CanonicalHost(r.Host); own != host {
		return ""
	}
	if msn = incoming.Replacer(r).ReplaceAll(msn, ""); merchant.IsMSN(msn) {
		return msn
	}
	return ""
}

// newSession returns the session of a login, with the claims that the merchant keeps, and always sub. If it replaces a
// session of the same user, scopes add up. It takes over nothing from another user's session.
func (h *Handler) newSession(v *visit, claims []userinfo.Claim, asked login.Asked, started time.Time) *session.Session {
	s := session.New(claims, time.Now(), h.lifetime)
	s.InApp, s.Scopes, s.Ahead = asked.Confirmed, asked.Scopes, max(0, started.Sub(s.Issued))
	if v.session != nil && v.session.Sub() == s.Sub() && !h.app.shared.revocations.Now.Has(v.session, v.msn) {
		earlier := v.session.Scopes.Without(asked.Scopes)
		s.Scopes = asked.Scopes.With(v.session.Scopes)
		s.Claims = userinfo.Merge(claims, v.session.Claims, earlier.Has)
	}
	s.Claims = keptClaims(v, s.Claims)
	s.Claims = h.fitHeaders(v, s.Claims)
	s.Remember(v.history().After(s.Issued, asked.StepUp))
	return s
}

// keptClaims returns the claims that a session keeps at this site. A session from before the config had fewer is narrowed, too.
func keptClaims(v *visit, claims []userinfo.Claim) []userinfo.Claim {
	kept := v.unit.Claims
	isCut := func(c userinfo.Claim) bool { return c.Name != "sub" && !slices.Contains(kept, c.Name) }
	if len(kept) == 0 || !slices.ContainsFunc(claims, isCut) {
		return claims
	}
	return slices.DeleteFunc(slices.Clone(claims), isCut)
}

// cookieLife returns the lifetime of a cookie that is useful for left: until the browser is closed, where the config says so.
func (h *Handler) cookieLife(left time.Duration) time.Duration {
	if h.Session.Browser && left > 0 {
		return cookie.UntilClosed
	}
	return left
}

// setSession is the one place where a session is set in a browser. It logs the names of claims that did not fit.
func (h *Handler) setSession(w http.ResponseWriter, r *http.Request, v *visit, s *session.Session) {
	values, dropped := session.Seal(v.keys.Session, s, v.Host, v.msn)
	if len(dropped) > 0 {
		h.logger.Warn("claims left out: they do not fit in the session cookies",
			zap.String("msn", v.msn), zap.Strings("claims", dropped))
	}
	left := time.Until(s.Issued.Add(h.lifetime))
	cookie.SetSession(w, r, v.names.Session, values, v.Secure(), h.cookieLife(left))
	clearLastUses(w, r, v)
	h.logInAtSite(w, r, v, s)
	if h.newLogins {
		setNewLogin(w, v, s, h.cookieLife(left))
	}
}

// With idle_timeout, the time of a session's last use is in a cookie of its own, whose name has the session's id. The
// session's cookies never change from login to logout, so that an answer that arrives after another login, or after a logout,
// neither restores nor ends a session.

// seenName returns the name of the cookie with the last use of s.
func seenName(v *visit, s *session.Session) string { return v.names.Seen + s.IDText()[:8] }

// lastUse returns when s was last used, by its cookie, but never earlier than the login.
func lastUse(header http.Header, v *visit, s *session.Session) time.Time {
	want := cookie.Name(seenName(v, s), v.Secure())
	seen := s.Seen
	for name, value := range cookie.All(header) {
		if name != want {
			continue
		}
		sealed, err := base64.RawURLEncoding.Strict().DecodeString(value)
		if err != nil {
			continue
		}
		plain, ok := v.keys.Seen.Open(sealed, seal.Context(v.Host, v.msn, s.IDText()))
		if ok && len(plain) == 8 && session.TimeAt(plain).After(seen) {
			seen = session.TimeAt(plain)
		}
	}
	return seen
}

// renewSession updates the time of last use once a tenth of the idle timeout has passed. It does nothing without an idle
// timeout.
func (h *Handler) renewSession(w http.ResponseWriter, v *visit) {
	idle := h.idleTimeout
	if idle <= 0 || v.began.Sub(v.session.Seen) < idle/10 {
		return
	}
	plain := binary.BigEndian.AppendUint64(nil, uint64(v.began.UnixMilli()))
	sealed := v.keys.Seen.Seal(plain, seal.Context(v.Host, v.msn, v.session.IDText()))
	left := time.Until(v.session.Issued.Add(h.lifetime))
	cookie.Set(w, seenName(v, v.session), base64.RawURLEncoding.EncodeToString(sealed), v.Secure(), h.cookieLife(min(idle, left)))
}

// clearLastUses clears the cookies that belong to sessions besides the sessions' own.
func clearLastUses(w http.ResponseWriter, r *http.Request, v *visit) {
	seen, fresh := cookie.Name(v.names.Seen, v.Secure()), cookie.Name(v.names.New, v.Secure())
	for name := range cookie.All(r.Header) {
		if (strings.HasPrefix(name, seen) || strings.HasPrefix(name, fresh)) && cookie.IsOwn(name) {
			cookie.Set(w, strings.TrimPrefix(name, cookie.HostPrefix), "", v.Secure(), 0)
		}
	}
}

// atOnce is how soon after a request our answer may still clear the session's cookies.
const atOnce = time.Second

// clearInvalid clears invalid session cookies, in prompt answers of our own only: when a later answer, or one of the site,
// arrives, the browser may have a new session.
func (v *visit) clearInvalid(w http.ResponseWriter, r *http.Request) {
	if v.invalid && time.Since(v.began) < atOnce {
		cookie.SetSession(w, r, v.names.Session, nil, v.Secure(), 0)
		clearLastUses(w, r, v)
	}
}
