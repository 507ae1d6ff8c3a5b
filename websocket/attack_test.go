package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// What a peer does wrong ends in a close frame that says so, and in the end of the
// connection.
func TestFaultsCloseTheConnection(t *testing.T) {
	t.Parallel()
	length := func(n uint64) string { return string(binary.BigEndian.AppendUint64([]byte{0x82, 0x7f}, n)) }
	for _, test := range []struct {
		name  string
		role  wire.Role
		bytes string
		code  CloseCode
	}{
		{"unmasked frame from a client", wire.Server, "\x81\x05Hello", 1002},
		{"masked frame from a server", wire.Client, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 1002},
		{"length 2^63-1", wire.Client, length(1<<63 - 1), 1009},
		{"length 2^63", wire.Client, length(1 << 63), 1002},
		{"length 2^64-1", wire.Client, length(1<<64 - 1), 1002},
		{"length not minimal", wire.Client, length(65535), 1002},
		{"1 MiB and a byte", wire.Client, length(1<<20 + 1), 1009},
		{"fragments that overflow", wire.Client, "\x02\x01x\x80\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 1009},
		{"RSV1 on text", wire.Client, "\xc1\x00", 1002},
		{"RSV1 on a ping", wire.Client, "\xc9\x00", 1002},
		{"RSV1 on a continuation", wire.Client, "\x01\x00\xc0\x00", 1002},
		{"RSV2", wire.Client, "\xa2\x00", 1002},
		{"RSV3", wire.Client, "\x92\x00", 1002},
		{"reserved opcode", wire.Client, "\x83\x00", 1002},
		{"reserved control opcode", wire.Client, "\x8b\x00", 1002},
		{"ping of 126 bytes", wire.Client, "\x89\x7e\x00\x7e", 1002},
		{"fragmented ping", wire.Client, "\x09\x00", 1002},
		{"continuation of nothing", wire.Client, "\x80\x00", 1002},
		{"message inside a message", wire.Client, "\x01\x00\x81\x00", 1002},
		{"text not UTF-8", wire.Client, "\x81\x02\xc3\x28", 1007},
		{"text not UTF-8, in the middle of a message", wire.Client, "\x01\x7e\x10\x00abc\xff", 1007},
		{"close with half a code", wire.Client, "\x88\x01\x03", 1002},
		{"close with a code that may not be sent", wire.Client, "\x88\x02\x03\xee", 1002},
		{"close with a reason not UTF-8", wire.Client, "\x88\x03\x03\xe8\xff", 1007},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, p := against(t, test.role, Options{})
			go io.WriteString(p.conn, test.bytes)
			p.does(func() {
				h, payload, err := p.next()
				if err != nil || h.Opcode != wire.Close || len(payload) < 2 || CloseCode(binary.BigEndian.Uint16([]byte(payload))) != test.code {
					t.Errorf("%s: peer got %+v %q, %v", test.name, h, payload, err)
				}
				p.wantEnd()
			})
			_, _, err := c.Read(t.Context())
			wantClosed(t, err, test.code, false)
			_, _, again := c.Read(t.Context())
			if again != err {
				t.Errorf("%s: then %v", test.name, again)
			}
			if err := c.Close(CloseNormal, ""); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: close: %v", test.name, err)
			}
		})
	}
}

// script is a net.Conn that gives bytes, in pieces of at most so many, and then waits until it is
// closed. It takes anything.
type script struct {
	net.Conn
	data   []byte
	piece  int
	closed chan struct{}
}

func scripted(t *testing.T, role wire.Role, options Options, data []byte, piece int) *Conn {
	t.Helper()
	c := newConn(&script{data: data, piece: piece, closed: make(chan struct{})}, role, "", options, nil)
	t.Cleanup(c.CloseNow)
	return c
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		<-s.closed
		return 0, net.ErrClosed
	}
	n := copy(p[:min(len(p), s.piece)], s.data)
	s.data = s.data[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}

// CVE-2026-48779: 131,072 fragments of a byte, and no end, on 50 connections.
func TestManyTinyFragments(t *testing.T) {
	t.Parallel()
	one := wire.AppendMaskedFrame(nil, wire.Continuation, false, 1, []byte("x"))
	attack := append(wire.AppendMaskedFrame(nil, Binary, false, 1, nil), repeat(one, 131072)...)
	for range 50 {
		c := scripted(t, wire.Server, Options{}, slices.Clone(attack), 1<<20)
		_, partial, err := c.ReadAppend(t.Context(), nil)
		wantClosed(t, err, ClosePolicyViolation, false)
		if len(partial) > wire.MaxFragments || cap(partial) > 4*wire.MaxFragments {
			t.Fatalf("%d bytes held for %d of message", cap(partial), len(partial))
		}
	}
}

