package identity

import (
	"cmp"
	"slices"

	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// Fit leaves out the largest claims until the size of the rest is at most limit. It returns the claims that fit, and the names
// of those that do not. sub always stays.
func Fit(claims []userinfo.Claim, limit int, size func([]userinfo.Claim) int) (fitting []userinfo.Claim, left []string) {
	if size(claims) <= limit {
		return claims, nil
	}
	largestFirst := slices.Clone(claims)
	slices.SortStableFunc(largestFirst, func(a, b userinfo.Claim) int {
		return cmp.Compare(size([]userinfo.Claim{b}), size([]userinfo.Claim{a}))
	})
	fitting = slices.Clone(claims)
	for _, largest := range largestFirst {
		if largest.Name == "sub" {
			continue
		}
		if size(fitting) <= limit {
			break
		}
		fitting = slices.DeleteFunc(fitting, func(c userinfo.Claim) bool { return c.Name == largest.Name })
		left = append(left, largest.Name)
	}
	return fitting, left
}
