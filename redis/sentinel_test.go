package redis

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/state/statetest"
)

// TestSentinelsWithoutTheMaster: sentinels that know no server of this name (a misspelt name, or they have lost their
// configuration) answer with null, which is no word about a value.
func TestSentinelsWithoutTheMaster(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go answerAsSentinel(connection)
		}
	}()
	e := open(t, Redis{Sentinel: &Sentinel{Master: "misspelt", Address: []string{listener.Addr().String()}}, Timeout: "300ms"})
	statetest.TestAway(t, e, 3*time.Second)
}

// answerAsSentinel answers every command as a sentinel that watches nothing: null for an address, +OK for the rest.
func answerAsSentinel(connection net.Conn) {
	defer connection.Close()
	for lines := bufio.NewScanner(connection); lines.Scan(); {
		answer := ""
		switch word := strings.ToLower(lines.Text()); word {
		case "get-master-addr-by-name":
			answer = "*-1\r\n"
		case "hello":
			answer = "-ERR unknown command 'hello'\r\n"
		case "client", "ping":
			answer = "+OK\r\n"
		}
		if _, err := connection.Write([]byte(answer)); err != nil {
			return
		}
	}
}
