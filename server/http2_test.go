package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/topic"
)

// A framePeer speaks HTTP/2 frame by frame, in a bubble.
type framePeer struct {
	t      *testing.T
	conn   net.Conn
	framer *http2.Framer
	host   string        // of requests
	ended  chan struct{} // closed when nothing more comes

	mu       sync.Mutex // guards what follows
	settings map[http2.SettingID]uint32
	data     map[uint32]string        // by stream
	status   map[uint32]string        // by stream
	over     map[uint32]http2.ErrCode // streams that have ended, and why
	away     *http2.ErrCode           // of GOAWAY
	pings    int                      // that were not answered
}

// connectFrames begins a connection with these settings.
func connectFrames(t *testing.T, network *testnet.Network, settings ...http2.Setting) *framePeer {
	t.Helper()
	conn, err := network.Dial(t.Context(), "tcp", DefaultListen)
	if err != nil {
		t.Fatal(err)
	}
	p := &framePeer{
		t: t, conn: conn, framer: http2.NewFramer(conn, conn), host: "localhost", ended: make(chan struct{}),
		settings: make(map[http2.SettingID]uint32), data: make(map[uint32]string), status: make(map[uint32]string), over: make(map[uint32]http2.ErrCode),
	}
	p.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.framer.AllowIllegalWrites = true
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(p.read) // Ends with the connection. Joined by the cleanup.
	t.Cleanup(func() {
		conn.Close()
		reading.Wait()
	})
	p.write(p.framer.WriteSettings(settings...))
	synctest.Wait()
	return p
}

func (p *framePeer) write(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *framePeer) read() {
	defer close(p.ended)
	for {
		frame, err := p.framer.ReadFrame()
		if err != nil {
			return
		}
		p.take(frame)
	}
}

func (p *framePeer) take(frame http2.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := frame.Header().StreamID
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		_ = frame.ForeachSetting(func(s http2.Setting) error {
			p.settings[s.ID] = s.Val
			return nil
		})
	case *http2.MetaHeadersFrame:
		p.status[id] = frame.PseudoValue("status")
		if frame.StreamEnded() {
			p.over[id] = http2.ErrCodeNo
		}
	case *http2.DataFrame:
		p.data[id] += string(frame.Data())
		if frame.StreamEnded() {
			p.over[id] = http2.ErrCodeNo
		}
	case *http2.RSTStreamFrame:
		p.over[id] = frame.ErrCode
	case *http2.GoAwayFrame:
		p.away = &frame.ErrCode
	case *http2.PingFrame:
		if !frame.IsAck() {
			p.pings++
		}
	}
}

// request sends the header of a request.
func (p *framePeer) request(id uint32, method, path string, ends bool, fields ...string) {
	p.t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	fields = append([]string{":method", method, ":scheme", "http", ":authority", p.host, ":path", path}, fields...)
	for i := 0; i < len(fields); i += 2 {
		p.write(encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true})) // not for the table
	}
	p.write(p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: ends, EndHeaders: true}))
}

// got is what has come on a stream when all is at rest.
func (p *framePeer) got(id uint32) string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.data[id]
}

// reason is why the server has ended a stream.
func (p *framePeer) reason(id uint32) (http2.ErrCode, bool) {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	code, over := p.over[id]
	return code, over
}

// goAway is what the server has said in a GOAWAY.
func (p *framePeer) goAway() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away == nil {
		return "none"
	}
	return p.away.String()
}

func (p *framePeer) hasEnded() bool {
	synctest.Wait()
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// withFrames runs a test with a server that speaks HTTP/2 on plain connections.
func withFrames(t *testing.T, config Config, test func(t *testing.T, s *Server, network *testnet.Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		config.H2C = true
		s, network := startPiped(t, &config)
		test(t, s, network)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if open := s.connections.count(); open != 0 {
			t.Errorf("%d connections are counted after the end", open)
		}
	})
}

func publishTo(t *testing.T, s *Server, name, data string) {
	t.Helper()
	if _, err := s.hub.Publish(t.Context(), name, []topic.Draft{{Data: []byte(data), Media: "text/plain"}}, topic.Key{}); err != nil {
		t.Fatal(err)
	}
}

