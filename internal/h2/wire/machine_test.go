package wire

import (
	"strings"
	"testing"
	"time"
)

func TestGreeting(t *testing.T) {
	s := newScene(testConfig())
	s.want(t, "", "SETTINGS, WINDOW_UPDATE 0 65537")
	for i := range len(Preface) {
		s.receive(t, Preface[i:i+1])
	}
	if s.Greeted() {
		t.Error("before SETTINGS")
	}
	s.receive(t, settings())
	if s.want(t, "", "SETTINGS ACK"); !s.Greeted() {
		t.Error("not greeted")
	}
	s = newScene(testConfig())
	s.Machine = New(testConfig(), s, true) // the preface was read
	s.Out = nil
	s.receive(t, settings())
	s.want(t, "", "SETTINGS ACK")
}

func TestRequests(t *testing.T) {
	s := begun(t, testConfig())
	s.receive(t, frame(frameHeaders, whole, 1, get()))
	s.want(t, "1 GET /", "")
	s.receive(t, frame(frameHeaders, open, 3, post("content-length", "5")), frame(frameData, 0, 3, "he"), frame(frameData, flagEndStream|flagPadded, 3, "\x04llo\x00\x00\x00\x00"))
	s.want(t, "3 POST /, 3 data 2, 3 data 3, 3 end", "")
	s.receive(t, frame(frameHeaders, open, 5, post("trailer", "x")), frame(frameData, 0, 5, "a"), frame(frameHeaders, whole, 5, fields("x", "y")))
	s.want(t, "5 POST /, 5 data 1, 5 end, 5 trailer x", "")
	// In three frames, with a priority.
	block := get()
	s.receive(t, frame(frameHeaders, flagPriority|flagEndStream, 7, "\x00\x00\x00\x01\x10"+block[:3]), frame(frameContinuation, 0, 7, block[3:8]), frame(frameContinuation, flagEndHeaders, 7, block[8:]))
	s.want(t, "7 GET /", "")
	for _, id := range []uint32{1, 3, 5, 7} {
		s.Field(":status", "200", false)
		s.SendHeaders(s.streams[id], false)
		s.Offer(s.streams[id], []byte("hello"), true)
	}
	s.want(t, "", "HEADERS 1, DATA 1 5 END, HEADERS 3, DATA 3 5 END, HEADERS 5, DATA 5 5 END, HEADERS 7, DATA 7 5 END")
	if s.Open() != 0 || !s.streams[7].Over() {
		t.Errorf("%d streams", s.Open())
	}
}

