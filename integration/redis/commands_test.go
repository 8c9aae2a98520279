package redis_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// monitor is what a Redis is sent by its clients. What scripts do in it is not counted.
type monitor struct {
	mu   sync.Mutex
	sent []string
}

func (c *cluster) monitor() *monitor {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.Redis.Address())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "MONITOR\r\n")
	lines := bufio.NewScanner(conn)
	if !lines.Scan() || lines.Text() != "+OK" {
		c.t.Fatal("no MONITOR", lines.Text(), lines.Err())
	}
	m := new(monitor)
	go func() {
		for lines.Scan() {
			from, command, _ := strings.Cut(lines.Text(), "] ")
			// What an instance does whether anything happens or not: it waits for revoked sessions, looks whether the state
			// is still the same, and opens connections.
			background := strings.HasSuffix(command, `:epoch"`) || strings.Contains(command, `"5" "vipps_login:{revoked}:streams"`) || strings.Contains(command, "client") || strings.HasPrefix(command, `"ping"`) ||
				strings.Contains(strings.ToLower(command), `"xread"`) || strings.Contains(command, `"hello"`)
			if !strings.HasSuffix(from, " lua") && !background {
				m.mu.Lock()
				m.sent = append(m.sent, command[:min(len(command), 120)])
				m.mu.Unlock()
			}
		}
	}()
	return m
}

// took returns what was sent since it was last called, once everything was that was sent before.
func (m *monitor) took(c *cluster, name string) (sent []string) {
	c.t.Helper()
	end := "end-of-" + strings.ReplaceAll(name, " ", "-")
	c.Redis.Do("ECHO", end)
	harness.WaitFor(c.t, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		for i, command := range m.sent {
			if strings.Contains(command, end) {
				sent, m.sent = m.sent[:i:i], m.sent[i+1:]
				return true
			}
		}
		return false
	})
	return sent
}

// want checks how many commands something took at most.
func (m *monitor) want(c *cluster, name string, most int) {
	c.t.Helper()
	if sent := m.took(c, name); len(sent) > most {
		c.t.Errorf("%s: %d commands, want %d at most:\n%s", name, len(sent), most, strings.Join(sent, "\n"))
	} else {
		c.t.Logf("%s: %d commands", name, len(sent))
	}
}

// TestRedisCommands: what a phone login, a request and a logout cost Redis, and how soon a logout counts everywhere.
func TestRedisCommands(t *testing.T) {
	c := newCluster(t)
	b := c.login(0, harness.Kari)
	cookies := c.cookies(b)
	id, authReqID := c.till(0).Start(c.World, `{"phone_number":"+4740000001"}`) // scripts are loaded, connections are there
	harness.MustAnswer(t, c.World, authReqID, true)
	c.till(0).Call("GET", "/phone/"+id+"?wait=20", "").WantStatus(t, http.StatusOK)

	c.login(0, harness.Bjorn).Get(c.shop(0)+"vipps/logout").WantStatus(t, http.StatusFound)

	m := c.monitor()
	for range 100 {
		for i := range 3 {
			if status := c.status(i, cookies); status != http.StatusOK {
				t.Fatalf("a session at instance %d: %d", i, status)
			}
		}
	}
	m.want(c, "300 requests", 0)

	id, authReqID = c.till(0).Start(c.World, `{"phone_number":"+4712345678"}`)
	m.want(c, "to start a phone login", 4)
	harness.MustAnswer(t, c.World, authReqID, true)
	if s := c.till(0).Call("GET", "/phone/"+id+"?wait=20", "").WantStatus(t, http.StatusOK).State(t); s.Status != "complete" {
		t.Errorf("%+v", s)
	}
	m.want(c, "to complete a phone login", 6)

	b.Get(c.shop(0)+"vipps/logout").WantStatus(t, http.StatusFound)
	began := time.Now()
	for i := range 3 {
		for c.status(i, cookies) == http.StatusOK {
			if time.Since(began) > 200*time.Millisecond {
				t.Fatalf("the session that was logged out is valid at instance %d after %s", i, time.Since(began))
			}
		}
	}
	t.Logf("a logout counts everywhere after %s", time.Since(began))
	m.want(c, "a logout", 1)
}
