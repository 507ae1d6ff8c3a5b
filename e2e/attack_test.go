//go:build e2e

package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An attacker speaks HTTP/2 frame by frame, and as it should not.
type attacker struct {
	net.Conn
	*http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	reading sync.WaitGroup

	mu       sync.Mutex // guards what follows
	away     *http2.ErrCode
	answered bool // a ping
	over     bool
}

// attack begins a connection. Whoever does not read fills what the server has
// for its answers.
func attack(t testing.TB, s *secureServer, secure, reads bool) *attacker {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if secure {
		conn, err = tls.Dial("tcp", strings.TrimPrefix(s.secure, "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	a := &attacker{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	a.encoder = hpack.NewEncoder(&a.block)
	a.AllowIllegalWrites, a.AllowIllegalReads = true, true
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := a.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	if reads {
		a.reading.Go(a.read) // Ends with the connection. Joined by the cleanup.
	}
	t.Cleanup(func() {
		conn.Close()
		a.reading.Wait()
	})
	return a
}

func (a *attacker) read() {
	for {
		frame, err := a.ReadFrame()
		a.mu.Lock()
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			a.away = new(frame.ErrCode)
		case *http2.PingFrame:
			a.answered = a.answered || frame.IsAck()
		}
		a.over = a.over || err != nil
		over := a.over
		a.mu.Unlock()
		if over {
			return
		}
	}
}

// outcome is for the log.
func (a *attacker) outcome() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := "goes on"
	if a.over {
		text = "is cut"
	}
	if a.away != nil {
		text += ", GOAWAY " + a.away.String()
	}
	return text
}

// settle waits until the server has taken all frames, or has had enough.
func (a *attacker) settle() {
	_ = a.WritePing(false, [8]byte{}) // it may be over
	eventually(func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.answered || a.over || a.away != nil
	})
}

func (a *attacker) isOver() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.over || a.away != nil
}

// fields encodes a header block.
func (a *attacker) fields(fields ...string) []byte {
	a.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = a.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
	}
	return bytes.Clone(a.block.Bytes())
}

func (a *attacker) request(id uint32, method, path string, ends bool, more ...string) error {
	block := a.fields(append([]string{":method", method, ":scheme", "http", ":authority", "localhost", ":path", path}, more...)...)
	return a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: ends, EndHeaders: true})
}

// calm is the last word to who floods.
const calm = "ENHANCE_YOUR_CALM"

