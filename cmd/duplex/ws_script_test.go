package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/websocket"
)

func scriptFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "test.script")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestWSScript(t *testing.T) {
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
	address := serveWS(t, echo)
	out, notes := duplex(t, exitDone, "", "ws", address, "--script", scriptFile(t, text))
	if !strings.HasPrefix(out, "hello, world\n  world and world for $5\n") {
		t.Errorf("printed %q", out)
	}
	if notes != "duplex: connected\n" {
		t.Errorf("notes %q", notes)
	}
	duplex(t, exitDone, "ping\r\nclose 4000 bye\r\nexpect-close 4000 bye\r\n", "ws", address, "--script", "-")
	duplex(t, exitDone, "expect ^first$", "ws", address, "--script", "-", "--send", "first")
}

func TestWSScriptFails(t *testing.T) {
	address := serveWS(t, echo)
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
		out, notes := duplex(t, exitFailed, text, "ws", address, "--script", "-")
		if !strings.Contains(notes, "duplex: (standard input):") || !strings.Contains(notes, want) {
			t.Errorf("%q: %q, want %q", text, notes, want)
		}
		if strings.Contains(out, "failed") {
			t.Errorf("%q: printed %q", text, out)
		}
	}
}

func TestWSScriptTimeout(t *testing.T) {
	over := make(chan struct{})
	deaf := serveWS(t, func(*websocket.Conn, *http.Request) { <-over }) // who does not read does not answer
	silent := serveWS(t, func(c *websocket.Conn, _ *http.Request) { c.Read(context.Background()) })
	t.Cleanup(func() { close(over) })
	for _, test := range []struct{ text, address, want string }{
		{"expect .", silent, `1: expect: expected text /./, got nothing in 500ms`},
		{"expect-close 1000", silent, `1: expect-close: expected close 1000, got nothing in 500ms`},
		{"ping", deaf, `1: ping: no pong in 500ms`},
	} {
		t.Run(test.text, func(t *testing.T) {
			t.Parallel()
			_, notes := duplex(t, exitFailed, test.text, "ws", test.address, "--script", "-", "--timeout", "500ms")
			if !strings.Contains(notes, test.want) {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

// A script that is wrong is found before anything is sent.
func TestWSScriptUsage(t *testing.T) {
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
		if _, notes := duplex(t, exitUsage, text, "ws", "127.0.0.1:1", "--script", "-"); !strings.Contains(notes, "(standard input)"+want) {
			t.Errorf("%q: %q", text, notes)
		}
	}
}

func TestWSScriptInterrupted(t *testing.T) {
	for _, step := range []string{"expect .", "wait 1h", "expect-none 1h"} {
		p := begin(t, strings.NewReader("send now\nexpect now\n"+step), "ws", serveWS(t, echo), "--script", "-")
		p.out.wait(t, "now\n")
		p.stop()
		p.end(exitInterrupted)
	}
}

func TestSubset(t *testing.T) {
	for _, test := range []struct{ want, got, path string }{ // path is "" if it is a subset
		{`{}`, `{"a":1}`, ""},
		{`{"a":{"b":1}}`, `{"a":{"b":1,"c":2},"d":3}`, ""},
		{`[]`, `[]`, ""},
		{`1`, `1.0`, ""},
		{`1e3`, `1000`, ""},
		{`null`, `null`, ""},
		{`true`, `true`, ""},
		{`{"a":null}`, `{}`, ".a"},
		{`{"a":{"b":1}}`, `{"a":1}`, ".a"},
		{`{"a":[{"b":1}]}`, `{"a":[{"b":2}]}`, ".a[0].b"},
		{`[1]`, `[1,2]`, "."},
		{`[1]`, `{}`, "."},
		{`{}`, `[]`, "."},
		{`1`, `"1"`, "."},
		{`"1"`, `1`, "."},
		{`true`, `false`, "."},
		{`9007199254740993`, `9007199254740992`, "."},
	} {
		want, err := decodeJSON([]byte(test.want))
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeJSON([]byte(test.got))
		if err != nil {
			t.Fatal(err)
		}
		if path, ok := subset(want, got); ok != (test.path == "") || !ok && path != test.path {
			t.Errorf("%s in %s: %v, differs at %q, want %q", test.want, test.got, ok, path, test.path)
		}
	}
}