func TestHTTP2Settings(t *testing.T) {
	withFrames(t, Config{MaxStreams: 7, MaxHeaderBytes: 8 << 10}, func(t *testing.T, _ *Server, network *testnet.Network) {
		p := connectFrames(t, network)
		for id, want := range map[http2.SettingID]uint32{
			http2.SettingMaxConcurrentStreams:  7,
			http2.SettingMaxFrameSize:          16 << 10, // RFC 9113 §4.2: the least
			http2.SettingInitialWindowSize:     streamWindow,
			http2.SettingMaxHeaderListSize:     8<<10 + headerOverhead,
			http2.SettingEnableConnectProtocol: 1, // RFC 8441 §3
		} {
			if got, ok := p.settings[id]; !ok || got != want {
				t.Errorf("%v: %d, want %d", id, got, want)
			}
		}
	})
}

// PROTOCOL.md §11: --max-streams.
func TestMaxStreams(t *testing.T) {
	withFrames(t, Config{MaxStreams: 2}, func(t *testing.T, s *Server, network *testnet.Network) {
		p := connectFrames(t, network)
		p.write(p.framer.WriteSettingsAck())
		for id := uint32(1); id <= 5; id += 2 {
			p.request(id, "GET", "/topics/a?as=sse", true)
		}
		if code, over := p.reason(5); !over || code == http2.ErrCodeNo {
			t.Errorf("the third: %v, %v", code, over)
		}
		for _, id := range []uint32{1, 3} {
			if _, over := p.reason(id); over || !strings.Contains(p.got(id), "$ping") {
				t.Errorf("stream %d: %q", id, p.got(id))
			}
		}
		if got := p.goAway(); got != "none" {
			t.Error(got)
		}
	})
}

