//go:build !tills

package redis_test

// waitingTills is how many tills wait at once. `make bench-tills` has a thousand.
const waitingTills = 60
