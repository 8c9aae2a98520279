package redistest

import "syscall"

// endWithUs ends a server when the tests die without having ended it. It counts for the thread that starts it: Launch.
var endWithUs = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