// Attacks that have brought servers down, as a number of steps each: a step is a
// few frames, and an error means that the server has had enough. CVEs are those of
// others.
var attacks = []struct {
	name  string
	steps int
	deaf  bool   // reads nothing until it has sent all
	word  string // the server's last; empty: the connection may go on
	step  func(a *attacker, i int) error
}{
	{"rapid reset (CVE-2023-44487)", 10_000, false, calm, func(a *attacker, i int) error {
		id := uint32(2*i + 1)
		if err := a.request(id, "GET", "/topics/a?as=sse", true); err != nil {
			return err
		}
		return a.WriteRSTStream(id, http2.ErrCodeCancel)
	}},
	{"rapid reset of WebSockets (RFC 8441)", 5_000, false, calm, func(a *attacker, i int) error {
		id := uint32(2*i + 1)
		if err := a.request(id, "CONNECT", "/topics/a", false, ":protocol", "websocket", "sec-websocket-version", "13"); err != nil {
			return err
		}
		return a.WriteRSTStream(id, http2.ErrCodeCancel)
	}},
	{"made you reset (CVE-2025-8671)", 5_000, false, calm, func(a *attacker, i int) error {
		id := uint32(2*i + 1)
		if err := a.request(id, "GET", "/topics/a?as=sse", true); err != nil {
			return err
		}
		return a.WriteWindowUpdate(id, 0)
	}},
	{"made you reset by overflow", 5_000, false, calm, func(a *attacker, i int) error {
		id := uint32(2*i + 1)
		if err := a.request(id, "GET", "/topics/a?as=sse", true); err != nil {
			return err
		}
		return a.WriteWindowUpdate(id, 1<<31-1)
	}},
	{"too many streams", 5_000, false, calm, func(a *attacker, i int) error {
		return a.request(uint32(2*i+1), "GET", "/topics/a?as=sse", true)
	}},
	{"CONTINUATION flood (CVE-2023-45288)", 20_000, false, calm, func(a *attacker, i int) error {
		if i == 0 {
			return a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: a.fields(":method", "GET", ":scheme", "http", ":authority", "localhost", ":path", "/topics/a")})
		}
		return a.WriteContinuation(1, false, bytes.Repeat([]byte{0x00, 0x01, 'a', 0x01, 'b'}, 1000))
	}},
	{"empty CONTINUATION flood", 20_000, false, calm, func(a *attacker, i int) error {
		if i == 0 {
			return a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: a.fields(":method", "GET")})
		}
		return a.WriteContinuation(1, false, nil)
	}},
	{"HPACK bomb (CVE-2016-6581)", 150, false, "", func(a *attacker, i int) error {
		if i == 0 { // 3 KiB in the table
			return a.request(1, "GET", "/topics/a", true, "x", strings.Repeat("x", 3000))
		}
		block := a.fields(":method", "GET", ":scheme", "http", ":authority", "localhost", ":path", "/topics/a")
		block = append(block, bytes.Repeat([]byte{0x80 | 62}, 16_000)...) // the newest entry: 48 MB
		return a.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block, EndStream: true, EndHeaders: true})
	}},
	{"growing tables", 20_000, false, calm, func(a *attacker, i int) error {
		return a.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(i%2) * (1<<32 - 1)})
	}},
	{"SETTINGS flood (CVE-2019-9515)", 100_000, true, calm, func(a *attacker, _ int) error { return a.WriteSettings() }},
	{"PING flood (CVE-2019-9512)", 100_000, true, calm, func(a *attacker, _ int) error { return a.WritePing(false, [8]byte{}) }},
	{"reset flood (CVE-2019-9514)", 50_000, true, calm, func(a *attacker, i int) error {
		return a.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), EndHeaders: true, EndStream: true}) // no :path
	}},
	{"empty DATA (CVE-2019-9518)", 15_000, false, calm, func(a *attacker, i int) error {
		if i == 0 {
			return a.request(1, "POST", "/topics/a", false)
		}
		return a.WriteData(1, false, nil)
	}},
	{"PRIORITY loop (CVE-2019-9513)", 20_000, false, calm, func(a *attacker, i int) error {
		return a.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: uint32(2*((i+1)%1000) + 1), Exclusive: i%2 == 0, Weight: byte(i)})
	}},
	{"unknown frames (CVE-2026-27141)", 50_000, false, calm, func(a *attacker, i int) error {
		return a.WriteRawFrame(http2.FrameType(0x0a+i%6), http2.Flags(i), uint32(i%5), make([]byte, i%100))
	}},
	{"window updates", 50_000, false, calm, func(a *attacker, i int) error {
		if i == 0 {
			return a.request(1, "GET", "/topics/a?as=sse", true)
		}
		return a.WriteWindowUpdate(1, 1)
	}},
	{"dribble (CVE-2019-9511)", 20_000, false, "", func(a *attacker, i int) error {
		if i == 0 {
			if err := a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
				return err
			}
			for id := range uint32(30) {
				if err := a.request(2*id+1, "GET", "/topics/large", true); err != nil {
					return err
				}
			}
		}
		return a.WriteWindowUpdate(uint32(2*(i%30)+1), 1)
	}},
	{"open windows, closed socket (CVE-2019-9517)", 2_000, true, "", func(a *attacker, i int) error {
		if i == 0 {
			if err := a.WriteWindowUpdate(0, 1<<30); err != nil {
				return err
			}
			if err := a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}); err != nil {
				return err
			}
		}
		return a.request(uint32(2*i+1), "GET", "/topics/large", true)
	}},
	{"uploads that nobody ends", 3_000, false, "", func(a *attacker, i int) error {
		if i < 200 {
			return a.request(uint32(2*i+1), "POST", "/topics/a", false)
		}
		return a.WriteData(uint32(2*(i%200)+1), false, make([]byte, 1000))
	}},
	{"lengths that lie", 500, false, "", func(a *attacker, i int) error {
		if err := a.request(uint32(2*i+1), "POST", "/topics/a", false, "content-length", "9223372036854775807"); err != nil {
			return err
		}
		return a.WriteData(uint32(2*i+1), true, []byte("x"))
	}},
	{"frames for no stream", 20_000, false, "PROTOCOL_ERROR", func(a *attacker, i int) error { return a.WriteData(uint32(2*i+1), false, []byte("x")) }},
	{"pushed by a client", 100, false, "PROTOCOL_ERROR", func(a *attacker, i int) error {
		return a.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: uint32(2 * (i + 1)), BlockFragment: a.fields(":method", "GET"), EndHeaders: true})
	}},
}

