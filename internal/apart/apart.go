// Package apart runs functions on goroutines of their own for the sake of the caller's stack. A goroutine keeps the stack that it
// once needed for as long as it runs. A request that waits for a minute, beside a thousand others that do, must not have needed
// more before it waits than it needs while it does (bench/phone).
package apart

import (
	"fmt"
	"net/http"
	"runtime/debug"
)

// Run calls do on another goroutine, and returns when it has returned. A panic there becomes one here: net/http goes on after a
// panic in the goroutine of a request, and nowhere else. Run panics as well if do ends its goroutine (runtime.Goexit).
func Run(do func()) {
	done := make(chan any)
	go func() {
		var reason any = "the function ended its goroutine"
		defer func() {
			switch recovered := recover(); recovered {
			case nil:
			case http.ErrAbortHandler: // net/http knows it by its identity
				reason = recovered
			default:
				reason = fmt.Sprintf("%v\n%s", recovered, debug.Stack())
			}
			done <- reason
		}()
		do()
		reason = nil
	}()
	if reason := <-done; reason != nil {
		panic(reason)
	}
}