// What ends a connection (RFC 9113 §5.4.1).
func TestFaults(t *testing.T) {
	headers := frame(frameHeaders, whole, 1, get())
	upload := frame(frameHeaders, open, 1, post())
	for _, test := range []struct {
		name, frames string
		want         Code
	}{
		{"a frame that is too long (§4.2)", string(appendHeader(nil, MaxFrame+1, frameData, 0, 1)), FrameSizeError},
		{"DATA of stream 0 (§6.1)", frame(frameData, 0, 0, "x"), ProtocolError},
		{"DATA of an idle stream (§5.1)", frame(frameData, 0, 1, "x"), ProtocolError},
		{"padding longer than DATA (§6.1)", upload + frame(frameData, flagPadded, 1, "\x05abc"), ProtocolError},
		{"padded without a length", upload + frame(frameData, flagPadded, 1, ""), FrameSizeError},
		{"HEADERS of stream 0 (§6.2)", frame(frameHeaders, whole, 0, get()), ProtocolError},
		{"HEADERS of an even stream (§5.1.1)", frame(frameHeaders, whole, 2, get()), ProtocolError},
		{"HEADERS of a lower stream (§5.1.1)", frame(frameHeaders, whole, 5, get()) + frame(frameHeaders, whole, 3, get()), StreamClosed},
		{"HEADERS after END_STREAM (§5.1)", headers + headers, StreamClosed},
		{"padding longer than HEADERS", frame(frameHeaders, whole|flagPadded, 1, "\xffa"), ProtocolError},
		{"half a priority", frame(frameHeaders, whole|flagPriority, 1, "\x00\x00"), FrameSizeError},
		{"a frame amid a block (§4.3)", frame(frameHeaders, flagEndStream, 1, get()) + frame(framePing, 0, 0, "12345678"), ProtocolError},
		{"another stream's CONTINUATION (§6.10)", frame(frameHeaders, flagEndStream, 1, get()) + frame(frameContinuation, flagEndHeaders, 3, ""), ProtocolError},
		{"CONTINUATION of nothing (§6.10)", frame(frameContinuation, flagEndHeaders, 1, get()), ProtocolError},
		{"CONTINUATION after END_HEADERS", headers + frame(frameContinuation, flagEndHeaders, 1, get()), ProtocolError},
		{"HPACK: index 0", frame(frameHeaders, whole, 1, "\x80"), CompressionError},
		{"HPACK: index beyond the table", frame(frameHeaders, whole, 1, "\xff\xff\xff\x0f"), CompressionError},
		{"HPACK: cut off", frame(frameHeaders, whole, 1, "\x00\x05ab"), CompressionError},
		{"HPACK: a field beyond the limit", frame(frameHeaders, whole, 1, fields("a", strings.Repeat("x", 5<<10))), CompressionError},
		{"PRIORITY of stream 0 (§6.3)", frame(framePriority, 0, 0, "\x00\x00\x00\x01\x10"), ProtocolError},
		{"PRIORITY that depends on itself", frame(framePriority, 0, 1, "\x00\x00\x00\x01\x10"), ProtocolError},
		{"PRIORITY of 4 bytes", frame(framePriority, 0, 1, "\x00\x00\x00\x01"), FrameSizeError},
		{"RST_STREAM of stream 0 (§6.4)", frame(frameReset, 0, 0, u32(8)), ProtocolError},
		{"RST_STREAM of an idle stream (§6.4)", frame(frameReset, 0, 1, u32(8)), ProtocolError},
		{"RST_STREAM of 3 bytes", headers + frame(frameReset, 0, 1, "\x00\x00\x08"), FrameSizeError},
		{"SETTINGS of a stream (§6.5)", frame(frameSettings, 0, 1, ""), ProtocolError},
		{"SETTINGS of 5 bytes", frame(frameSettings, 0, 0, "12345"), FrameSizeError},
		{"SETTINGS that acknowledge something", frame(frameSettings, flagAck, 0, "123456"), FrameSizeError},
		{"SETTINGS_ENABLE_PUSH 2", settings(settingEnablePush, 2), ProtocolError},
		{"SETTINGS_INITIAL_WINDOW_SIZE 2^31", settings(settingWindow, 1<<31), FlowControlError},
		{"SETTINGS_MAX_FRAME_SIZE 16383", settings(settingMaxFrame, 16383), ProtocolError},
		{"SETTINGS_MAX_FRAME_SIZE 2^24", settings(settingMaxFrame, 1<<24), ProtocolError},
		{"SETTINGS_ENABLE_CONNECT_PROTOCOL 2", settings(settingEnableConnect, 2), ProtocolError},
		{"SETTINGS that make a window too large (§6.9.2)", headers + frame(frameWindow, 0, 1, u32(maxWindow-initialWindow)) + settings(settingWindow, initialWindow+1), FlowControlError},
		{"PUSH_PROMISE (§8.4)", headers + frame(framePush, flagEndHeaders, 1, u32(2)+get()), ProtocolError},
		{"PING of a stream (§6.7)", frame(framePing, 0, 1, "12345678"), ProtocolError},
		{"PING of 7 bytes", frame(framePing, 0, 0, "1234567"), FrameSizeError},
		{"GOAWAY of a stream (§6.8)", frame(frameGoAway, 0, 1, u32(0)+u32(0)), ProtocolError},
		{"GOAWAY of 7 bytes", frame(frameGoAway, 0, 0, "1234567"), FrameSizeError},
		{"WINDOW_UPDATE by 0 (§6.9)", frame(frameWindow, 0, 0, u32(0)), ProtocolError},
		{"WINDOW_UPDATE of an idle stream (§5.1)", frame(frameWindow, 0, 1, u32(1)), ProtocolError},
		{"WINDOW_UPDATE of 3 bytes", frame(frameWindow, 0, 0, "123"), FrameSizeError},
		{"a connection's window of 2^31 (§6.9.1)", frame(frameWindow, 0, 0, u32(maxWindow)), FlowControlError},
		{"PRIORITY_UPDATE of a stream (RFC 9218 §7.1)", frame(framePriorityUpdate, 0, 1, u32(1)+"u=1"), ProtocolError},
		{"PRIORITY_UPDATE of stream 0", frame(framePriorityUpdate, 0, 0, u32(0)+"u=1"), ProtocolError},
		{"PRIORITY_UPDATE of a push that is none", frame(framePriorityUpdate, 0, 0, u32(2)+"u=1"), ProtocolError},
		{"PRIORITY_UPDATE of 3 bytes", frame(framePriorityUpdate, 0, 0, "123"), FrameSizeError},
	} {
		s := begun(t, testConfig())
		f := s.Receive([]byte(test.frames), 0)
		if f == nil || f.Code != test.want {
			t.Errorf("%s: %v, want %v", test.name, f, test.want)
			continue
		}
		last := sent(s.Out)
		if end := last[len(last)-1]; !strings.HasPrefix(end, "GOAWAY ") || !strings.HasSuffix(end, test.want.String()) {
			t.Errorf("%s: sent %s", test.name, last)
		}
		s.log, s.Out = nil, nil
		if f := s.Receive([]byte(frame(framePing, 0, 0, "12345678")), 0); f != nil || len(s.Out) > 0 || len(s.log) > 0 {
			t.Errorf("%s: it goes on: %v, %v", test.name, f, sent(s.Out))
		}
	}
	for name, first := range map[string]string{
		"HTTP/1.1":        "GET / HTTP/1.1\r\n\r\n",
		"no SETTINGS":     Preface + frame(framePing, 0, 0, "12345678"),
		"an ACK at first": Preface + frame(frameSettings, flagAck, 0, ""),
	} {
		if f := newScene(testConfig()).Receive([]byte(first), 0); f == nil || f.Code != ProtocolError {
			t.Errorf("%s: %v", name, f)
		}
	}
}

