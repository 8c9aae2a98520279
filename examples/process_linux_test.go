package examples_test

import "syscall"

// endWithUs ends a program when the tests die without having ended it.
var endWithUs = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
