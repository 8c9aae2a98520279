//go:build !linux

package redistest

import "syscall"

// endWithUs is only to be had on Linux.
var endWithUs *syscall.SysProcAttr
