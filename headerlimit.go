package vippslogin

import (
	"cmp"
	"errors"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// Servers take a limited size of headers in all, Tomcat 8 KiB, and answer 400 to what is over it: a person with a long
// address would be locked out for as long as they are logged in. So a login leaves out what does not fit.

// defaultHeaderLimit is what Tomcat and others take, in bytes.
const defaultHeaderLimit = 8 << 10

func (h *Handler) provisionHeaderLimit() (err error) {
	if h.headerLimit, err = h.HeaderLimit.resolve("header_limit", h.headerLimit); err != nil {
		return err
	}
	if h.headerLimit <= 0 {
		return errors.New("header_limit: it must be a size above zero, such as 8KiB")
	}
	return nil
}

// headerBytes returns the size of all that tells the site who the user is, in headers as they are on the wire. Each claim
// adds to it whatever the others are. What else becomes a header for the site is to be added here.
func (h *Handler) headerBytes(msn string, claims ...userinfo.Claim) int {
	return h.identity.Size(claims, msn)
}

// fitHeaders returns the claims whose headers fit in header_limit: the largest are left out, and named in the log. sub, and
// the MSN, always stay.
func (h *Handler) fitHeaders(v *visit, claims []userinfo.Claim) []userinfo.Claim {
	if h.headerBytes(v.msn, claims...) <= h.headerLimit {
		return claims
	}
	largestFirst := slices.Clone(claims)
	slices.SortStableFunc(largestFirst, func(a, b userinfo.Claim) int {
		return cmp.Compare(h.headerBytes(v.msn, b), h.headerBytes(v.msn, a))
	})
	left := h.headerBytes(v.msn, claims...)
	var names []string
	for _, c := range largestFirst {
		if left <= h.headerLimit {
			break
		}
		if c.Name != "sub" {
			left -= h.headerBytes(v.msn, c) - h.headerBytes(v.msn)
			names = append(names, c.Name)
		}
	}
	if len(names) > 0 {
		h.logger.Warn("claims left out: their headers do not fit in header_limit", zap.String("msn", v.msn), zap.Strings("claims", names))
	}
	return slices.DeleteFunc(slices.Clone(claims), func(c userinfo.Claim) bool { return slices.Contains(names, c.Name) })
}
