//go:build !race

package hotpath_test

// slack is what the race detector adds (race_test.go).
const slack = 0