// What ends a stream, and leaves the connection (RFC 9113 §5.4.2).
func TestStreamFaults(t *testing.T) {
	upload := frame(frameHeaders, open, 1, post())
	for _, test := range []struct {
		name, frames string
		want         Code
	}{
		{"DATA after END_STREAM (§5.1)", frame(frameHeaders, whole, 1, post()) + frame(frameData, 0, 1, "x"), StreamClosed},
		{"DATA after RST_STREAM (§5.1)", upload + frame(frameReset, 0, 1, u32(8)) + frame(frameData, 0, 1, "x"), StreamClosed},
		{"DATA beyond the window (§6.9.1)", upload + strings.Repeat(frame(frameData, 0, 1, strings.Repeat("x", MaxFrame)), 5), FlowControlError},
		{"more than content-length (§8.1.1)", frame(frameHeaders, open, 1, post("content-length", "1")) + frame(frameData, 0, 1, "xx"), ProtocolError},
		{"less than content-length", frame(frameHeaders, open, 1, post("content-length", "3")) + frame(frameData, flagEndStream, 1, "xx"), ProtocolError},
		{"less, and a trailer", frame(frameHeaders, open, 1, post("content-length", "3")) + frame(frameHeaders, whole, 1, fields("a", "b")), ProtocolError},
		{"content-length without a body", frame(frameHeaders, whole, 1, post("content-length", "3")), ProtocolError},
		{"a trailer that does not end (§8.1)", upload + frame(frameHeaders, open, 1, fields("a", "b")), ProtocolError},
		{"a trailer with :path", upload + frame(frameHeaders, whole, 1, fields(":path", "/")), ProtocolError},
		{"HEADERS that depend on themselves", frame(frameHeaders, whole|flagPriority, 1, "\x00\x00\x00\x01\x10"+get()), ProtocolError},
		{"PRIORITY that depends on itself", upload + frame(framePriority, 0, 1, "\x00\x00\x00\x01\x10"), ProtocolError},
		{"PRIORITY of 4 bytes (§6.3)", upload + frame(framePriority, 0, 1, "1234"), FrameSizeError},
		{"WINDOW_UPDATE by 0 (§6.9)", upload + frame(frameWindow, 0, 1, u32(0)), ProtocolError},
		{"a window of 2^31 (§6.9.1)", upload + frame(frameWindow, 0, 1, u32(maxWindow)), FlowControlError},
		{"a malformed request (§8.1.1)", frame(frameHeaders, whole, 1, get("Upper", "x")), ProtocolError},
	} {
		s := begun(t, testConfig())
		s.keeps = true
		if f := s.Receive([]byte(test.frames), 0); f != nil {
			t.Errorf("%s: %v", test.name, f)
			continue
		}
		last := sent(s.Out)
		if len(last) == 0 || last[len(last)-1] != "RST_STREAM 1 "+test.want.String() {
			t.Errorf("%s: sent %s", test.name, last)
		}
		if s.Open() != 0 {
			t.Errorf("%s: %d streams are left", test.name, s.Open())
		}
		s.log, s.Out = nil, nil
		s.receive(t, frame(frameHeaders, whole, 3, get())) // the table of HPACK is right
		s.want(t, "3 GET /", "")
	}
}

