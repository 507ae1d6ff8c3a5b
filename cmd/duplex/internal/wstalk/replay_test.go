package wstalk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// What was recorded is answered in the same way when it is sent again.
func TestRecordAndReplay(t *testing.T) {
	for name, test := range map[string]struct {
		line   string        // the last one
		closed bool          // by the server, and not in order
		took   time.Duration // with waiting for more
	}{
		"the server closes": {"close 4001 bye", true, 60 * time.Second},
		"the client closes": {"/close 4002 bye", false, 60 * time.Second},
		"the input ends":    {"", false, 70 * time.Second},
	} {
		const shown = "first\na\n(1 bytes)\n00000000  00                                                |.|\nb\n"
		ended := func(t *testing.T, what string, err error) {
			t.Helper()
			if e, ok := errors.AsType[*websocket.CloseError](err); (ok && e.Code == 4001) != test.closed || !ok && err != nil {
				t.Errorf("%s, %s: ended with %v", name, what, err)
			}
		}
		bubble(t, echo, func(t *testing.T, s *server) {
			file := fileOf(t, "")
			c := s.begin(Options{Record: file, Wait: 10 * time.Second, Send: []string{"first"}})
			c.say("a", "/binary 00", "ping")
			time.Sleep(time.Minute)
			c.say("b")
			if test.line != "" {
				c.say(test.line)
			}
			c.in.Close()
			ended(t, "recorded", c.end())
			c.out.want(t, shown)

			began := time.Now()
			out, _, err := s.run("", Options{Replay: file, Check: true, Speed: 10})
			if err != nil || out != shown {
				t.Errorf("%s: printed %q, %v", name, out, err)
			}
			if took := time.Since(began); took != test.took/10 {
				t.Errorf("%s: took %v at ten times the speed of %v", name, took, test.took)
			}
			out, _, err = s.run("", Options{Replay: file, Speed: 1e6, Wait: time.Second})
			ended(t, "unchecked", err)
			if out != shown {
				t.Errorf("%s: unchecked, printed %q", name, out)
			}
		})
	}
}

func TestReplayFails(t *testing.T) {
	message := func(direction, text string) string {
		return fmt.Sprintf(`{"at":0.001,"direction":%q,"type":"text","data":%q}`, direction, text) + "\n"
	}
	for _, test := range []struct{ text, want string }{
		{"{\"at\":0.001,\"type\":\"open\"}\n" + message(sent, "a") + message(received, "b"), `:3: expected text "b", got text "a"`},
		{message(sent, "a") + `{"at":0.002,"direction":"received","type":"binary","base64":"YQ=="}`, `:2: expected binary 61, got text "a"`},
		{message(sent, "close 1000") + message(received, "b"), `:2: expected text "b", got close 1000`},
		{message(sent, "drop") + message(received, "b"), `:2: expected text "b", got websocket: connection lost: `},
		{message(sent, "close 1001") + `{"direction":"received","type":"close","code":1000,"reason":"x"}`, `:2: expected close 1000 "x", got close 1001`},
		{message(sent, "a") + `{"direction":"received","type":"close","code":1000}`, `:2: expected close 1000, got text "a"`},
		{message(sent, "a") + `{"at":3600.1,"direction":"sent","type":"close","code":1000}`, `:2: expected nothing more, got text "a"`},
	} {
		bubble(t, echo, func(t *testing.T, s *server) {
			file := fileOf(t, test.text)
			_, _, err := s.run("", Options{Replay: file, Check: true})
			wantFailure(t, test.text, err, file+test.want)
			out, _, err := s.run("", Options{Replay: file, Check: true, JSON: true})
			wantFailure(t, test.text, err, file+test.want)
			if !strings.Contains(out, `"type":"failed","failure":{"file":"`+file+`","line":`) {
				t.Errorf("%s: printed %q", test.text, out)
			}
		})
	}
	for text, want := range map[string]string{
		"x": ":1: invalid character",
		`{"direction":"sent","type":"binary","base64":"x"}`: ":1: illegal base64",
		`{"at":"now"}`: ":1: json: ",
	} {
		bubble(t, echo, func(t *testing.T, s *server) {
			file := fileOf(t, text)
			_, _, err := s.run("", Options{Replay: file})
			wantUsage(t, text, err, file+want)
		})
	}
}

// Only the first connection of a recording is replayed, and what it does not
// know is nothing to send.
func TestReplayFirstConnection(t *testing.T) {
	bubble(t, echo, func(t *testing.T, s *server) {
		out, _, err := s.run("", Options{Check: true, Replay: fileOf(t, `{"at":1.000000,"type":"open"}
{"at":1.000001,"direction":"sent","type":"frame","frame":{"fin":true,"opcode":"text","masked":true,"length":1}}
{"at":1.000002,"direction":"sent","type":"text","data":"a"}
{"at":1.000003,"direction":"received","type":"text","data":"a"}
{"at":1.000004,"type":"lost","reason":"gone"}
{"at":2.000000,"type":"open"}
{"at":2.000001,"direction":"sent","type":"text","data":"b"}
{"at":2.000003,"direction":"received","type":"text","data":"x"}
`)})
		if err != nil || out != "a\n" {
			t.Errorf("printed %q, %v", out, err)
		}
	})
}

func TestReplayInterrupted(t *testing.T) {
	const recorded = `{"at":0,"direction":"sent","type":"text","data":"a"}
{"at":3600,"direction":"received","type":"text","data":"b"}
`
	for _, opts := range []Options{{Wait: time.Hour}, {Check: true, Speed: 1e-3}} {
		bubble(t, silent, func(t *testing.T, s *server) {
			opts.Replay = fileOf(t, recorded)
			c := s.begin(opts)
			c.stop()
			if err := c.end(); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
	bubble(t, silent, func(t *testing.T, s *server) {
		s.url = "ws://nobody.test"
		_, _, err := s.run("", Options{Replay: fileOf(t, recorded)})
		if e, ok := errors.AsType[*net.OpError](err); !ok || e.Op != "dial" {
			t.Errorf("got %v", err)
		}
	})
}
