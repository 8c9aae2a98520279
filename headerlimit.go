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

// headerBytes returns the size of all that tells the site who the user is, in headers as they are on the wire. What else
// becomes a header for the site is to be added here.
func (h *Handler) headerBytes(v *visit, claims []userinfo.Claim) int {
	bytes := h.identity.Size(claims, v.msn)
	if h.signer != nil {
		bytes += len(h.Assertion.Header) + len(": \r\n") + h.signer.Size(assertionSubject(v, "", claims))
	}
	return bytes
}

// fitHeaders returns the claims whose headers fit in header_limit: the largest are left out, and named in the log. sub, and
// the MSN, always stay.
func (h *Handler) fitHeaders(v *visit, claims []userinfo.Claim) []userinfo.Claim {
	if h.headerBytes(v, claims) <= h.headerLimit {
		return claims
	}
	largestFirst := slices.Clone(claims)
	slices.SortStableFunc(largestFirst, func(a, b userinfo.Claim) int {
		return cmp.Compare(h.headerBytes(v, []userinfo.Claim{b}), h.headerBytes(v, []userinfo.Claim{a}))
	})
	kept := slices.Clone(claims)
	var names []string
	for _, largest := range largestFirst {
		if largest.Name == "sub" {
			continue
		}
		if h.headerBytes(v, kept) <= h.headerLimit {
			break
		}
		kept = slices.DeleteFunc(kept, func(c userinfo.Claim) bool { return c.Name == largest.Name })
		names = append(names, largest.Name)
	}
	if len(names) > 0 {
		h.logger.Warn("claims left out: their headers do not fit in header_limit", zap.String("msn", v.msn), zap.Strings("claims", names))
	}
	return kept
}
