package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/duplexhq/duplex/websocket"
)

// A wsServer speaks WebSocket with whoever comes.
type wsServer struct {
	*httptest.Server
	t       *testing.T
	handler func(*websocket.Conn, *http.Request)
	running sync.WaitGroup
}

// ServeHTTP implements http.Handler. A handler that ends leaves the connection
// without a goodbye.
func (s *wsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.running.Add(1)
	defer s.running.Done()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Options:      websocket.Options{Compression: new(websocket.Compression)},
		Subprotocols: []string{"chat", "chess"},
		AllowOrigins: []string{"*"},
	})
	if err != nil {
		s.t.Error(err)
		return
	}
	defer conn.CloseNow()
	s.handler(conn, r)
}

func newWSServer(t *testing.T, handler func(*websocket.Conn, *http.Request)) *wsServer {
	s := &wsServer{t: t, handler: handler}
	s.Server = httptest.NewUnstartedServer(s)
	t.Cleanup(s.running.Wait)
	return s
}

// serveWS gives the address.
func serveWS(t *testing.T, handler func(*websocket.Conn, *http.Request)) string {
	t.Helper()
	s := newWSServer(t, handler)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// tell sends what the handshake said.
func tell(c *websocket.Conn, r *http.Request) {
	user, password, _ := r.BasicAuth()
	text := fmt.Sprintf("%s %s:%s a=%q origin=%q protocol=%q", r.RequestURI, user, password, r.Header.Values("A"), r.Header.Get("Origin"), c.Subprotocol())
	c.Write(context.Background(), websocket.Text, []byte(text))
	c.Close(websocket.CloseNormal, "")
}

// echo sends back what comes.
func echo(c *websocket.Conn, _ *http.Request) {
	ctx := context.Background()
	for {
		kind, data, err := c.Read(ctx)
		if err != nil || c.Write(ctx, kind, data) != nil {
			return
		}
	}
}

func TestWSHandshake(t *testing.T) {
	address := serveWS(t, tell)
	out, notes := duplex(t, exitDone, "", "ws", "ws://me:secret@"+address+"/chat?x=1", "-H", "A: 1, 2", "-H", "a:3",
		"--origin", "https://page.example", "--subprotocol", "none,chess", "--subprotocol", "chat", "-v")
	if want := `/chat?x=1 me:secret a=["1, 2" "3"] origin="https://page.example" protocol="chat"` + "\n"; out != want {
		t.Errorf("printed %s, want %s", out, want)
	}
	for _, want := range []string{
		"duplex: HTTP/1.1 101 Switching Protocols\n", "duplex: Sec-Websocket-Protocol: chat\n",
		"duplex: connected, subprotocol chat\n", "duplex: close received: 1000 \"\"\n", "duplex: close sent: 1000 \"\"\n", "duplex: closed by the server: close 1000\n",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in %q", want, notes)
		}
	}
}

// Each flag that says what to do does it.
func TestWSFlags(t *testing.T) {
	address := serveWS(t, echo)
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const expect = "expect ^hello$"
	script, wrong := file("script", "send hello\n"+expect+"\n"), file("wrong", "send x\n"+expect+"\n")
	record := filepath.Join(dir, "record.jsonl")
	other := file("other.jsonl", `{"at":0,"direction":"sent","type":"text","data":"hello"}`+"\n"+`{"at":0,"direction":"received","type":"text","data":"x"}`)
	for _, test := range []struct {
		code           int
		in, out, notes string // out begins with, notes contain
		flags          []string
	}{
		{exitDone, "", "hello\n", "connected", []string{"--script", script, "--record", record}},
		{exitDone, "", "hello\n", "connected", []string{"--replay", record, "--check", "--speed", "10"}},
		{exitDone, expect, "hello\n", "connected", []string{"--script", "-", "--send", "hello"}},
		{exitFailed, "", "x\n", "wrong:2: expect: expected text /^hello$/, got text \"x\"", []string{"--script", wrong}},
		{exitFailed, "", "hello\n", `other.jsonl:2: expected text "x", got text "hello"`, []string{"--replay", other, "--check"}},
		{exitDone, "", "hello\n", "connected", []string{"--replay", other, "--wait", "1ms"}},
		{exitUsage, "sned x", "", "1: sned: no such step; see duplex ws --help", []string{"--script", "-"}},
		{exitUsage, "/nothing\n", "", "no command is called /nothing", nil},
		{exitUsage, "xyz\n", "", "want bytes in hex", []string{"--binary"}},
		{exitFailed, "hello\n", "", "closed (1009 ", []string{"--max-message-bytes", "2", "--wait", "1h"}},
		{exitDone, "", `{"at":0.`, "", []string{"--script", script, "--json"}},
		{exitDone, "", "hello\n", " -> FIN text masked 5 bytes\n", []string{"--script", script, "--frames"}},
		{exitDone, "", "aaaa", " -> FIN RSV1 text masked ", []string{"--script", file("long", "send "+strings.Repeat("a", 1000)+"\nexpect a\n"), "--frames", "--compress"}},
	} {
		out, notes := duplex(t, test.code, test.in, append([]string{"ws", address}, test.flags...)...)
		if !strings.HasPrefix(out, test.out) || !strings.Contains(notes, test.notes) {
			t.Errorf("%q: %q, %q", test.flags, out, notes)
		}
	}
}

