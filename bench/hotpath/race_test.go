//go:build race

package hotpath_test

// slack is what the race detector adds: its sync.Pool drops what it is given now and then. The limits are for builds without it.
const slack = 40