// A length that is announced costs no memory.
func TestAnnouncedLengthIsNotAllocated(t *testing.T) {
	t.Parallel()
	frame := wire.AppendMaskedFrame(nil, Binary, true, 1, make([]byte, 1<<20))
	synctest.Test(t, func(t *testing.T) {
		c := scripted(t, wire.Server, Options{}, frame[:100], 100)
		go func() {
			time.Sleep(time.Second)
			c.conn.Close()
		}()
		_, partial, err := c.ReadAppend(t.Context(), nil)
		if err == nil || cap(partial) > 3*bufferBytes {
			t.Errorf("%d bytes held for %d of message, %v", cap(partial), len(partial), err)
		}
	})
}

func TestMessagesInPieces(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ size, fragment, piece int }{
		{24, 24, 1}, {24, 1, 1}, {125, 7, 1}, {126, 126, 1}, {65535, 65535, 1}, {65536, 1000, 1}, {300000, 300000, 1},
		{1 << 20, 8191, 8193}, {4 << 20, 4 << 20, 4093}, {64 << 20, 1 << 20, 100000},
	} {
		if raceEnabled && test.size > 4<<20 {
			continue // every byte is watched, which takes 10 seconds
		}
		text := strings.Repeat("äöü world ", test.size/10+1)
		text = strings.ToValidUTF8(text[:test.size], "?")
		var data []byte
		for at, opcode := 0, Text; at < len(text); opcode = wire.Continuation {
			end := min(at+test.fragment, len(text))
			data = wire.AppendMaskedFrame(data, opcode, end == len(text), wire.Key(at*77777), []byte(text[at:end]))
			data = wire.AppendMaskedFrame(data, wire.Ping, true, 5, []byte("between"))
			at = end
		}
		c := scripted(t, wire.Server, Options{ReadLimit: 64 << 20}, data, test.piece)
		if messageType, got, err := c.Read(t.Context()); messageType != Text || string(got) != text {
			t.Errorf("%+v: got %v, %d bytes, %v", test, messageType, len(got), err)
		}
	}
}

func TestReadLimit(t *testing.T) {
	t.Parallel()
	big := wire.AppendMaskedFrame(nil, Binary, true, 1, make([]byte, 1<<20+1))
	for name, set := range map[string]func() *Conn{
		"option": func() *Conn { return scripted(t, wire.Server, Options{ReadLimit: 1<<20 + 1}, slices.Clone(big), 1<<20) },
		"none":   func() *Conn { return scripted(t, wire.Server, Options{ReadLimit: -1}, slices.Clone(big), 1<<20) },
		"setter": func() *Conn {
			c := scripted(t, wire.Server, Options{}, slices.Clone(big), 1<<20)
			c.SetReadLimit(1<<20 + 1)
			return c
		},
	} {
		if _, message, err := set().Read(t.Context()); len(message) != 1<<20+1 {
			t.Errorf("%s: got %d bytes, %v", name, len(message), err)
		}
	}
	c := scripted(t, wire.Server, Options{ReadLimit: 10}, slices.Clone(big), 1<<20)
	_, _, err := c.Read(t.Context())
	wantClosed(t, err, CloseTooBig, false)
}

// 100 goroutines write 1,000 messages each, others ping, and in the end both sides
// close.
func TestManyGoroutines(t *testing.T) {
	t.Parallel()
	const writers, messages = 100, 1000
	c := dial(t, serve(t, &AcceptOptions{Options: Options{Keepalive: Keepalive{Interval: 5 * time.Millisecond, Timeout: time.Minute}}}, echo), nil)
	failed := make(chan error, writers+10)
	done := make(chan struct{}, writers+10)
	for w := range writers {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range messages {
				if err := c.Write(context.Background(), Text, fmt.Appendf(nil, "%d %d", w, i)); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	for range 10 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 20 {
				if _, err := c.Ping(context.Background()); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	read := make(chan error, 1)
	go func() {
		var next [writers]int
		var message []byte
		for range writers * messages {
			var err error
			if _, message, err = c.ReadAppend(context.Background(), message[:0]); err != nil {
				read <- err
				return
			}
			var w, i int
			if _, err := fmt.Sscan(string(message), &w, &i); err != nil || i != next[w] {
				read <- fmt.Errorf("got %q, want %d of writer %d, %v", message, next[w], w, err)
				return
			}
			next[w]++
		}
		read <- nil
		c.Read(context.Background()) // for the pongs and the close
	}()
	for range writers + 10 {
		<-done
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	for range 10 {
		go func() { done <- struct{}{}; c.Write(context.Background(), Text, []byte("late")) }()
	}
	for range 10 {
		<-done
	}
	if err := c.Close(CloseNormal, "enough"); err != nil {
		t.Error(err)
	}
}
