package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/websocket"
)

// What was recorded is answered in the same way when it is sent again.
func TestWSRecordAndReplay(t *testing.T) {
	address := serveWS(t, echo)
	for name, last := range map[string]struct {
		line, wait string
		code       int
	}{
		"the server closes": {"close 4001 bye", "1h", exitRefused},
		"the client closes": {"/close 4002 bye", "1h", exitDone},
		"the input ends":    {"", "1ms", exitDone},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "room.jsonl")
			in, write := io.Pipe()
			p := begin(t, in, "ws", address, "--record", file, "--wait", last.wait, "--send", "first")
			p.out.wait(t, "first\n")
			converse(t, p, write, [2]string{"a", "\na\n"}, [2]string{"/binary 00", "00000000  00"}, [2]string{"ping", ""}, [2]string{"b", "\nb\n"})
			if last.line != "" {
				converse(t, p, write, [2]string{last.line, ""})
			}
			write.Close()
			p.end(last.code)

			out, notes := duplex(t, exitDone, "", "ws", address, "--replay", file, "--check", "--speed", "1e6")
			if !strings.HasPrefix(out, "first\na\n(1 bytes)\n") || !strings.HasSuffix(out, "\nb\n") {
				t.Errorf("printed %q, %q", out, notes)
			}
			// Unchecked, a close does not wait for answers, as a recorded time is over.
			out, notes = duplex(t, last.code, "", "ws", address, "--replay", file, "--speed", "1e6")
			if name == "the server closes" && !strings.HasSuffix(out, "\nb\n") {
				t.Errorf("printed %q, %q", out, notes)
			}
		})
	}
}

func TestWSReplayFails(t *testing.T) {
	address := serveWS(t, echo)
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
		file := scriptFile(t, test.text)
		_, notes := duplex(t, exitFailed, "", "ws", address, "--replay", file, "--check")
		if !strings.Contains(notes, "duplex: "+file+test.want) {
			t.Errorf("%s: %q", test.text, notes)
		}
		out, _ := duplex(t, exitFailed, "", "ws", address, "--replay", file, "--check", "--json")
		if !strings.Contains(out, `"type":"failed","failure":{"file":"`+file+`","line":`) {
			t.Errorf("%s: %q", test.text, out)
		}
	}
	for text, want := range map[string]string{
		"x": ":1: invalid character",
		`{"direction":"sent","type":"binary","base64":"x"}`: ":1: illegal base64",
		`{"at":"now"}`: ":1: json: ",
	} {
		file := scriptFile(t, text)
		if _, notes := duplex(t, exitUsage, "", "ws", address, "--replay", file); !strings.Contains(notes, file+want) {
			t.Errorf("%q: %q", text, notes)
		}
	}
}

// Only the first connection of a recording is replayed, and what it does not
// know is nothing to send.
func TestWSReplayFirstConnection(t *testing.T) {
	file := scriptFile(t, `{"at":1.000000,"type":"open"}
{"at":1.000001,"direction":"sent","type":"frame","frame":{"fin":true,"opcode":"text","masked":true,"length":1}}
{"at":1.000002,"direction":"sent","type":"text","data":"a"}
{"at":1.000003,"direction":"received","type":"text","data":"a"}
{"at":1.000004,"type":"lost","reason":"gone"}
{"at":2.000000,"type":"open"}
{"at":2.000001,"direction":"sent","type":"text","data":"b"}
{"at":2.000003,"direction":"received","type":"text","data":"x"}
`)
	if out, notes := duplex(t, exitDone, "", "ws", serveWS(t, echo), "--replay", file, "--check"); out != "a\n" {
		t.Errorf("printed %q, %q", out, notes)
	}
}

func TestWSReplayInterrupted(t *testing.T) {
	file := scriptFile(t, `{"at":0,"direction":"sent","type":"text","data":"a"}
{"at":3600,"direction":"received","type":"text","data":"b"}
`)
	for _, args := range [][]string{{"--wait", "1h"}, {"--check", "--speed", "1e-3"}} {
		address := serveWS(t, func(c *websocket.Conn, _ *http.Request) {
			c.Read(context.Background())
			c.Read(context.Background())
		})
		p := begin(t, nil, append([]string{"ws", address, "--replay", file}, args...)...)
		p.err.wait(t, "connected")
		p.stop()
		p.end(exitInterrupted)
	}
	duplex(t, exitUnreached, "", "ws", "127.0.0.1:1", "--replay", file)
}