// What attackers do, the server outlives: others are served meanwhile, it takes
// little memory, nothing of them stays, and it stops in good order in the midst of one.
func TestAttacksByHTTP2(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := serveSecure(t)
		s.publish(t, "large", "", "text/plain", strings.Repeat("x", 100_000)) // of 250 answers at once
		s.publish(t, "a", "", "text/plain", "first")
		bystander := openStream(t, s.topic("bystander"), "text/event-stream")
		for _, test := range attacks {
			before := memory(t, s)
			a := attack(t, s, secure, !test.deaf)
			sent, began := 0, time.Now()
			var err error
			for ; sent < test.steps && err == nil && !a.isOver() && time.Since(began) < 10*time.Second; sent++ {
				err = test.step(a, sent)
			}
			if test.deaf {
				a.reading.Go(a.read) // Ends with the connection. Joined by the cleanup.
			}
			a.settle()
			if test.word != "" && (!eventually(a.isOver) || !strings.Contains(a.outcome(), test.word) && strings.Contains(a.outcome(), "GOAWAY")) {
				t.Errorf("%s: %d steps, and it %s, not %s", test.name, sent, a.outcome(), test.word)
			}
			s.publish(t, "bystander", "", "text/plain", test.name)
			if data, err := bystander.event(); data != test.name || err != nil {
				t.Fatalf("%s: somebody else: %q, %v", test.name, data, err)
			}
			// Race detection takes up to ten times of what the program itself does.
			grown := memory(t, s) - before
			if grown > 300<<20 {
				t.Errorf("%s: %d MB more", test.name, grown>>20)
			}
			t.Logf("%-45s TLS %-5v %6d of %6d steps in %6v, %3d MB; it %s", test.name, secure, sent, test.steps, time.Since(began).Round(time.Millisecond), grown>>20, a.outcome())
			a.Close()
			until(t, "nothing of it stays", func() bool { return s.subscribers(t, "a") == 0 })
		}
		// It stops with an attack in its midst.
		a := attack(t, s, secure, false)
		for i := range 100 {
			if err := attacks[0].step(a, 2*i); err != nil {
				t.Fatal(err)
			}
			if err := a.request(uint32(4*i+3), "GET", "/topics/a?as=sse", true); err != nil {
				t.Fatal(err)
			}
		}
		s.terminate(t)
		if rest, err := io.ReadAll(bystander.in); err != nil || !strings.HasPrefix(string(rest), "retry: ") {
			t.Errorf("the end: %q, %v", rest, err)
		}
	}
}

// memory is what the kernel counts for a process, in bytes.
func memory(t testing.TB, s *secureServer) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// smuggled is a request that a server, or a proxy before it, must not find in the
// body of another.
const smuggled = "POST /topics/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi"

// bodies whose length two programs might see differently (RFC 9112 §11.2,
// CVE-2025-22871).
var smuggling = map[string]string{
	"CL.TE":                     "Content-Length: {all}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
	"TE.CL":                     "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{size}\r\n{smuggled}\r\n0\r\n\r\n",
	"TE and a space":            "Content-Length: {all}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n{smuggled}",
	"TE twice":                  "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: {all}\r\n\r\n0\r\n\r\n{smuggled}",
	"TE of something else":      "Transfer-Encoding: xchunked\r\nContent-Length: {all}\r\n\r\n0\r\n\r\n{smuggled}",
	"TE in a list":              "Transfer-Encoding: gzip, chunked\r\nContent-Length: {all}\r\n\r\n0\r\n\r\n{smuggled}",
	"TE with a tab":             "Transfer-Encoding:\tchunked\r\nContent-Length: {all}\r\n\r\n0\r\n\r\n{smuggled}",
	"TE with a vertical tab":    "Transfer-Encoding: \vchunked\r\nContent-Length: {all}\r\n\r\n0\r\n\r\n{smuggled}",
	"TE on a folded line":       "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: {all}\r\n\r\n0\r\n\r\n{smuggled}",
	"TE after a bare LF":        "X: y\nTransfer-Encoding: chunked\r\nContent-Length: {all}\r\n\r\n0\r\n\r\n{smuggled}",
	"two lengths":               "Content-Length: 0\r\nContent-Length: {all}\r\n\r\n0\r\n\r\n{smuggled}",
	"lengths in a list":         "Content-Length: 0, {all}\r\n\r\n0\r\n\r\n{smuggled}",
	"length with a sign":        "Content-Length: +0\r\n\r\n{smuggled}",
	"length in hex":             "Content-Length: 0x0\r\n\r\n{smuggled}",
	"length below zero":         "Content-Length: -1\r\n\r\n{smuggled}",
	"length too long":           "Content-Length: 18446744073709551616\r\n\r\n{smuggled}",
	"chunk with a bare LF":      "Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n{size}\r\n0\r\n\r\n{smuggled}\r\n0\r\n\r\n",
	"chunk size with a sign":    "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n{smuggled}",
	"chunk size with a prefix":  "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n{smuggled}",
	"chunk size that overflows": "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n{smuggled}",
	"chunk longer than it says": "Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n{smuggled}",
}