// The exit code says how it ended.
func TestWSEnds(t *testing.T) {
	for _, test := range []struct {
		code   int
		note   string
		server func(*websocket.Conn, *http.Request)
	}{
		{exitDone, "closed by the server: close 1000\n", func(c *websocket.Conn, _ *http.Request) { c.Close(websocket.CloseNormal, "") }},
		{exitDone, "closed by the server: close 1001 \"restart\"\n", func(c *websocket.Conn, _ *http.Request) { c.Close(websocket.CloseGoingAway, "restart") }},
		{exitRefused, "closed by peer (4410 \"gone\")\n", func(c *websocket.Conn, _ *http.Request) { c.Close(4410, "gone") }},
		{exitUnreached, "connection lost: ", func(*websocket.Conn, *http.Request) {}},
	} {
		if _, notes := duplex(t, test.code, "", "ws", serveWS(t, test.server), "--wait", "1h"); !strings.Contains(notes, test.note) {
			t.Errorf("%d: %q", test.code, notes)
		}
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("wait 1h"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, _ := io.Pipe()
	for code, args := range map[int][]string{exitDone: nil, exitInterrupted: {"--script", script}} {
		p := begin(t, in, append([]string{"ws", serveWS(t, echo)}, args...)...)
		p.err.wait(t, "connected")
		p.stop()
		p.end(code)
	}
	p := begin(t, in, "ws", "127.0.0.1:1", "--reconnect")
	p.err.wait(t, "; connecting again in ")
	p.stop()
	p.end(exitInterrupted)
}

func TestWSUsage(t *testing.T) {
	const address = "127.0.0.1:1"
	for _, test := range []struct {
		note string
		args []string
	}{
		{"want ws or wss, not ftp", []string{"ftp://x"}},
		{"URL: has no host", []string{"ws:///x"}},
		{"URL: has a fragment", []string{"ws://x/#y"}},
		{"URL: invalid port", []string{"ws://me:secret@x:y"}},
		{"--speed: must be more than 0", []string{address, "--speed", "0"}},
		{"--timeout: must be more than 0", []string{address, "--timeout", "0s"}},
		{"--check: is for --replay", []string{address, "--check"}},
		{"--key: is for --cert", []string{address, "--key", "k.pem"}},
		{"can't be used together", []string{address, "--script", "x", "--reconnect"}},
		{"can't be used together", []string{address, "--replay", "x", "--reconnect"}},
		{"can't be used together", []string{address, "--proxy", "http://x", "--no-proxy"}},
		{"--proxy: want http", []string{address, "--proxy", "gopher://me:secret@x"}},
		{"--proxy: want http", []string{address, "--proxy", "http://me:secret@:3128"}},
		{"--ca: open /not/there", []string{address, "--ca", "/not/there"}},
		{"--ca: no certificate in ws_test.go", []string{address, "--ca", "ws_test.go"}},
		{"--cert: open /not/there", []string{address, "--cert", "/not/there"}},
		{"--cert: failed to find any PEM data", []string{address, "--cert", "ws_test.go"}},
		{"--record: open /not/there", []string{address, "--record", "/not/there"}},
		{"--replay: open /not/there", []string{address, "--replay", "/not/there"}},
		{"--script: open /not/there", []string{address, "--script", "/not/there"}},
	} {
		_, notes := duplex(t, exitUsage, "", append([]string{"ws"}, test.args...)...)
		if !strings.Contains(notes, test.note) || strings.Contains(notes, "secret") {
			t.Errorf("%q: %q", test.args, notes)
		}
	}
}
