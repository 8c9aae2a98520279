package login

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestRefusedCodesAreForgotten: addresses of clients do not stay in memory.
func TestRefusedCodesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		codes := NewRefusedCodes()
		for _, proven := range []bool{true, false} {
			_, leave := codes.Enter(t.Context(), "203.0.113.7", proven)
			leave(true)
		}
		if n := codes.clients.ItemCount(); n != 2 {
			t.Fatalf("%d, want 2", n)
		}
		time.Sleep(refusedCodesWindow + time.Second)
		codes.DeleteExpired()
		if n := codes.clients.ItemCount() + len(codes.flying); n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}
