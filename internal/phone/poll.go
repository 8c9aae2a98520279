package phone

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// polled reports whether Vipps MobilePay is polled for the login. A login that ends in the phone's browser is not polled: its
// token can be fetched once, with the browser's code.
func (l *Login) polled() bool {
	return l.Status == Pending && (l.Finish == FinishApp || l.Tokens != nil)
}

// lastPoll returns when polling ends: an interval late, so that an answer in the last moment counts.
func (l *Login) lastPoll() time.Time { return l.Expires.Add(l.Interval) }

// pollIfDue polls Vipps MobilePay for a pending login if its interval allows, and returns the login after that. However many
// requests call it, on all instances, one polls. The request waits for the login as long as wait.
func (d *Desk) pollIfDue(ctx context.Context, l *Login, wait time.Duration) (*Login, error) {
	if !d.Memory.due(l, d.MSN, time.Now()) {
		return l, nil
	}
	polled, err, _ := d.Memory.polls.Do(d.MSN+"/"+l.ID, func() (any, error) {
		// The exchange succeeds once, so it goes on after the client has left.
		return d.claimAndPoll(context.WithoutCancel(ctx), l, wait)
	})
	return polled.(*Login), err
}

// claimAndPoll polls once if this instance has the lease, and stores what has changed.
func (d *Desk) claimAndPoll(ctx context.Context, l *Login, wait time.Duration) (*Login, error) {
	l, claimed, err := d.claim(ctx, l, wait)
	if err != nil || !claimed {
		return l, err
	}
	polled := *l
	d.poll(ctx, &polled)
	until := l.NextPoll // the end of the lease
	d.Memory.pollNext(l.ID, d.MSN, until, polled.NextPoll)
	if polled.NextPoll.Before(until) { // else Vipps MobilePay asked for a pause longer than the lease
		polled.NextPoll = until
	}
	if polled == *l {
		return l, nil
	}
	l, _, err = d.writeDown(ctx, &polled)
	return l, err
}

// merge takes over the result of a poll, unless another instance or a ping has stored something better in between. It reports
// whether l has changed.
func (d *Desk) merge(l, polled *Login) bool {
	lost := l.Status == Failed && l.Error == d.reason(vipps.ErrCodeRefused)
	if l.Status != Pending && !(lost && polled.Status == Complete) {
		return false
	}
	found := *polled
	found.Pinged = l.Pinged
	if found.Tokens == nil && found.Status == Pending {
		found.Tokens = l.Tokens
	}
	if l.Pinged && !polled.Pinged {
		found.NextPoll = l.NextPoll // the ping came in between
	}
	*l = found
	return true
}

// claim takes the lease for this instance, and returns the login as it is. The lease is stored before the call: an instance
// that dies during it has still polled.
func (d *Desk) claim(ctx context.Context, l *Login, wait time.Duration) (_ *Login, claimed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, cachedFor)
	defer cancel()
	held, ok := d.Memory.lease(l.ID, d.MSN)
	if ok && !d.Shared.Notifies() { // of a ping at another instance, which ends the lease
		if l, err = d.load(ctx, l.ID, d.MSN); err != nil {
			return nil, false, err
		}
	}
	now := time.Now()
	if ok && held.is(l.NextPoll) && l.NextPoll.Sub(now) >= l.Interval {
		d.Memory.confirmLease(l.ID, d.MSN, l.NextPoll)
		if claimed = d.Memory.due(l, d.MSN, now); claimed {
			d.Memory.pollNext(l.ID, d.MSN, l.NextPoll, now.Add(l.Interval))
		}
		return l, claimed, nil
	}
	l, err = d.update(ctx, l.ID, d.MSN, func(l *Login) (bool, error) {
		now := time.Now()
		if claimed = d.Memory.due(l, d.MSN, now); !claimed {
			return false, nil // another instance polls, or has polled
		}
		l.NextPoll = d.Memory.takeLease(l, d.MSN, now, min(max(wait, l.Interval), maxLease*l.Interval))
		return true, nil
	})
	claimed = claimed && err == nil
	if claimed {
		d.Memory.confirmLease(l.ID, d.MSN, l.NextPoll)
		d.Memory.pollNext(l.ID, d.MSN, l.NextPoll, time.Now().Add(l.Interval)) // this poll counts as done
	}
	return l, claimed, err
}

