//go:build race

package hotpath_test

// slack is what the race detector adds: its sync.Pool drops what it is given now and then.
const slack = 4