// Whoever was reset may still have something under way (§5.1: "MUST ignore").
func TestAfterReset(t *testing.T) {
	s := begun(t, testConfig())
	s.receive(t, frame(frameHeaders, open, 1, post()))
	s.Machine.Reset(s.streams[1], Cancel)
	s.want(t, "1 POST /", "RST_STREAM 1 CANCEL")
	for range 5 { // the connection's window is given back
		s.receive(t, frame(frameData, 0, 1, strings.Repeat("x", MaxFrame)))
	}
	s.receive(t, frame(frameHeaders, whole, 1, fields("a", "b")), frame(frameWindow, 0, 1, u32(5)))
	s.want(t, "", "WINDOW_UPDATE 0 32768, WINDOW_UPDATE 0 32768")
	s.Machine.Reset(s.streams[1], Cancel) // once
	s.want(t, "", "")
	s.receive(t, frame(frameReset, 0, 1, u32(8)), frame(frameData, 0, 1, "x")) // who says so himself sends no more
	s.want(t, "", "RST_STREAM 1 STREAM_CLOSED")
}

func TestWindows(t *testing.T) {
	s := begun(t, testConfig())
	s.receive(t, settings(settingWindow, 10), frame(frameHeaders, whole, 1, get()), frame(frameHeaders, whole, 3, get()))
	s.want(t, "1 GET /, 3 GET /", "SETTINGS ACK")
	one, three := s.streams[1], s.streams[3]
	if n := s.Offer(one, make([]byte, 15), true); n != 10 {
		t.Errorf("%d bytes", n)
	}
	s.rest[1] = 5
	s.Fill()
	s.want(t, "", "DATA 1 10")
	if n := s.Offer(three, make([]byte, 7), false); n != 7 { // its sibling is stalled
		t.Errorf("%d bytes", n)
	}
	s.Out = nil
	s.receive(t, frame(frameWindow, 0, 1, u32(2)))
	s.Fill()
	s.want(t, "", "DATA 1 2")
	s.receive(t, settings(settingWindow, 5)) // now by less than nothing
	s.receive(t, frame(frameWindow, 0, 1, u32(4)))
	s.Fill()
	s.want(t, "", "SETTINGS ACK")
	s.receive(t, frame(frameWindow, 0, 1, u32(2)))
	s.Fill()
	s.want(t, "", "DATA 1 1")
	s.receive(t, settings(settingWindow, 20))
	s.Fill()
	s.want(t, "", "SETTINGS ACK, DATA 1 2")

	// The connection's window, which is 65,535.
	s = begun(t, testConfig())
	s.receive(t, settings(settingWindow, maxWindow), frame(frameHeaders, whole, 1, get()))
	s.Out = nil
	for left := 100_000; left > 0; {
		n := s.Offer(s.streams[1], make([]byte, left), false)
		s.Out = nil
		if left -= n; n == 0 {
			if s.rest[1] = left; left != 100_000-initialWindow {
				t.Errorf("%d bytes are left", left)
			}
			break
		}
	}
	if n := s.Offer(s.streams[1], nil, false); n != 0 || s.Waiting() {
		t.Error("there is room")
	}
	s.Offer(s.streams[1], make([]byte, s.rest[1]), false)
	s.receive(t, frame(frameWindow, 0, 0, u32(100)))
	s.Fill()
	s.want(t, "1 GET /", "DATA 1 100")
	s.Offer(s.streams[1], nil, true) // the end needs no window
	s.want(t, "", "DATA 1 0 END")
}