// poll polls once, and puts the answer into l. After an error that may pass, l stays pending.
func (d *Desk) poll(ctx context.Context, l *Login) {
	began := time.Now()
	if l.Tokens == nil {
		got, err := d.Client.PollPhone(ctx, d.Unit, d.MSN, l.AuthReqID)
		l.NextPoll = time.Now().Add(l.Interval) // from the answer: the call may have waited for a token
		if err != nil {
			d.endPoll(l, err, errors.Is(err, vipps.ErrUnusable)) // the exchange succeeds once
			return
		}
		l.Tokens = &got
		// Before anything else: Vipps MobilePay gives them once, and an instance may die while it checks them.
		if _, _, err := d.writeDown(ctx, l); err != nil {
			return
		}
	}
	claims, err := d.Check(ctx, *l.Tokens, idtoken.Expectation{Phone: l.sameRequest, AcceptMissingMSN: d.AcceptMissingMSN})
	if err == nil {
		err = l.checkNumber(claims)
	}
	if err != nil {
		d.endPoll(l, err, false)
		return
	}
	l.complete(claims)
	d.Outcomes.PhoneCompleted(l.Flow(), claims, l.Started, time.Since(began))
}

// sameRequest is for the check of a polled ID token. The answer to our auth_req_id is about that login; a token that names
// another is refused.
func (l *Login) sameRequest(authReqID string) (nonce string, err error) {
	if authReqID != "" && authReqID != l.AuthReqID {
		return "", idtoken.ErrRequest
	}
	return l.Nonce, nil
}

var ErrOtherNumber = errors.New("somebody else than the person asked has answered")

// checkNumber compares the number that was asked with the one in userinfo, if there are both.
func (l *Login) checkNumber(claims []userinfo.Claim) error {
	for _, c := range claims {
		if c.Name != "phone_number" || l.MSISDN == "" {
			continue
		}
		if answered, err := ParseMSISDN("+" + strings.TrimPrefix(c.Text, "+")); err != nil || answered != l.MSISDN {
			return ErrOtherNumber
		}
	}
	return nil
}

// complete completes a login.
func (l *Login) complete(claims []userinfo.Claim) {
	l.end(Complete, "", time.Now())
	l.Userinfo = string(userinfo.JSON(claims))
}

// endPoll sets what an error of a poll means for the login. lost says that no later poll can succeed.
func (d *Desk) endPoll(l *Login, err error, lost bool) {
	now := time.Now()
	if errors.Is(err, vipps.ErrSlowDown) {
		l.Interval += 5 * time.Second // OpenID CIBA Core section 11: at least, for this and all later polls
	}
	// The longer pause counts.
	l.NextPoll = now.Add(max(l.Interval, vipps.PauseAfter(err)))
	switch {
	case errors.Is(err, vipps.ErrPending), errors.Is(err, vipps.ErrSlowDown):
		return
	case errors.Is(err, vipps.ErrDenied):
		l.end(Denied, "access_denied", now)
	case errors.Is(err, vipps.ErrExpired):
		l.end(Expired, "expired_token", now)
	case errors.Is(err, vipps.ErrCodeRefused) && !l.Refused:
		// Another instance may have exchanged it a moment ago, and be about to store that.
		l.Refused, l.NextPoll = true, now.Add(2*vipps.CallTimeout)
		return
	case lost, errors.Is(err, idtoken.ErrInvalid), errors.Is(err, idtoken.ErrSubMismatch), errors.Is(err, ErrOtherNumber), errors.Is(err, vipps.ErrCodeRefused),
		errors.Is(err, vipps.ErrNotConnected):
		l.end(Failed, d.reason(err), now)
	default:
		// Vipps MobilePay is unavailable, or its answer is invalid: a later poll can still succeed.
		d.Logger.Warn("phone login: poll failed", zap.String("msn", d.MSN), zap.Error(err))
		return
	}
	d.Outcomes.PhoneFailed(l.Flow(), err)
}

// reason returns the reason of an error, as a till gets it.
func (d *Desk) reason(err error) string {
	if errors.Is(err, ErrOtherNumber) {
		return "other_number"
	}
	return d.Outcomes.PhoneReason(err)
}
