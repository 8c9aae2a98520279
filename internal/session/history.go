package session

import (
	"encoding/binary"
	"time"
)

// A site may send users to a login for ever, for example because it does not see the identity headers. To notice that, a
// session remembers when the browser has completed its last logins, for loopSpan.

const (
	loopSpan = 30 * time.Second

	// MaxLogins is how many logins a browser can complete within loopSpan before the next one is a loop.
	MaxLogins = 3

	// MaxStepUps is the same for step-ups, of which there may be several, for one requirement each. If there are this many
	// within loopSpan, the clocks of instances differ by more than a max_age.
	MaxStepUps = 10
)

// History is when the browser has completed its last logins, the newest last.
type History struct {
	logins, stepUps []time.Time
}

// After returns the history once another login is completed.
func (h History) After(now time.Time, stepUp bool) History {
	h.logins, h.stepUps = recent(h.logins, now, MaxLogins), recent(h.stepUps, now, MaxStepUps)
	if stepUp {
		h.stepUps = last(append(h.stepUps, now), MaxStepUps)
	} else {
		h.logins = last(append(h.logins, now), MaxLogins)
	}
	return h
}

// Loops returns how long the browser must wait before it may log in again; 0 if another login would be no loop.
func (h History) Loops(now time.Time, stepUp bool) time.Duration {
	times, most := h.logins, MaxLogins
	if stepUp {
		times, most = h.stepUps, MaxStepUps
	}
	if times = recent(times, now, most); len(times) < most {
		return 0
	}
	return times[0].Add(loopSpan).Sub(now)
}

// IsRecent reports whether a login of h is recent enough to count for a loop.
func (h History) IsRecent(now time.Time) bool {
	return len(recent(h.logins, now, MaxLogins))+len(recent(h.stepUps, now, MaxStepUps)) > 0
}

// recent returns a copy of the times within loopSpan. Another instance's clock may be a little ahead.
func recent(times []time.Time, now time.Time, most int) []time.Time {
	var found []time.Time
	for _, at := range times {
		if age := now.Sub(at); age < loopSpan && age > -loopSpan {
			found = append(found, at)
		}
	}
	return last(found, most)
}

func last(times []time.Time, n int) []time.Time { return times[max(0, len(times)-n):] }

// appendHistory appends h to b: the number of logins and of step-ups in one byte, and of each how long before issued it
// was, in milliseconds.
func appendHistory(b []byte, h History, issued time.Time) []byte {
	b = append(b, byte(len(h.logins)|len(h.stepUps)<<4))
	for _, times := range [][]time.Time{h.logins, h.stepUps} {
		for _, at := range times {
			b = binary.AppendUvarint(b, uint64(max(0, issued.Sub(at).Milliseconds())))
		}
	}
	return b
}

// History returns when the browser has completed its last logins. It is decoded here, since only the begin and end of a login
// need it.
func (s *Session) History() History {
	if s == nil || s.history == "" {
		return History{}
	}
	var h History
	n, rest := int(s.history[0]), s.history[1:]
	for i := range n&15 + n>>4 {
		before, left, ok := cutNumber(rest)
		if !ok || before > uint64(loopSpan.Milliseconds())*2 {
			return History{}
		}
		at := s.Issued.Add(-time.Duration(before) * time.Millisecond)
		if i < n&15 {
			h.logins = append(h.logins, at)
		} else {
			h.stepUps = append(h.stepUps, at)
		}
		rest = left
	}
	return h
}

// Remember sets the history of s.
func (s *Session) Remember(h History) { s.history = string(appendHistory(nil, h, s.Issued)) }
