package wstalk

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

func TestScript(t *testing.T) {
	const text = `
# Everything that a step can be.
send hello, world
expect ^hello, (?P<who>\w+)$
send   $1 and ${who} for $$5
expect ^  ${who} and world for \$$5$
  send-json {"id": 12, "name": "a \"b\".", "more": [1, {"x": null, "y": 2.50}], "big": 9007199254740993}
expect-json {"more": [1.0, {"y": 2.5}], "id": 12, "big": 9007199254740993}
send {"id": 7, "name": "say \"hi\""}
expect ^\{"id": (\d+), "name": "(say .*)"\}$
send-json {"got": $1, "said": "x"}
expect-json {"got": 7}
send "quoted"
expect (".*)$
send-json {"in a string": "$1"}
expect-json {"in a string": "\"quoted\""}
send (a+b) and more
expect ^(\(a.b\))
send $1
expect ^$1$
send-binary 01 fe
expect-binary 01FE
ping
wait 1ms
expect-none 1ms
send close 4001 see (you)
expect-close 4001 ^see \(you\)$
`
	bubble(t, echo, func(t *testing.T, s *server) {
		out, notes, err := s.run("", Options{Script: fileOf(t, text)})
		if err != nil || !strings.HasPrefix(out, "hello, world\n  world and world for $5\n") || notes != "duplex: connected\n" {
			t.Errorf("%v: printed %q, noted %q", err, out, notes)
		}
	})
	for text, opts := range map[string]Options{
		"ping\r\nclose 4000 bye\r\nexpect-close 4000 bye\r\n": {},
		"expect ^first$": {Send: []string{"first"}},
	} {
		bubble(t, echo, func(t *testing.T, s *server) {
			opts.Script = "-"
			if _, _, err := s.run(text, opts); err != nil {
				t.Errorf("%q: %v", text, err)
			}
		})
	}
}

func TestScriptFails(t *testing.T) {
	for text, want := range map[string]string{
		"send a\nexpect ^b$":            `2: expect: expected text /^b$/, got text "a"`,
		"send a\n\n# b\nexpect-json {}": `4: expect-json: expected JSON, got text "a"`,
		"send {\"a\":{\"b\":[1,2]}}\nexpect-json {\"a\":{\"b\":[1,3]}}": `2: expect-json: expected {"a":{"b":[1,3]}}, got text "{\"a\":{\"b\":[1,2]}}", which differs at .a.b[1]`,
		"send {}\nexpect-json {\"a\":null}":                             `which differs at .a`,
		"send 1\nexpect-json \"1\"":                                     `which differs at .`,
		"send-binary 00\nexpect .":                                      `2: expect: expected text /./, got binary 00`,
		"send a\nexpect-binary 61":                                      `2: expect-binary: expected binary 61, got text "a"`,
		"send a\nexpect-none 1h":                                        `2: expect-none: expected nothing for 1h0m0s, got text "a"`,
		"send drop\nexpect-none 1h":                                     `2: expect-none: expected nothing for 1h0m0s, got websocket: connection lost: `,
		"send drop\nexpect-close 1000":                                  `2: expect-close: expected close 1000, got websocket: connection lost: `,
		"send close 1001 x\nexpect-close 1000":                          `2: expect-close: expected close 1000, got close 1001 "x"`,
		"send close 1001\nexpect-close 1001 x":                          `2: expect-close: expected close 1001 /x/, got close 1001`,
		"send close 1001\nexpect x":                                     `2: expect: expected text /x/, got close 1001`,
		"send a\nexpect-close 1000":                                     `2: expect-close: expected close 1000, got text "a"`,
		"close 4000\nexpect-close 4000\nsend x":                         `3: send: websocket: closed (4000)`,
		"send " + strings.Repeat("x", 600) + "\nexpect y":               strings.Repeat("x", 500) + `"... (600 bytes)`,
		"expect-none 1ms\nsend $1":                                      `2: send: nothing was captured as $1; write $$ for $`,
		"send a\nexpect (a)\nclose $1":                                  `3: close: want a close code, not "a"`,
	} {
		bubble(t, echo, func(t *testing.T, s *server) {
			out, _, err := s.run(text, Options{Script: "-"})
			wantFailure(t, text, err, "(standard input):")
			wantFailure(t, text, err, want)
			if strings.Contains(out, "failed") {
				t.Errorf("%q: printed %q", text, out)
			}
		})
	}
}

func TestScriptTimeout(t *testing.T) {
	deaf := func(*websocket.Conn, *http.Request) { time.Sleep(time.Hour) } // who does not read does not answer
	for _, test := range []struct {
		text   string
		server func(*websocket.Conn, *http.Request)
		want   string
	}{
		{"expect .", silent, `1: expect: expected text /./, got nothing in 500ms`},
		{"expect-close 1000", silent, `1: expect-close: expected close 1000, got nothing in 500ms`},
		{"ping", deaf, `1: ping: no pong in 500ms`},
	} {
		bubble(t, test.server, func(t *testing.T, s *server) {
			began := time.Now()
			c := s.begin(Options{Script: "-", In: strings.NewReader(test.text), Timeout: 500 * time.Millisecond, JSON: true})
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
			if out := c.out.String(); !strings.Contains(out, `"at":0.500000,"type":"failed"`) {
				t.Errorf("%s: after %v printed %s", test.text, time.Since(began), out)
			}
			wantFailure(t, test.text, c.end(), test.want)
		})
	}
}

// A script that is wrong is found before anything is sent.
func TestScriptUsage(t *testing.T) {
	for text, want := range map[string]string{
		"send a\nsned b":      `:2: sned: no such step`,
		"\texpect (":          `:1: expect: error parsing regexp`,
		"expect-close 1000 (": `:1: expect-close: error parsing regexp`,
		"expect-close x":      `:1: expect-close: want a close code, not "x"`,
		"expect-json {":       `:1: expect-json: JSON: unexpected EOF`,
		"expect-json 1 2":     `:1: expect-json: JSON: more than one value`,
		"send-json a":         `:1: send-json: JSON: invalid character`,
		"send-binary 1":       `:1: send-binary: want bytes in hex`,
		"expect-binary x":     `:1: expect-binary: want bytes in hex`,
		"ping x":              `:1: ping: takes nothing`,
		"close 999":           `:1: close: close code 999 may not be sent`,
		"wait":                `:1: wait: want a time such as 500ms, not ""`,
		"expect-none -1s":     `:1: expect-none: want a time such as 500ms, not "-1s"`,
	} {
		bubble(t, echo, func(t *testing.T, s *server) {
			_, _, err := s.run(text, Options{Script: "-"})
			wantUsage(t, text, err, "(standard input)"+want)
			if s.network.Dialled() != 0 {
				t.Errorf("%q: dialled", text)
			}
		})
	}
}

func TestScriptInterrupted(t *testing.T) {
	for _, step := range []string{"expect .", "wait 1h", "expect-none 1h"} {
		bubble(t, echo, func(t *testing.T, s *server) {
			c := s.begin(Options{Script: "-", In: strings.NewReader("send now\nexpect now\n" + step)})
			c.out.want(t, "now\n")
			c.stop()
			if err := c.end(); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", step, err)
			}
		})
	}
}