// A stream whose client takes nothing holds up no other, and misses nothing.
func TestStalledStream(t *testing.T) {
	withFrames(t, Config{}, func(t *testing.T, s *Server, network *testnet.Network) {
		p := connectFrames(t, network, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		p.write(p.framer.WriteWindowUpdate(0, 1<<24))
		for _, id := range []uint32{1, 3} {
			p.request(id, "GET", "/topics/a?as=stream", true)
			synctest.Wait()
		}
		p.write(p.framer.WriteWindowUpdate(3, 1<<24))
		want := strings.Repeat("x", 10_000)
		for range 100 { // more than any buffer holds
			publishTo(t, s, "a", want)
		}
		if n := strings.Count(p.got(3), want); n != 100 {
			t.Errorf("%d events on the other stream", n)
		}
		if got := p.got(1); got != "" {
			t.Errorf("%d bytes on the stalled one", len(got))
		}
		p.write(p.framer.WriteWindowUpdate(1, 1<<24))
		if n := strings.Count(p.got(1), want); n != 100 {
			t.Errorf("%d events on the stalled one, when it goes on", n)
		}
	})
}

// A stream that has nothing to say for longer than a write may take is not cut.
func TestQuietHTTP2Streams(t *testing.T) {
	withFrames(t, Config{WriteTimeout: 5 * time.Second}, func(t *testing.T, s *Server, network *testnet.Network) {
		p := connectFrames(t, network)
		for i, as := range []string{"sse", "stream", "multipart", "iframe", "longpoll"} {
			p.request(uint32(2*i+1), "GET", "/topics/a?as="+as, true)
		}
		p.request(11, "CONNECT", "/topics/a", false, ":protocol", "websocket", "sec-websocket-version", "13")
		synctest.Wait()
		time.Sleep(20 * time.Second)
		publishTo(t, s, "a", "hello")
		for id := uint32(1); id <= 11; id += 2 {
			if got := p.got(id); !strings.Contains(got, "hello") {
				t.Errorf("stream %d: %q, ended: %v", id, got, p.over)
			}
		}
	})
}

// A body that comes too slowly is given up, and no other request notices
// (PROTOCOL.md §7.1).
func TestSlowBodyOverHTTP2(t *testing.T) {
	withFrames(t, Config{WriteTimeout: 20 * time.Second}, func(t *testing.T, s *Server, network *testnet.Network) {
		p := connectFrames(t, network)
		p.request(1, "POST", "/topics/a", false)
		p.request(3, "GET", "/topics/a?as=sse", true)
		for range 7 {
			p.write(p.framer.WriteData(1, false, []byte("x")))
			time.Sleep(3 * time.Second)
		}
		if got := p.got(1); !strings.Contains(got, "too-slow") || p.status[1] != "408" {
			t.Errorf("%s %q", p.status[1], got)
		}
		publishTo(t, s, "a", "hello")
		if got := p.got(3); !strings.Contains(got, "data: hello") || p.goAway() != "none" {
			t.Errorf("the other: %q, %s", got, p.goAway())
		}
	})
}

// Who sends no request, or not the whole of one, is cut (slowloris; GO-2026-6089
// for a connection of HTTP/2 without TLS).
func TestSlowRequests(t *testing.T) {
	for begin, limit := range map[string]time.Duration{
		"": readHeaderTimeout, "GET": readHeaderTimeout, "GET /topics/a HTTP/1.1\r\nHost: localhost\r\n": readHeaderTimeout,
		http2.ClientPreface[:8]: readHeaderTimeout, http2.ClientPreface: 25*time.Second + pingAnswer,
	} {
		for _, drip := range []string{"", "x"} {
			if begin == http2.ClientPreface && drip != "" {
				continue // it is no frame, and ends the connection
			}
			withFrames(t, Config{Ping: 25 * time.Second}, func(t *testing.T, s *Server, network *testnet.Network) {
				conn, err := network.Dial(t.Context(), "tcp", DefaultListen)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				var reading sync.WaitGroup
				defer reading.Wait()
				reading.Go(func() { _, _ = io.Copy(io.Discard, conn) }) // Ends with the connection.
				if _, err := io.WriteString(conn, begin); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				for s.connections.count() > 0 || time.Since(began) == 0 {
					_, _ = io.WriteString(conn, drip) // in vain, once it is cut
					time.Sleep(time.Second)
					synctest.Wait()
					if took := time.Since(began); took > limit+time.Second {
						t.Errorf("%q, and %q each second: still there after %v", begin, drip, took)
						return
					}
				}
			})
		}
	}
}

// Only a stream that takes nothing at all is cut, when its time is over, and
// alone (PROTOCOL.md §5.17).
func TestStalledStreamIsCut(t *testing.T) {
	withFrames(t, Config{WriteTimeout: 40 * time.Second}, func(t *testing.T, s *Server, network *testnet.Network) {
		p := connectFrames(t, network, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		p.request(1, "GET", "/topics/a?as=sse", true)
		synctest.Wait()
		p.request(3, "GET", "/topics/a?as=sse", true)
		p.write(p.framer.WriteWindowUpdate(3, 1<<20))
		if got := p.got(3); !strings.Contains(got, "$ping") {
			t.Error(got)
		}
		for range 8 { // a client that is alive
			time.Sleep(5 * time.Second)
			p.write(p.framer.WriteWindowUpdate(0, 1))
		}
		time.Sleep(time.Second)
		if _, over := p.reason(1); !over {
			t.Error("it is not cut")
		}
		if _, over := p.reason(3); over || p.goAway() != "none" || s.hub.Stats().Subscribers != 1 {
			t.Errorf("the other: over %v, %s", over, p.goAway())
		}
	})
}

// RST_STREAM frees a subscription at once, and leaves the others.
func TestResetStream(t *testing.T) {
	withFrames(t, Config{}, func(t *testing.T, s *Server, network *testnet.Network) {
		p := connectFrames(t, network)
		for i, path := range []string{"?as=sse", "?as=stream", "?wait=50", "?as=sse"} {
			p.request(uint32(2*i+1), "GET", "/topics/a"+path, true)
		}
		synctest.Wait()
		if n := s.hub.Stats().Subscribers; n != 4 {
			t.Fatalf("%d subscribers", n)
		}
		for i := range uint32(3) {
			p.write(p.framer.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
			synctest.Wait()
			if n := s.hub.Stats().Subscribers; n != 3-int(i) {
				t.Errorf("%d subscribers after %d resets", n, i+1)
			}
		}
		publishTo(t, s, "a", "hello")
		if got := p.got(7); !strings.Contains(got, "data: hello") {
			t.Errorf("the last: %q", got)
		}
	})
}

// PROTOCOL.md §12.
func TestGoAway(t *testing.T) {
	withFrames(t, Config{}, func(t *testing.T, s *Server, network *testnet.Network) {
		p := connectFrames(t, network)
		p.request(1, "GET", "/topics/a?as=sse", true)
		p.request(3, "GET", "/topics/a?wait=50", true)
		synctest.Wait()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if got := p.got(1); !strings.Contains(got[strings.LastIndex(got, "$ping"):], "retry: ") {
			t.Errorf("event stream: %q", got)
		}
		if got := p.got(3); !strings.Contains(got, `"events":[]`) {
			t.Errorf("long-poll: %q", got)
		}
		for _, id := range []uint32{1, 3} {
			if code, over := p.reason(id); !over || code != http2.ErrCodeNo {
				t.Errorf("stream %d: %v, %v", id, code, over)
			}
		}
		if got := p.goAway(); got != "NO_ERROR" || !p.hasEnded() {
			t.Errorf("GOAWAY: %s, ended: %v", got, p.hasEnded())
		}
	})
}

// One request for another Host does not end the connection of many.
func TestMisdirectedHostOverHTTP2(t *testing.T) {
	withFrames(t, Config{}, func(t *testing.T, _ *Server, network *testnet.Network) {
		p := connectFrames(t, network)
		p.host = "evil.example"
		p.request(1, "GET", "/healthz", true)
		p.host = "localhost"
		p.request(3, "GET", "/healthz", true)
		if got := p.got(1); !strings.Contains(got, "misdirected-host") {
			t.Error(got)
		}
		if got := p.got(3); got != "ok\n" || p.goAway() != "none" {
			t.Errorf("%q, GOAWAY: %s", got, p.goAway())
		}
	})
}

// A client that resets faster than handlers end is cut off (CVE-2023-44487).
func TestFloodOfResets(t *testing.T) {
	withFrames(t, Config{MaxStreams: 10}, func(t *testing.T, s *Server, network *testnet.Network) {
		// Handlers that take their time. No request may be in s.progress.
		busy := make(chan struct{})
		running, most := 0, 0
		var mu sync.Mutex // guards both
		s.http.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			<-busy
			mu.Lock()
			running--
			mu.Unlock()
		})
		p := connectFrames(t, network)
		for i := range uint32(100) {
			p.request(2*i+1, "GET", "/topics/a?as=sse", true)
			p.write(p.framer.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
		}
		if got := p.goAway(); got != "ENHANCE_YOUR_CALM" {
			t.Errorf("GOAWAY: %s", got)
		}
		time.Sleep(2 * time.Second)
		if !p.hasEnded() {
			t.Error("it may go on")
		}
		close(busy)
		synctest.Wait()
		if most != 10 || running != 0 {
			t.Errorf("%d handlers at once, %d left", most, running)
		}
	})
}

// How many frames may bring nothing can be said; some are forgiven each second.
func TestMaxGlitches(t *testing.T) {
	withFrames(t, Config{MaxGlitches: 10}, func(t *testing.T, s *Server, network *testnet.Network) {
		p := connectFrames(t, network)
		ping := func(n int) {
			for range n {
				p.write(p.framer.WritePing(false, [8]byte{}))
			}
			synctest.Wait()
		}
		for range 3 {
			ping(8)
			time.Sleep(4 * time.Second)
		}
		if p.hasEnded() {
			t.Fatal("the connection has ended within the limit")
		}
		ping(11)
		if got := p.goAway(); got != "ENHANCE_YOUR_CALM" {
			t.Errorf("GOAWAY: %s", got)
		}
	})
}

// Floods of other frames do not fill the memory.
func TestFloodOfFrames(t *testing.T) {
	for name, flood := range map[string]func(p *framePeer) error{
		"CONTINUATION": func(p *framePeer) error { // CVE-2023-45288
			return p.framer.WriteContinuation(1, false, bytes.Repeat([]byte{0x00, 0x01, 'a', 0x00}, 1000))
		},
		"PING":     func(p *framePeer) error { return p.framer.WritePing(false, [8]byte{}) }, // CVE-2019-9512
		"SETTINGS": func(p *framePeer) error { return p.framer.WriteSettings() },             // CVE-2019-9515
		"empty DATA": func(p *framePeer) error { // CVE-2019-9518
			return p.framer.WriteData(1, false, nil)
		},
	} {
		withFrames(t, Config{MaxHeaderBytes: 8 << 10, WriteTimeout: 40 * time.Second}, func(t *testing.T, s *Server, network *testnet.Network) {
			p := connectFrames(t, network)
			other := connectFrames(t, network)
			if name == "CONTINUATION" {
				p.write(p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true}))
			} else {
				p.request(1, "POST", "/topics/a", false)
			}
			sent := 0
			for sent < 20_000 && flood(p) == nil {
				sent++
			}
			// What is answered and read, or dropped, may go on.
			if name == "CONTINUATION" && (sent > 100 || !p.hasEnded()) {
				t.Errorf("%s: %d frames", name, sent)
			}
			other.request(1, "GET", "/healthz", true)
			if got := other.got(1); got != "ok\n" {
				t.Errorf("%s: somebody else: %q", name, got)
			}
			p.conn.Close()
		})
	}
}

