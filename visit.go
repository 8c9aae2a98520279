package vippslogin

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
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
	"github.com/caddy-vipps/vippslogin/internal/revocation"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// visit is what is known about a request before anything is decided.
type visit struct {
	incoming.Origin
	asked string // the canonical host that was asked for; origin has what browsers see
	unit  *merchant.Unit
	msn   string
	keys  *seal.Keys
	names cookie.Names

	client  string // the client's IP address, as Caddy knows it
	began   time.Time
	session *session.Session // nil: none
	invalid bool             // there are session cookies, and they are no good
	refused bool             // what was asked of the site was not given

	fitting *string // the first of the request's Cookie lines, where the site's session cookies in them are those that fit

	lapsed *session.Session // a session that is over by itself: what it remembers of the browser's logins
	demand *demand          // what is required for the request, or the login; nil: nothing

	newLogin bool // this is the first page view of the login

	mobilePayUntil time.Time // until when the pages speak of MobilePay
}

// market is the merchant's, as far as it is known.
func (v *visit) market() pages.Market {
	market := pages.Market{MobilePayUntil: v.mobilePayUntil}
	if v.unit != nil {
		market.Code = v.unit.Market
	}
	return market
}

// visitedVar holds the visit of a request that one of us has seen.
const visitedVar = "vipps_login.visit"

var errTwice = errors.New("vipps_login stands twice on the way of one request: write it once in a site, with a matcher for all that needs a login")

// visitOnce is visit, once for a request: a second one of us would take the first one's identity headers
// for a client's.
func (h *Handler) visitOnce(r *http.Request) (*visit, error) {
	if seen, ok := caddyhttp.GetVar(r.Context(), visitedVar).(*visit); ok {
		return seen, errTwice
	}
	v, err := h.visit(r)
	caddyhttp.SetVar(r.Context(), visitedVar, v)
	return v, err
}

// visit finds out whose site this is and whether the person has a session.
func (h *Handler) visit(r *http.Request) (*visit, error) {
	v := &visit{began: time.Now(), mobilePayUntil: h.app.mobilePayUntil}
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
	v.names = h.app.twins.names(v.Host, v.msn)
	var err error
	if v.keys, err = h.app.cookieKeys(r.Context()); err != nil {
		return v, err
	}
	return v, h.openVisit(r, v)
}

// openVisit looks for the person's session.
func (h *Handler) openVisit(r *http.Request, v *visit) error {
	values, any := cookie.SessionValues(r.Header, v.names.Session, v.Secure())
	if !any {
		return nil
	}
	results := h.sessionResults
	if h.app.perMerchant {
		results = counted.sessionResults(h.app.merchantLabel(v))
	}
	if err := h.app.shared.revocations.Loaded(r.Context(), revocation.Access{Shared: h.app.storage, Keys: v.keys}); err != nil {
		return err
	}
	s, ok := session.Open(v.keys.Session, values, v.Host, v.msn)
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
		v.session = s
	}
	v.invalid = v.session == nil
	if v.invalid && ok && !h.app.shared.revocations.Now.Has(s, v.msn) {
		v.lapsed = s
	}
	return nil
}

// history returns when this browser has completed its last logins. A logout has ended it.
func (v *visit) history() session.History {
	if v.session == nil {
		return v.lapsed.History()
	}
	return v.session.History()
}

// resolveMSN returns the MSN of a request, or "" where a placeholder gives none. A placeholder may tell
// about the Host of the request itself, so that must be the host the visit is for.
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

// newSession is what a login opens: with the claims that the merchant keeps, sub always among them. Where it takes the
// place of a session of the same person, scopes add up; nothing of another person's goes into it.
func (h *Handler) newSession(v *visit, claims []userinfo.Claim, asked login.Asked, started time.Time) *session.Session {
	s := session.New(claims, time.Now(), h.lifetime)
	s.InApp, s.Scopes, s.Ahead = asked.Confirmed, asked.Scopes, max(0, started.Sub(s.Issued))
	if v.session != nil && v.session.Sub() == s.Sub() && !h.app.shared.revocations.Now.Has(v.session, v.msn) {
		earlier := v.session.Scopes.Without(asked.Scopes)
		s.Scopes = asked.Scopes.With(v.session.Scopes)
		s.Claims = userinfo.Merge(claims, v.session.Claims, earlier.Has)
	}
	if kept := v.unit.Claims; len(kept) > 0 {
		s.Claims = slices.DeleteFunc(slices.Clone(s.Claims), func(c userinfo.Claim) bool { return c.Name != "sub" && !slices.Contains(kept, c.Name) })
	}
	s.Claims = h.fitHeaders(v, s.Claims)
	s.Remember(v.history().After(s.Issued, asked.StepUp))
	return s
}

// cookieLife is how long a cookie lasts that is of use for left.
func (h *Handler) cookieLife(left time.Duration) time.Duration {
	if h.Session.Browser && left > 0 {
		return cookie.UntilClosed
	}
	return left
}

// setSession is the one way a session gets into a browser. It names the claims that did not fit.
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

// With idle_timeout, the time of a session's last use is in a cookie of its own, whose name says which session it
// is about. The session's cookies never change from login to logout: an answer that comes late, after somebody
// else has logged in, or the user has logged out, brings no session back and ends none.

// seenName returns the name of the cookie with the last use of s.
func seenName(v *visit, s *session.Session) string { return v.names.Seen + s.IDText()[:8] }

// lastUse returns when s was used last: what its cookie says, but never earlier than the login.
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

// renewSession writes down that the session is in use, when a tenth of its idle timeout has gone by. Where none is
// configured nothing needs renewing.
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

// clearLastUses clears the cookies beside sessions' own that came with the request: of sessions that are over.
func clearLastUses(w http.ResponseWriter, r *http.Request, v *visit) {
	seen, fresh := cookie.Name(v.names.Seen, v.Secure()), cookie.Name(v.names.New, v.Secure())
	for name := range cookie.All(r.Header) {
		if (strings.HasPrefix(name, seen) || strings.HasPrefix(name, fresh)) && cookie.IsOwn(name) {
			cookie.Set(w, strings.TrimPrefix(name, cookie.HostPrefix), "", v.Secure(), 0)
		}
	}
}

// atOnce is how soon an answer of ours comes that may still clear a session's cookies.
const atOnce = time.Second

// clearInvalid clears session cookies that are no good. Only for answers of ours that come at once: a later one,
// and the site's on its way through, may meet a session in the browser that began in between.
func (v *visit) clearInvalid(w http.ResponseWriter, r *http.Request) {
	if v.invalid && time.Since(v.began) < atOnce {
		cookie.SetSession(w, r, v.names.Session, nil, v.Secure(), 0)
		clearLastUses(w, r, v)
	}
}
