package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// A scene is a machine whose events are written down.
type scene struct {
	*Machine
	log     []string
	streams map[uint32]*Stream
	rest    map[uint32]int // of what is to be sent
	keeps   bool           // bodies are not read
}

func testConfig() *Config {
	return &Config{
		MaxStreams: 10, MaxHeaderBytes: 4 << 10, StreamWindow: 64 << 10, ConnectionWindow: 128 << 10,
		MaxGlitches: 100, GlitchesPerSecond: 10, MaxUnsent: 8 << 10, Grow: slices.Grow[[]byte],
	}
}

func newScene(config *Config) *scene {
	s := &scene{streams: make(map[uint32]*Stream), rest: make(map[uint32]int)}
	s.Machine = New(config, s, false)
	return s
}

// begun is a connection that has begun.
func begun(t testing.TB, config *Config) *scene {
	t.Helper()
	s := newScene(config)
	if f := s.Receive([]byte(Preface+settings()), 0); f != nil {
		t.Fatal(f)
	}
	s.Out = nil
	return s
}

func (s *scene) note(format string, args ...any) { s.log = append(s.log, fmt.Sprintf(format, args...)) }

func (s *scene) Request(st *Stream, h *Head) {
	s.streams[st.ID()] = st
	s.note("%d %s %s", st.ID(), h.Method, h.Path)
	if h.TooLarge {
		s.note("%d too large", st.ID())
	}
}

func (s *scene) Data(st *Stream, p []byte) {
	s.note("%d data %d", st.ID(), len(p))
	if !s.keeps {
		s.Consume(st, len(p))
	}
}

func (s *scene) End(st *Stream, trailer []hpack.HeaderField) {
	s.note("%d end", st.ID())
	for _, f := range trailer {
		s.note("%d trailer %s", st.ID(), f.Name)
	}
}

func (s *scene) Reset(st *Stream, code Code) { s.note("%d reset %v", st.ID(), code) }

func (s *scene) Room(st *Stream) {
	s.rest[st.ID()] -= s.Offer(st, make([]byte, s.rest[st.ID()]), false)
}

func (s *scene) Pong() { s.note("pong") }

// frame makes a frame.
func frame(kind frameType, flags uint8, stream uint32, payload string) string {
	return string(appendHeader(nil, len(payload), kind, flags, stream)) + payload
}

func u32(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

func settings(pairs ...uint32) string {
	var p []byte
	for i := 0; i < len(pairs); i += 2 {
		p = appendSetting(p, uint16(pairs[i]), pairs[i+1])
	}
	return frame(frameSettings, 0, 0, string(p))
}

// fields encodes without the table.
func fields(list ...string) string {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(list); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1], Sensitive: true})
	}
	return b.String()
}

func get(extra ...string) string {
	return fields(append([]string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}, extra...)...)
}

func post(extra ...string) string {
	return fields(append([]string{":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/"}, extra...)...)
}

const (
	whole = flagEndHeaders | flagEndStream
	open  = flagEndHeaders
)

// sent reads frames as "HEADERS 1", "RST_STREAM 1 CANCEL".
func sent(out []byte) (list []string) {
	for len(out) >= headerBytes {
		h := parseHeader(out)
		p := out[headerBytes : headerBytes+h.length]
		out = out[headerBytes+h.length:]
		end := ""
		if h.has(flagEndStream) && (h.kind == frameData || h.kind == frameHeaders) {
			end = " END"
		}
		switch h.kind {
		case frameData:
			list = append(list, fmt.Sprintf("DATA %d %d%s", h.stream, h.length, end))
		case frameHeaders:
			list = append(list, fmt.Sprintf("HEADERS %d%s", h.stream, end))
		case frameReset:
			list = append(list, fmt.Sprintf("RST_STREAM %d %v", h.stream, Code(binary.BigEndian.Uint32(p))))
		case frameSettings:
			if h.has(flagAck) {
				list = append(list, "SETTINGS ACK")
			} else {
				list = append(list, "SETTINGS")
			}
		case framePing:
			list = append(list, "PING")
			if h.has(flagAck) {
				list[len(list)-1] += " ACK"
			}
		case frameGoAway:
			list = append(list, fmt.Sprintf("GOAWAY %d %v", int32(binary.BigEndian.Uint32(p)), Code(binary.BigEndian.Uint32(p[4:]))))
		case frameWindow:
			list = append(list, fmt.Sprintf("WINDOW_UPDATE %d %d", h.stream, binary.BigEndian.Uint32(p)))
		case framePush:
			list = append(list, fmt.Sprintf("PUSH_PROMISE %d %d", h.stream, binary.BigEndian.Uint32(p)))
		case frameContinuation:
			list = append(list, fmt.Sprintf("CONTINUATION %d", h.stream))
		}
	}
	return list
}

func (s *scene) want(t *testing.T, events, out string) {
	t.Helper()
	if got := strings.Join(s.log, ", "); got != events {
		t.Errorf("events: %s\nwant: %s", got, events)
	}
	if got := strings.Join(sent(s.Out), ", "); got != out {
		t.Errorf("sent: %s\nwant: %s", got, out)
	}
	s.log, s.Out = nil, nil
}

func (s *scene) receive(t *testing.T, frames ...string) {
	t.Helper()
	if f := s.Receive([]byte(strings.Join(frames, "")), time.Second); f != nil {
		t.Fatal(f)
	}
}