// A peer that is gone without a word is noticed by a ping.
func TestDeadHTTP2Peer(t *testing.T) {
	withFrames(t, Config{Ping: 25 * time.Second}, func(t *testing.T, s *Server, network *testnet.Network) {
		p := connectFrames(t, network)
		p.request(1, "GET", "/topics/a?as=sse", true)
		synctest.Wait()
		began := time.Now()
		<-p.ended
		if took := time.Since(began); took != 25*time.Second+pingAnswer {
			t.Errorf("cut after %v", took)
		}
		synctest.Wait()
		if p.pings != 1 || s.hub.Stats().Subscribers != 0 {
			t.Errorf("%d pings, %d subscribers", p.pings, s.hub.Stats().Subscribers)
		}
	})
}

// A peer that takes nothing at all loses its connection, not only a stream.
func TestStalledHTTP2Connection(t *testing.T) {
	withFrames(t, Config{WriteTimeout: 40 * time.Second}, func(t *testing.T, s *Server, network *testnet.Network) {
		conn, err := network.Dial(t.Context(), "tcp", DefaultListen)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
			t.Fatal(err)
		}
		if err := http2.NewFramer(conn, nil).WriteSettings(); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			after       time.Duration
			connections int
		}{{39 * time.Second, 1}, {2 * time.Second, 0}} {
			time.Sleep(test.after)
			synctest.Wait()
			if n := s.connections.count(); n != test.connections {
				t.Errorf("%d connections", n)
			}
		}
	})
}