// Whatever two programs make of a body, no other request is found in it: neither
// by the server alone, nor by it and a proxy.
func TestSmuggling(t *testing.T) {
	check := func(t *testing.T, s *server, addr string) {
		proxied, published := addr != s.addr, 0
		for name, text := range smuggling {
			text = strings.NewReplacer("{smuggled}", smuggled, "{size}", strconv.FormatInt(int64(len(smuggled)), 16), "{all}", strconv.Itoa(len("0\r\n\r\n"+smuggled))).Replace(text)
			c := dialRaw(t, addr)
			c.send("POST /topics/victim HTTP/1.1\r\nHost: localhost\r\n" + text)
			_ = c.CloseWrite() // it may have been cut already
			var answers []string
			for {
				response, err := http.ReadResponse(c.in, nil)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, response.Body) // as far as it comes
				answers = append(answers, strconv.Itoa(response.StatusCode))
			}
			c.Close()
			events := len(s.page(t, "smuggled", "").Events)
			switch {
			case events == published:
			case proxied && len(answers) == 2: // the proxy has seen two requests itself, and said so
				published = events
			default:
				t.Fatalf("%s: answered %v, and published the other request", name, answers)
			}
			t.Logf("%-26s %v", name, answers)
		}
	}
	t.Run("Duplex", func(t *testing.T) {
		s := serve(t)
		check(t, s, s.addr)
	})
	eachProxy(t, func(t *testing.T, kind proxyKind) {
		s := serve(t)
		check(t, s, kind.behind(t, s).addr)
	})
}

// An offer to change to HTTP/2 in the middle (RFC 7540 §3.2, which is gone) is
// none for the server, and no way round a proxy.
func TestH2CSmuggling(t *testing.T) {
	check := func(t *testing.T, s *server, addr string) {
		for _, connection := range []string{"Upgrade, HTTP2-Settings", "Upgrade"} {
			c := dialRaw(t, addr)
			c.send("GET /topics/a HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nConnection: " + connection + "\r\n\r\n")
			if response, body := c.answer(); response.StatusCode == http.StatusSwitchingProtocols || response.ProtoMajor != 1 {
				t.Errorf("%s: %s %s", connection, response.Status, body)
			}
		}
	}
	t.Run("Duplex", func(t *testing.T) {
		s := serve(t, "--h2c")
		check(t, s, s.addr)
		plain := serve(t) // where it was not allowed
		c := dialRaw(t, plain.addr)
		c.send(http2.ClientPreface)
		if response, err := http.ReadResponse(c.in, nil); err == nil && response.StatusCode < 400 {
			t.Errorf("a preface of HTTP/2: %s", response.Status)
		}
	})
	eachProxy(t, func(t *testing.T, kind proxyKind) {
		s := serve(t, "--h2c")
		check(t, s, kind.behind(t, s).addr)
	})
}

// Headers that are too many or too large are refused without much ado.
func TestHeaderBombs(t *testing.T) {
	s := serveSecure(t)
	for name, text := range map[string]string{
		"many fields":   strings.Repeat("a: b\r\n", 50_000),
		"one field":     "a: " + strings.Repeat("b", 1<<20) + "\r\n",
		"a long name":   strings.Repeat("a", 1<<20) + ": b\r\n",
		"folded lines":  "a: b\r\n" + strings.Repeat(" c\r\n", 50_000),
		"many cookies":  strings.Repeat("cookie: a=b\r\n", 20_000),
		"accepts a lot": "accept: " + strings.Repeat("a/b,", 100_000) + "\r\n",
	} {
		before := memory(t, s)
		c := dialRaw(t, s.addr)
		_, _ = c.Write([]byte("GET /topics/a HTTP/1.1\r\nHost: localhost\r\n" + text + "\r\n")) // it may be cut
		response, err := http.ReadResponse(c.in, nil)
		if err == nil && response.StatusCode != 431 && response.StatusCode != 400 || err != nil && !isReset(err) && err != io.ErrUnexpectedEOF {
			t.Errorf("%s: %v, %v", name, response, err)
		}
		if grown := memory(t, s) - before; grown > 50<<20 {
			t.Errorf("%s: %d MB more", name, grown>>20)
		}
	}
	for name, path := range map[string]string{"a long path": strings.Repeat("a", 1<<20), "a long query": "?" + strings.Repeat("topic=a&", 100_000), "many segments": strings.Repeat("a/", 20_000)} {
		c := dialRaw(t, s.addr)
		_, _ = c.Write([]byte("GET /topics/" + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n")) // it may be cut
		if response, err := http.ReadResponse(c.in, nil); err == nil && response.StatusCode < 400 {
			t.Errorf("%s: %s", name, response.Status)
		}
	}
	s.publish(t, "a", "", "text/plain", "it goes on")
}
