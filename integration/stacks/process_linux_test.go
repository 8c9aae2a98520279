package stacks_test

import "syscall"

// inGroup gives a server a process group of its own, since Apache, told to end, ends its whole group. It ends when the tests
// die without having ended it.
var inGroup = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
