package vippslogin

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"go.uber.org/zap"
)

// pollIfDue asks Vipps MobilePay about a pending login when its interval allows, and returns the login
// as it is then. However many requests call it, here and on other instances, one asks.
func (h *Handler) pollIfDue(ctx context.Context, v *visit, l *phoneLogin) (*phoneLogin, error) {
	if !l.due(time.Now()) {
		return l, nil
	}
	polled, err, _ := h.app.shared.polls.Do(v.msn+"/"+l.ID, func() (any, error) {
		// The exchange succeeds once: it goes on when the client that asked has left.
		return h.lockAndPoll(context.WithoutCancel(ctx), v, l.ID)
	})
	if errors.Is(err, errLocked) {
		return l, nil // another instance asks, or died asking: then its lock ends by itself
	}
	return polled.(*phoneLogin), err
}

// lockAndPoll asks under the login's lock, which says who of all instances asks.
func (h *Handler) lockAndPoll(ctx context.Context, v *visit, id string) (*phoneLogin, error) {
	return h.phones(v).update(ctx, id, v.msn, cachedFor, func(ctx context.Context, l *phoneLogin) (bool, error) {
		now := time.Now()
		if !l.due(now) {
			return false, nil // somebody else asked in the meantime
		}
		// Written down before the call: an instance that dies during it has still asked.
		l.NextPoll = now.Add(l.Interval)
		if err := h.phones(v).save(ctx, l, v.msn); err != nil {
			return false, err
		}
		h.poll(ctx, v, l)
		return true, nil
	})
}

// polled reports whether the login is one that Vipps MobilePay is asked about. It is not asked about one
// that ends in the phone's browser, whose token can be fetched once only, with the browser's code.
func (l *phoneLogin) polled() bool {
	return l.Status == phonePending && (l.Finish == finishApp || l.Tokens != nil)
}

// due reports whether Vipps MobilePay may be asked now.
func (l *phoneLogin) due(now time.Time) bool {
	return l.polled() && !now.Before(l.NextPoll) && now.Before(l.Expires)
}

// poll asks once, and writes the answer into l. What may be better at the next poll leaves it pending.
func (h *Handler) poll(ctx context.Context, v *visit, l *phoneLogin) {
	if l.Tokens == nil {
		got, err := h.app.shared.client.pollPhone(ctx, v.unit, v.msn, l.AuthReqID)
		l.NextPoll = time.Now().Add(l.Interval) // from the answer on: the call may have waited for a token
		if err != nil {
			h.endPoll(v, l, err)
			return
		}
		l.Tokens = &got
	}
	claims, err := h.checkedClaims(ctx, v, *l.Tokens, expectation{phone: l.sameRequest})
	if err == nil {
		err = l.checkNumber(claims)
	}
	if err != nil {
		h.endPoll(v, l, err)
		return
	}
	h.completePhone(v, l, claims)
}

// sameRequest is the poll's side of checkRequest: the answer to our auth_req_id is about it, and where
// the token says so too it must not say otherwise.
func (l *phoneLogin) sameRequest(authReqID string) (nonce string, err error) {
	if authReqID != "" && authReqID != l.AuthReqID {
		return "", errTokenRequest
	}
	return l.Nonce, nil
}

var errOtherNumber = errors.New("somebody else than the person asked has answered")

// checkNumber compares the number that was asked to the one in userinfo, where there are both.
func (l *phoneLogin) checkNumber(claims []claim) error {
	for _, c := range claims {
		if c.name != "phone_number" || l.MSISDN == "" {
			continue
		}
		if answered, err := parseMSISDN(c.text); err != nil || answered != l.MSISDN {
			return errOtherNumber
		}
	}
	return nil
}

// completePhone ends a login well.
func (h *Handler) completePhone(v *visit, l *phoneLogin, claims []claim) {
	now := time.Now()
	l.end(phoneComplete, "", now)
	l.Userinfo = json.RawMessage(claimsJSON(claims))
	s := session{claims: claims}
	h.logger.Info("phone login completed", zap.String("msn", v.msn), zap.String("sub", s.sub()), zap.String("finish", l.Finish),
		zap.Duration("since_start", now.Sub(l.Started)))
}

// endPoll writes down what an error of a poll means for the login.
func (h *Handler) endPoll(v *visit, l *phoneLogin, err error) {
	now := time.Now()
	var refused statusError
	switch {
	case errors.Is(err, errPending):
		return
	case errors.Is(err, errSlowDown):
		// OpenID CIBA Core section 11: at least 5 seconds more, for this and all later polls.
		l.Interval += 5 * time.Second
		l.NextPoll = now.Add(l.Interval)
		return
	case errors.Is(err, errDenied):
		l.end(phoneDenied, "access_denied", now)
	case errors.Is(err, errExpired):
		l.end(phoneExpired, "expired_token", now)
	case errors.Is(err, errIDToken), errors.Is(err, errSubMismatch), errors.Is(err, errOtherNumber), errors.Is(err, errCodeRefused):
		l.end(phoneFailed, phoneFailureReason(err), now)
	default:
		// Vipps MobilePay is away, or answers nonsense: a later poll can still succeed.
		if errors.As(err, &refused) && refused.retryAfter > l.Interval {
			l.NextPoll = now.Add(refused.retryAfter)
		}
		h.logger.Warn("phone login: poll failed", zap.String("msn", v.msn), zap.Error(err))
		return
	}
	h.logger.Info("phone login ended", zap.String("msn", v.msn), zap.String("status", string(l.Status)), zap.String("reason", l.Error), zap.Error(err))
}

func phoneFailureReason(err error) string {
	if errors.Is(err, errOtherNumber) {
		return "other_number"
	}
	return failureOf(err).reason
}

// otherInstances is how often a request that waits looks whether another instance has ended the login.
const otherInstances = 2 * time.Second

// waitFor returns the login when it has ended, or as it is when the wait is over. While it waits, the
// request that waits is the one that polls.
func (h *Handler) waitFor(ctx context.Context, v *visit, id string, wait time.Duration) (*phoneLogin, error) {
	deadline := time.Now().Add(wait)
	for {
		// Before the look, so that nothing is missed between the two.
		woken, done := h.app.shared.waiters.wait(id)
		l, err := h.phones(v).read(ctx, id, v.msn)
		if err == nil {
			l, err = h.pollIfDue(ctx, v, l)
		}
		left := time.Until(deadline)
		if err != nil || l.Status != phonePending || left <= 0 || ctx.Err() != nil {
			done()
			return l, err
		}
		pause := min(left, otherInstances)
		if l.polled() {
			pause = min(pause, max(time.Until(l.NextPoll), 10*time.Millisecond))
		}
		timer := time.NewTimer(pause)
		select {
		case <-woken:
		case <-timer.C:
		case <-ctx.Done():
		case <-h.stopping:
			deadline = time.Now() // the client asks again, and comes to the next config
		}
		timer.Stop()
		done()
	}
}
