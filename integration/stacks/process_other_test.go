//go:build !linux

package stacks_test

import "syscall"

// inGroup is as on Linux, but that a server outlives tests that are killed.
var inGroup = &syscall.SysProcAttr{Setpgid: true}
