package wstalk

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/websocket"
)

// lateAnswers is how many there are: more than may wait for somebody.
const lateAnswers = messagesAhead + 10

// late answers a message after a second, at great length, and only then looks
// at what else has come: the close of this side.
func late(c *websocket.Conn, _ *http.Request) {
	ctx := context.Background()
	if _, _, err := c.Read(ctx); err != nil {
		return
	}
	time.Sleep(time.Second)
	for i := range lateAnswers {
		c.Write(ctx, websocket.Text, fmt.Append(nil, i))
	}
	c.Read(ctx)
}

// lateLines is what they look like.
func lateLines() string {
	var want strings.Builder
	for i := range lateAnswers {
		fmt.Fprintln(&want, i)
	}
	return want.String()
}

// Whoever closes still sees what comes before the peer's close frame.
func TestLateAnswers(t *testing.T) {
	const recorded = `{"at":0,"type":"open"}
{"at":0,"direction":"sent","type":"text","data":"go"}
{"at":0,"direction":"sent","type":"close","code":1000}`
	for name, test := range map[string]struct {
		in   string
		opts Options
	}{
		"end of the input": {"go\n", Options{}},
		"/close":           {"go\n/close 4000 bye\n", Options{Wait: time.Hour}},
		"end of a script":  {"send go", Options{Script: "-"}},
		"close, expect":    {"send go\nclose 4000\nexpect ^0$\nexpect ^1$", Options{Script: "-"}},
		"replay":           {"", Options{Replay: fileOf(t, recorded)}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, late, func(t *testing.T, s *server) {
				// A relay takes the close frame, as the network does, while the server is busy.
				s.network.Route = func(int) testnet.Path { return testnet.Relay }
				test.opts.Record = fileOf(t, "")
				began := time.Now()
				out, notes, err := s.run(test.in, test.opts)
				if took := time.Since(began); err != nil || out != lateLines() || took != time.Second {
					t.Errorf("printed %q after %v: %v, %s", out, took, err, notes)
				}
				record, err := os.ReadFile(test.opts.Record)
				if err != nil {
					t.Fatal(err)
				}
				if n := strings.Count(string(record), `"direction":"received","type":"text"`); n != lateAnswers {
					t.Errorf("%d of %d answers are recorded", n, lateAnswers)
				}
				if !strings.Contains(string(record), `"direction":"received","type":"close"`) {
					t.Errorf("the server's close is not recorded")
				}
			})
		})
	}
}

// A peer that does not answer is left after the time for it, however much else
// it says.
func TestCloseWithoutAnswer(t *testing.T) {
	chatter := func(c *websocket.Conn, _ *http.Request) {
		for c.Write(context.Background(), websocket.Text, []byte("and another thing")) == nil {
			time.Sleep(time.Second)
		}
	}
	const patience = 3 * time.Second
	opts := Options{Dial: websocket.DialOptions{Options: websocket.Options{CloseTimeout: patience}}}
	bubble(t, chatter, func(t *testing.T, s *server) {
		s.network.Route = func(int) testnet.Path { return testnet.Relay }
		began := time.Now()
		c := s.begin(opts)
		c.stop()
		c.endWell()
		if took := time.Since(began); took != patience {
			t.Errorf("took %v", took)
		}
		if n := strings.Count(c.out.String(), "\n"); n < 3 { // a fourth may come as the time is over
			t.Errorf("%d messages are shown", n)
		}
	})
	bubble(t, chatter, func(t *testing.T, s *server) {
		s.network.Route = func(int) testnet.Path { return testnet.Relay }
		opts.Script = "-"
		_, _, err := s.run("close 4000", opts)
		wantFailure(t, "close", err, "(standard input):1: close: no answer to the close in 3s: ")
	})
}
