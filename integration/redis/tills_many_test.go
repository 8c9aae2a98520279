//go:build tills

package redis_test

const waitingTills = 1000
