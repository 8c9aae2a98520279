package simulator

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// direct calls the handler without a network, which does not run on the
// synthetic clock.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	r.RemoteAddr = "127.0.0.1:5000"
	r.Host = r.URL.Host
	r.RequestURI = r.URL.RequestURI()
	recorder := httptest.NewRecorder()
	d.handler.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

// inBubble runs test on a clock that moves when everybody waits.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	inBubbleWith(t, testConfig(), test)
}

func inBubbleWith(t *testing.T, config Config, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		// The clock starts in the year 2000, when Kari was too young to log in.
		time.Sleep(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
		sim, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{
			Transport:     direct{sim},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		test(t, &world{t, sim, "http://127.0.0.1:8090", client})
	})
}

// until runs check a moment before lifetime is over, and again a moment after.
func until(lifetime time.Duration, check func(alive bool)) {
	time.Sleep(lifetime - time.Millisecond)
	check(true)
	time.Sleep(2 * time.Millisecond)
	check(false)
}

func TestConsentExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		fields := []map[string]string{
			{"transaction": w.transaction(shopLogin()), "answer": "approve", "user": kari},
			{"transaction": w.transaction(shopLogin()), "answer": "approve", "user": kari},
		}
		until(consentLifetime, func(alive bool) {
			a := w.answerConsent(fields[0])
			fields = fields[1:]
			if (a.location != nil) != alive {
				t.Errorf("alive %t: %d %s", alive, a.status, a.body)
			}
		})
	})
}

func TestCodeExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		codes := []string{w.code(shopLogin(), kari), w.code(shopLogin(), kari)}
		until(2*time.Minute, func(alive bool) {
			a := w.do("POST", tokenPath, form(exchange(codes[0])), w.partnerCall())
			codes = codes[1:]
			if (a.status == 200) != alive {
				t.Errorf("alive %t: %d %s", alive, a.status, a.body)
			}
		})
	})
}

func TestAccessTokenOfALoginExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		header := with(systemHeaderValues(), map[string]string{
			"Authorization": "Bearer " + w.login(shopLogin(), kari)["access_token"].(string),
		})
		until(10*time.Minute, func(alive bool) {
			if a := w.do("GET", userinfoPath, "", header); (a.status == 200) != alive {
				t.Errorf("alive %t: %d %s", alive, a.status, a.body)
			}
		})
	})
}

func TestPartnerTokenExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		header := w.partnerCall()
		until(24*time.Hour, func(alive bool) {
			a := w.do("POST", tokenPath, form(exchange(w.code(shopLogin(), kari))), header)
			if (a.status == 200) != alive {
				t.Errorf("alive %t: %d %s", alive, a.status, a.body)
			}
		})
	})
}

// What expired is gone from memory, and what never expires in time is limited.
func TestStoreIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore[int](time.Minute)
		first := s.add(16, 1)
		for i := range storeLimit {
			s.add(16, i)
		}
		if len(s.entries) != storeLimit || len(s.queue) != storeLimit {
			t.Errorf("%d entries, %d queued, want %d", len(s.entries), len(s.queue), storeLimit)
		}
		if _, ok := s.get(first); ok {
			t.Error("the oldest is still there")
		}
		time.Sleep(time.Minute)
		last := s.add(16, 1)
		if len(s.entries) != 1 || len(s.queue) != 1 {
			t.Errorf("%d entries, %d queued after a minute, want 1", len(s.entries), len(s.queue))
		}
		if v, ok := s.take(last); !ok || v != 1 {
			t.Errorf("got %d %t", v, ok)
		}
		if _, ok := s.take(last); ok || len(s.all()) != 0 {
			t.Error("taken twice, or still listed")
		}
	})
}