// PROTOCOL.md §9.1: "headers above --max-header-bytes (431) ... Over HTTP/2 a
// single field above it ends the connection."
func TestHTTP2HeaderTooLarge(t *testing.T) {
	withFrames(t, Config{MaxHeaderBytes: 8 << 10}, func(t *testing.T, _ *Server, network *testnet.Network) {
		p := connectFrames(t, network)
		half := strings.Repeat("x", 6<<10)
		p.request(1, "GET", "/healthz", true, "a", half)
		p.request(3, "GET", "/healthz", true, "a", half, "b", half)
		p.request(5, "GET", "/healthz", true)
		for id, want := range map[uint32]string{1: "200", 3: "431", 5: "200"} {
			p.got(id)
			if got := p.status[id]; got != want {
				t.Errorf("stream %d: %s, want %s", id, got, want)
			}
		}
		p.request(7, "GET", "/healthz", true, "a", half+half)
		if got := p.goAway(); got != "COMPRESSION_ERROR" && got != "PROTOCOL_ERROR" {
			t.Errorf("GOAWAY: %s", got)
		}
		if p.status[7] != "" {
			t.Errorf("answered %s", p.status[7])
		}
	})
}

// Many event streams, and requests that publish, share a connection.
func TestManyStreams(t *testing.T) {
	const streams, events = 120, 30
	s, versions := everyVersion(t, &Config{})
	for _, v := range versions {
		if v.name == "HTTP/1.1" || v.name == "HTTP/1.1 over TLS" {
			continue
		}
		path := "/topics/" + v.topic()
		ctx, leave := context.WithCancel(t.Context())
		var reading sync.WaitGroup
		failures := make(chan error, streams)
		for range streams {
			response := v.doUntil(t, ctx, "GET", path+"?as=sse", "")
			reading.Go(func() {
				if n := count(response.Body, "data: hello", events); n != events {
					failures <- fmt.Errorf("%d events", n)
				}
			})
		}
		if n := s.connections.count(); n != 1 {
			t.Errorf("%s: %d connections", v.name, n)
		}
		var publishing sync.WaitGroup
		for range events {
			publishing.Go(func() { v.do(t, "POST", path, "hello") })
		}
		publishing.Wait()
		reading.Wait()
		close(failures)
		for err := range failures {
			t.Errorf("%s: %v", v.name, err)
		}
		if n := s.connections.count(); n != 1 {
			t.Errorf("%s: %d connections", v.name, n)
		}
		leave()
		eventually(t, "all have left", func() bool { return s.hub.Stats().Subscribers == 0 })
		eventually(t, "the connection is over", func() bool {
			v.transport.(interface{ CloseIdleConnections() }).CloseIdleConnections()
			return s.connections.count() == 0
		})
	}
}

// count reads until a text came so often.
func count(r io.Reader, text string, times int) int {
	var got []byte
	buf := make([]byte, 4<<10)
	for bytes.Count(got, []byte(text)) < times {
		n, err := r.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			break
		}
	}
	return bytes.Count(got, []byte(text))
}