// While something is not sent, DATA stays where it is.
func TestBlocked(t *testing.T) {
	s := begun(t, testConfig())
	s.receive(t, settings(settingWindow, maxWindow), frame(frameWindow, 0, 0, u32(1<<20)), frame(frameHeaders, whole, 1, get()), frame(frameHeaders, whole, 3, get()))
	s.log, s.Out = nil, nil
	s.Blocked = true
	for _, id := range []uint32{1, 3} {
		if n := s.Offer(s.streams[id], make([]byte, 10), false); n != 0 {
			t.Errorf("%d bytes", n)
		}
		s.rest[id] = 10
	}
	s.Fill()
	s.want(t, "", "")
	s.Blocked = false
	s.Fill()
	s.want(t, "", "DATA 1 10, DATA 3 10")
	s.rest[1] = 1 << 20
	s.Offer(s.streams[1], make([]byte, 1<<20), false)
	s.Fill()
	if len(s.Out) < maxOut || len(s.Out) > maxOut+MaxFrame+headerBytes {
		t.Errorf("%d bytes", len(s.Out))
	}
	if !s.Waiting() {
		t.Error("it has more")
	}
}

// RFC 9218 §10.
func TestPriorities(t *testing.T) {
	s := begun(t, testConfig())
	s.receive(t, settings(settingWindow, maxWindow), frame(frameWindow, 0, 0, u32(1<<24)), frame(framePriorityUpdate, 0, 0, u32(9)+"u=0"))
	for i, p := range []string{"", "u=1", "u=1, i", "i, u=1", "u=7"} {
		s.receive(t, frame(frameHeaders, whole, uint32(2*i+1), get("priority", p)))
	}
	s.receive(t, frame(frameHeaders, whole, 11, get()), frame(framePriorityUpdate, 0, 0, u32(11)+"u=2"))
	s.log, s.Out = nil, nil
	s.Blocked = true
	for id, st := range s.streams {
		s.rest[id] = 2 * MaxFrame
		s.Offer(st, make([]byte, 2*MaxFrame), false)
	}
	s.receive(t, frame(framePriorityUpdate, 0, 0, u32(1)+"u=6")) // while it waits
	s.Blocked = false
	var order []string
	for {
		s.Fill()
		if len(s.Out) == 0 {
			break
		}
		for _, f := range sent(s.Out) {
			order = append(order, strings.Fields(f)[1])
		}
		s.Out = nil
	}
	// 9 first, by the update. Then those of urgency 1: 3, which is not
	// incremental, by turns with 5 and 7, whose order is that of the map above.
	got := strings.Join(order, " ")
	if !strings.HasPrefix(got, "9 9 3 ") || !strings.HasSuffix(got, " 11 11 1 1") || strings.Contains(got, "5 5") || strings.Contains(got, "7 7 7") {
		t.Error(got)
	}
}

