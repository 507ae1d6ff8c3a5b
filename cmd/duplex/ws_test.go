package main

import (
	"context"
	"encoding/json"
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
	"github.com/duplexhq/duplex/websocket/wire"
)

// A wsServer speaks WebSocket with whoever comes.
type wsServer struct {
	*httptest.Server
	t       *testing.T
	opts    *websocket.AcceptOptions
	handler func(*websocket.Conn, *http.Request)
	running sync.WaitGroup
}

// ServeHTTP implements http.Handler. A handler that ends leaves the connection
// without a goodbye.
func (s *wsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.running.Add(1)
	defer s.running.Done()
	conn, err := websocket.Accept(w, r, s.opts)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer conn.CloseNow()
	s.handler(conn, r)
}

func newWSServer(t *testing.T, handler func(*websocket.Conn, *http.Request)) *wsServer {
	s := &wsServer{t: t, handler: handler, opts: &websocket.AcceptOptions{
		Subprotocols: []string{"chat", "chess"},
		AllowOrigins: []string{"*"},
	}}
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

// echo sends back what comes, except what tells it to do something else:
// "ping", "drop", "bytes HEX" and "close CODE REASON".
func echo(c *websocket.Conn, _ *http.Request) {
	ctx := context.Background()
	for {
		kind, data, err := c.Read(ctx)
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(string(data), " ")
		switch verb {
		case "ping":
			c.WriteFrames(ctx, websocket.AppendPing(nil))
			continue
		case "drop":
			return
		case "bytes":
			kind = websocket.Binary
			data, _ = parseHex(arg)
		case "close":
			code, reason, err := parseCloseArgs(arg)
			if err != nil {
				panic(err)
			}
			c.Close(code, reason)
			return
		}
		if c.Write(ctx, kind, data) != nil {
			return
		}
	}
}

// tell sends what the handshake said.
func tell(c *websocket.Conn, r *http.Request) {
	user, password, _ := r.BasicAuth()
	text := fmt.Sprintf("%s %s:%s a=%q origin=%q protocol=%q", r.RequestURI, user, password, r.Header.Values("A"), r.Header.Get("Origin"), c.Subprotocol())
	c.Write(context.Background(), websocket.Text, []byte(text))
	c.Close(websocket.CloseNormal, "")
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

// converse types a line, and waits for what should be printed before the next.
func converse(t *testing.T, p *process, in io.Writer, steps ...[2]string) {
	t.Helper()
	for _, step := range steps {
		if _, err := io.WriteString(in, step[0]+"\n"); err != nil {
			t.Fatal(err)
		}
		if step[1] != "" {
			p.out.wait(t, step[1])
		}
	}
}

func TestWSCommands(t *testing.T) {
	ended := make(chan error, 1)
	address := serveWS(t, func(c *websocket.Conn, r *http.Request) {
		echo(c, r)
		_, _, err := c.Read(context.Background())
		ended <- err
	})
	file := func(name, text string) string {
		name = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	in, write := io.Pipe()
	p := begin(t, in, "ws", address, "--verbose")
	converse(t, p, write,
		[2]string{"hello \x1b[31m", "hello \\x1b[31m\n"},
		[2]string{"//etc/hosts", "\n/etc/hosts\n"},
		[2]string{"/binary 01 02 fF41", "(4 bytes)\n00000000  01 02 ff 41                                       |...A|\n"},
		[2]string{"/file " + file("text", "a file\nof lines"), "\na file\\nof lines\n"},
		[2]string{"/file " + file("bytes", "\xff"), "(1 bytes)\n00000000  ff"},
		[2]string{"bytes " + strings.Repeat("00", 1030), "... and 6 bytes more\n"},
	)
	converse(t, p, write, [2]string{"/ping", ""}, [2]string{"ping", ""}, [2]string{"/help", ""})
	p.err.wait(t, "duplex: pong after ")
	p.err.wait(t, "duplex: ping received\n")
	p.err.wait(t, "    /close [CODE [REASON]] ")
	converse(t, p, write, [2]string{"/ping are you there?", ""}, [2]string{"/pong still here", ""})
	p.err.wait(t, "duplex: pong received: \"are you there?\"\n")
	p.err.wait(t, "duplex: pong sent: \"still here\"\n")
	converse(t, p, write, [2]string{"/close 4001 see you", ""})
	p.end(exitDone)
	if err := <-ended; err == nil || err.Error() != `websocket: closed by peer (4001 "see you")` {
		t.Errorf("the server was told %v", err)
	}
}

// What cannot be sent is not left out in silence, unless a person can see it.
func TestWSWrongLines(t *testing.T) {
	address := serveWS(t, echo)
	for line, note := range map[string]string{
		"/nothing":                          "no command is called /nothing",
		"/binary 1":                         "want bytes in hex",
		"/pong " + strings.Repeat("x", 126): "/pong: more than 125 bytes",
		"/close x":                          `want a close code, not "x"`,
		"/close 1005 x":                     "close code 1005 may not be sent",
		"/close 1000 " + strings.Repeat("x", 124): "longer than 123 bytes",
		"/file /not/there":                        "no such file",
		"\xff":                                    "not UTF-8",
	} {
		if _, notes := duplex(t, exitUsage, line+"\n", "ws", address); !strings.Contains(notes, note) {
			t.Errorf("%q: %q", line, notes)
		}
	}
	if _, notes := duplex(t, exitUsage, "xyz\n", "ws", address, "--binary"); !strings.Contains(notes, "want bytes in hex") {
		t.Errorf("notes %q", notes)
	}
	if _, notes := duplex(t, exitFailed, strings.Repeat("x", maxLine+1), "ws", address); !strings.Contains(notes, "a line of more than 67108864 bytes") {
		t.Errorf("notes %q", notes)
	}
}

func TestWSBinaryInput(t *testing.T) {
	in, write := io.Pipe()
	p := begin(t, in, "ws", serveWS(t, echo), "--binary", "--send", "text, first")
	converse(t, p, write, [2]string{"00 ff", "text, first\n(2 bytes)\n00000000  00 ff "})
	p.stop()
	p.end(exitDone)
}

// The exit code says how it ended.
func TestWSEnds(t *testing.T) {
	address := serveWS(t, echo)
	for send, want := range map[string]struct {
		code int
		note string
	}{
		"close 1000":         {exitDone, "closed by the server: close 1000\n"},
		"close 1001 restart": {exitDone, "closed by the server: close 1001 \"restart\"\n"},
		"close 1005":         {exitDone, "closed by the server: close 1005\n"},
		"close 4410 gone":    {exitRefused, "closed by peer (4410 \"gone\")\n"},
		"drop":               {exitUnreached, "connection lost: "},
		"bytes 010203040506": {exitFailed, "closed (1009 "},
	} {
		if _, notes := duplex(t, want.code, send+"\n", "ws", address, "--wait", "1h", "--max-message-bytes", "5"); !strings.Contains(notes, want.note) {
			t.Errorf("%s: %q", send, notes)
		}
	}
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

// withoutTimes puts 0 for the times, which are the only thing that is not the
// same each time, and checks that they do not go back.
func withoutTimes(t *testing.T, lines string) []map[string]any {
	t.Helper()
	var entries []map[string]any
	before := 0.0
	for line := range strings.Lines(lines) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		at, ok := e["at"].(float64)
		if !ok || at < before {
			t.Errorf("at %v after %v: %s", e["at"], before, line)
		}
		before = at
		delete(e, "at")
		entries = append(entries, e)
	}
	return entries
}

func wantEntries(t *testing.T, lines string, want ...string) {
	t.Helper()
	var got []string
	for _, e := range withoutTimes(t, lines) {
		got = append(got, string(marshal(e)))
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

func TestWSJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "record")
	in, write := io.Pipe()
	p := begin(t, in, "ws", serveWS(t, echo), "--json", "--record", file, "--subprotocol", "chess")
	converse(t, p, write,
		[2]string{"<a>", `"received","type":"text","data":"<a>"`},
		[2]string{"", `"received","type":"text","data":""`},
		[2]string{"/binary 00ff", `"received","type":"binary","base64":"AP8="`},
		[2]string{"close 4000 bye", `"sent","type":"close"`},
	)
	p.end(exitRefused)
	wantEntries(t, p.out.String(),
		`{"subprotocol":"chess","type":"open"}`,
		`{"data":"<a>","direction":"sent","type":"text"}`,
		`{"data":"<a>","direction":"received","type":"text"}`,
		`{"data":"","direction":"sent","type":"text"}`,
		`{"data":"","direction":"received","type":"text"}`,
		`{"base64":"AP8=","direction":"sent","type":"binary"}`,
		`{"base64":"AP8=","direction":"received","type":"binary"}`,
		`{"data":"close 4000 bye","direction":"sent","type":"text"}`,
		`{"code":4000,"direction":"received","reason":"bye","type":"close"}`,
		`{"code":4000,"direction":"sent","reason":"bye","type":"close"}`,
	)
	record, err := os.ReadFile(file)
	if err != nil || string(record) != p.out.String() {
		t.Errorf("%v, recorded %s", err, record)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the recording: %v, %v", info.Mode(), err)
	}
}

func TestWSFrames(t *testing.T) {
	address := serveWS(t, func(c *websocket.Conn, _ *http.Request) {
		c.Read(context.Background())
		w, err := c.Writer(context.Background(), websocket.Text)
		if err != nil {
			return
		}
		io.WriteString(w, "in ")
		w.(interface{ Flush() error }).Flush()
		io.WriteString(w, "parts")
		w.Close()
		c.Close(4000, "\x1b")
	})
	in, write := io.Pipe()
	p := begin(t, in, "ws", address, "--frames")
	converse(t, p, write, [2]string{"/binary 01", "in parts\n"})
	p.end(exitRefused)
	var got strings.Builder
	for line := range strings.Lines(p.err.String()) {
		if at, frame, ok := strings.Cut(line, " "); ok && strings.Contains(at, ".") {
			got.WriteString(frame)
		}
	}
	const want = `-> FIN binary masked 1 bytes
<- text 3 bytes
<- FIN continuation 5 bytes
<- FIN close 3 bytes: 4000 "\x1b"
-> FIN close masked 3 bytes: 4000 "\x1b"
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}

	in, write = io.Pipe()
	p = begin(t, in, "ws", address, "--frames", "--json")
	converse(t, p, write, [2]string{"/binary 01", "in parts"})
	p.end(exitRefused)
	wantEntries(t, p.out.String(),
		`{"type":"open"}`,
		`{"base64":"AQ==","direction":"sent","type":"binary"}`,
		`{"direction":"sent","frame":{"fin":true,"length":1,"masked":true,"opcode":"binary"},"type":"frame"}`,
		`{"direction":"received","frame":{"fin":false,"length":3,"masked":false,"opcode":"text"},"type":"frame"}`,
		`{"direction":"received","frame":{"fin":true,"length":5,"masked":false,"opcode":"continuation"},"type":"frame"}`,
		`{"data":"in parts","direction":"received","type":"text"}`,
		`{"code":4000,"direction":"received","frame":{"fin":true,"length":3,"masked":false,"opcode":"close"},"reason":"\u001b","type":"frame"}`,
		`{"code":4000,"direction":"received","reason":"\u001b","type":"close"}`,
		`{"code":4000,"direction":"sent","frame":{"fin":true,"length":3,"masked":true,"opcode":"close"},"reason":"\u001b","type":"frame"}`,
		`{"code":4000,"direction":"sent","reason":"\u001b","type":"close"}`,
	)
}

// RFC 7692 §6: the first reserved bit says that a message is compressed.
func TestWSCompress(t *testing.T) {
	s := newWSServer(t, echo)
	s.opts.Compression = &websocket.Compression{}
	s.Start()
	t.Cleanup(s.Close)
	text := strings.Repeat("again and ", 100)
	for flag, want := range map[string]string{
		"--compress": " -> FIN RSV1 text masked ",
		"--verbose":  " -> FIN text masked 1000 bytes\n",
	} {
		in, write := io.Pipe()
		p := begin(t, in, "ws", s.Listener.Addr().String(), "--frames", flag)
		converse(t, p, write, [2]string{text, text})
		p.stop()
		p.end(exitDone)
		if !strings.Contains(p.err.String(), want) || strings.Contains(p.err.String(), "<- FIN RSV1 text ") != (flag == "--compress") {
			t.Errorf("%s: no %q in %q", flag, want, p.err)
		}
	}
	in, write := io.Pipe()
	p := begin(t, in, "ws", s.Listener.Addr().String(), "--frames", "--compress", "--json")
	converse(t, p, write, [2]string{text, `"received","type":"text"`})
	p.stop()
	p.end(exitDone)
	if out := p.out.String(); !strings.Contains(out, `"direction":"sent","type":"frame","frame":{"fin":true,"rsv":[1],"opcode":"text",`) {
		t.Errorf("printed %s", out)
	}
}

func TestFrameLine(t *testing.T) {
	for _, test := range []struct {
		frame websocket.FrameEvent
		want  string
	}{
		{websocket.FrameEvent{Sent: true, Fin: true, RSV: wire.RSV1 | wire.RSV3, Opcode: wire.Text, Masked: true, Length: 1 << 40}, "-> FIN RSV1 RSV3 text masked 1099511627776 bytes"},
		{websocket.FrameEvent{RSV: wire.RSV2, Opcode: wire.Continuation}, "<- RSV2 continuation 0 bytes"},
		{websocket.FrameEvent{Fin: true, Opcode: wire.Ping, Length: 3, Payload: []byte("a\x1bb")}, `<- FIN ping 3 bytes: "a\x1bb"`},
		{websocket.FrameEvent{Fin: true, Opcode: wire.Pong, Length: 2, Payload: []byte{0xff, 1}}, "<- FIN pong 2 bytes: ff 01"},
		{websocket.FrameEvent{Fin: true, Opcode: wire.Close}, "<- FIN close 0 bytes"},
		{websocket.FrameEvent{Fin: true, Opcode: wire.Close, Length: 1, Payload: []byte{3}}, "<- FIN close 1 bytes"},
		{websocket.FrameEvent{Fin: true, Opcode: wire.Close, Length: 3, Payload: []byte{3, 0xe8, 'x'}}, `<- FIN close 3 bytes: 1000 "x"`},
	} {
		if got := newFrameEntry(&test.frame).frameLine(); got != "0.000000 "+test.want+"\n" {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
