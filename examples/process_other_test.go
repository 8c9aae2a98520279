//go:build !linux

package examples_test

import "syscall"

// endWithUs: elsewhere than on Linux a program outlives tests that are killed.
var endWithUs *syscall.SysProcAttr