func TestParsePriority(t *testing.T) {
	for text, want := range map[string]Priority{
		"":                {3, false},
		"u=0":             {0, false},
		"u=7, i":          {7, true},
		"i,u=5":           {5, true},
		"i=?0":            {3, false},
		"i=?1;x=1,u=2;y":  {2, true},
		"u=8":             {3, false},
		"u=-1":            {3, false},
		"u=1.5":           {3, false},
		"u=\"1\"":         {3, false},
		"foo, u=1, bar=2": {1, false},
		"u=1, u=2":        {2, false},
	} {
		if got := ParsePriority(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// RFC 9113 §6.8.
func TestGoAway(t *testing.T) {
	s := begun(t, testConfig())
	s.receive(t, frame(frameHeaders, whole, 1, get()))
	s.Announce()
	s.want(t, "1 GET /", "GOAWAY 2147483647 NO_ERROR")
	s.receive(t, frame(frameHeaders, open, 3, post()))
	s.Depart()
	s.Depart()
	s.want(t, "3 POST /", "GOAWAY 3 NO_ERROR")
	s.receive(t, frame(frameHeaders, open, 5, post()), frame(frameData, flagEndStream, 5, "x"), frame(frameData, flagEndStream, 3, "x"))
	s.want(t, "3 data 1, 3 end", "")
	if s.Left() {
		t.Error("it has not left")
	}
	s.receive(t, frame(frameGoAway, 0, 0, u32(0)+u32(0)+"bye"))
	if !s.Left() {
		t.Error("it has left")
	}
}

func TestPush(t *testing.T) {
	s := begun(t, testConfig())
	s.receive(t, frame(frameHeaders, whole, 1, get()))
	if !s.CanPush() {
		t.Fatal("it cannot")
	}
	s.Field(":method", "GET", false)
	pushed := s.Push(s.streams[1])
	s.Field(":status", "200", false)
	s.SendHeaders(pushed, false)
	s.Offer(pushed, []byte("x"), true)
	s.want(t, "1 GET /", "PUSH_PROMISE 1 2, HEADERS 2, DATA 2 1 END")
	s.receive(t, frame(frameReset, 0, 2, u32(8))) // too late
	s.Push(s.streams[1])
	s.receive(t, frame(frameReset, 0, 4, u32(8)))
	s.want(t, "4 reset CANCEL", "PUSH_PROMISE 1 4")
	s.receive(t, settings(settingEnablePush, 0))
	if s.CanPush() {
		t.Error("SETTINGS_ENABLE_PUSH 0")
	}
	s.receive(t, settings(settingEnablePush, 1, settingMaxStreams, 1))
	s.Push(s.streams[1])
	if s.CanPush() {
		t.Error("SETTINGS_MAX_CONCURRENT_STREAMS 1")
	}
}

// A block that is longer than a frame.
func TestLongAnswer(t *testing.T) {
	s := begun(t, testConfig())
	s.receive(t, frame(frameHeaders, whole, 1, get()))
	s.Field(":status", "200", false)
	s.Field("a", strings.Repeat("\x7f", 40<<10), true)
	s.SendHeaders(s.streams[1], true)
	got := strings.Join(sent(s.Out), ", ")
	if !strings.HasPrefix(got, "HEADERS 1 END, CONTINUATION 1, CONTINUATION 1") || parseHeader(s.Out).has(flagEndHeaders) {
		t.Error(got)
	}
}

func TestPing(t *testing.T) {
	s := begun(t, testConfig())
	s.receive(t, frame(framePing, 0, 0, "12345678"))
	s.want(t, "", "PING ACK")
	s.Ping()
	s.want(t, "", "PING")
	s.receive(t, frame(framePing, flagAck, 0, pingData))
	s.want(t, "pong", "")
}

func TestMaxStreams(t *testing.T) {
	config := testConfig()
	config.MaxStreams = 2
	s := begun(t, config)
	for id := uint32(1); id <= 5; id += 2 {
		s.receive(t, frame(frameHeaders, whole, id, get()))
	}
	s.want(t, "1 GET /, 3 GET /", "RST_STREAM 5 REFUSED_STREAM")
	s.receive(t, frame(frameReset, 0, 1, u32(8)), frame(frameHeaders, whole, 7, get()))
	s.want(t, "1 reset CANCEL, 7 GET /", "")
}

// Frames that bring nothing are limited, each kind alone. What is forgiven with
// time is not held against anybody.
func TestGlitches(t *testing.T) {
	upload := frame(frameHeaders, open, 1, post())
	next := uint32(1)
	for _, test := range []struct {
		name   string // and who has suffered
		before string
		flood  func() string
	}{
		{"PING (CVE-2019-9512)", "", func() string { return frame(framePing, 0, 0, "12345678") }},
		{"PING ACK", "", func() string { return frame(framePing, flagAck, 0, "12345678") }},
		{"SETTINGS (CVE-2019-9515)", "", func() string { return settings() }},
		{"SETTINGS ACK", "", func() string { return frame(frameSettings, flagAck, 0, "") }},
		{"empty DATA (CVE-2019-9518)", upload, func() string { return frame(frameData, 0, 1, "") }},
		{"DATA of padding only", upload, func() string { return frame(frameData, flagPadded, 1, "\x00") }},
		{"PRIORITY (CVE-2019-9513)", "", func() string { return frame(framePriority, 0, 1, "\x00\x00\x00\x03\x10") }},
		{"PRIORITY_UPDATE", "", func() string { return frame(framePriorityUpdate, 0, 0, u32(99)+"u=1") }},
		{"unknown frames", "", func() string { return frame(0xee, 0, 1, "x") }},
		{"WINDOW_UPDATE", upload, func() string { return frame(frameWindow, 0, 1, u32(1)) }},
		{"GOAWAY", "", func() string { return frame(frameGoAway, 0, 0, u32(0)+u32(0)) }},
		{"rapid reset (CVE-2023-44487)", "", func() string {
			next += 2
			return frame(frameHeaders, whole, next, get()) + frame(frameReset, 0, next, u32(8))
		}},
		{"MadeYouReset (CVE-2025-8671)", "", func() string {
			next += 2
			return frame(frameHeaders, whole, next, get()) + frame(frameWindow, 0, next, u32(0))
		}},
		{"malformed requests", "", func() string {
			next += 2
			return frame(frameHeaders, whole, next, fields("a", "b"))
		}},
	} {
		s := begun(t, testConfig())
		next = 1
		s.receive(t, test.before)
		n := 0
		for ; n < 1000; n++ {
			if f := s.Receive([]byte(test.flood()), time.Second); f != nil {
				if f.Code != EnhanceYourCalm {
					t.Errorf("%s: %v", test.name, f)
				}
				break
			}
		}
		if n < 40 || n > 101 {
			t.Errorf("%s: %d were taken", test.name, n)
		}

		s = begun(t, testConfig())
		next = 1
		s.receive(t, test.before)
		for i := range 1000 { // 5 a second
			if f := s.Receive([]byte(test.flood()), time.Duration(i)*200*time.Millisecond); f != nil {
				t.Errorf("%s: with pauses: %v after %d", test.name, f, i)
				break
			}
		}
	}
}

// A client may answer each frame of DATA by two window updates.
func TestWindowUpdatesAreOwed(t *testing.T) {
	s := begun(t, testConfig())
	s.receive(t, frame(frameHeaders, whole, 1, get()))
	for range 1000 {
		s.Offer(s.streams[1], []byte("x"), false)
		s.receive(t, frame(frameWindow, 0, 0, u32(1)), frame(frameWindow, 0, 1, u32(1)))
		s.Out = nil
	}
}

func TestHeaderLimits(t *testing.T) {
	s := begun(t, testConfig())
	large := strings.Repeat("x", 3000)
	s.receive(t, frame(frameHeaders, whole, 1, get("a", large)))
	s.want(t, "1 GET /", "")
	s.receive(t, frame(frameHeaders, whole, 3, get("a", large, "b", large)))
	s.want(t, "3 GET , 3 too large", "")
	// CVE-2016-6581: a field in the table, and thousands of references to it.
	bomb := "\x40\x01a\x7f\xb9\x16" + strings.Repeat("x", 3000) + strings.Repeat("\xbe", 4000)
	s.receive(t, frame(frameHeaders, whole, 5, get()+bomb))
	s.want(t, "5 GET , 5 too large", "")
	if cap(s.block.fields) > 200 {
		t.Errorf("%d fields are kept", cap(s.block.fields))
	}
	s.receive(t, frame(frameHeaders, whole, 7, get()))
	s.want(t, "7 GET /", "")

	// CVE-2024-27316: it does not end.
	s = begun(t, testConfig())
	s.receive(t, frame(frameHeaders, flagEndStream, 1, get()))
	bytes := 0
	for {
		more := fields("a", strings.Repeat("x", 100))
		if f := s.Receive([]byte(frame(frameContinuation, 0, 1, more)), 0); f != nil {
			if f.Code != EnhanceYourCalm {
				t.Error(f)
			}
			break
		}
		if bytes += len(more); bytes > 20<<10 {
			t.Fatal("it goes on and on")
		}
	}
	// And with frames that hold nothing.
	s = begun(t, testConfig())
	s.receive(t, frame(frameHeaders, flagEndStream, 1, get()))
	n := 0
	for ; s.Receive([]byte(frame(frameContinuation, 0, 1, "")), 0) == nil; n++ {
	}
	if n > 101 {
		t.Errorf("%d empty frames", n)
	}
}

// Whoever makes us answer has to read the answers.
func TestMaxUnsent(t *testing.T) {
	config := testConfig()
	config.MaxGlitches = 1 << 20
	s := begun(t, config)
	s.Blocked = true
	n := 0
	for ; s.Receive([]byte(frame(framePing, 0, 0, "12345678")), 0) == nil; n++ {
	}
	if most := config.MaxUnsent / (headerBytes + 8); n != most {
		t.Errorf("%d pings, want %d", n, most)
	}
}

func TestClose(t *testing.T) {
	s := begun(t, testConfig())
	s.receive(t, frame(frameHeaders, whole, 1, get()))
	s.Close()
	if n := s.Offer(s.streams[1], []byte("hello"), true); n != 5 || !s.streams[1].Over() || s.Open() != 0 {
		t.Errorf("%d bytes, %d streams", n, s.Open())
	}
	s.Machine.Reset(s.streams[1], Cancel)
	s.receive(t, frame(framePing, 0, 0, "12345678"))
	s.want(t, "1 GET /", "")
}

// At rest there is no buffer, whatever came.
func TestAtRest(t *testing.T) {
	s := begun(t, testConfig())
	f := frame(frameHeaders, whole, 1, get())
	s.receive(t, f[:5])
	s.receive(t, f[5:20])
	s.receive(t, f[20:])
	if s.partial != nil {
		t.Errorf("%d bytes", cap(s.partial))
	}
}
