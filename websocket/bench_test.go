package websocket

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// loop is a net.Conn that gives the same bytes for ever, and takes any.
type loop struct {
	net.Conn
	data []byte
	at   int
}

func (l *loop) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k := copy(p[n:], l.data[l.at:])
		n += k
		if l.at += k; l.at == len(l.data) {
			l.at = 0
		}
	}
	return n, nil
}

func (l *loop) Write(p []byte) (int, error)      { return len(p), nil }
func (l *loop) Close() error                     { return nil }
func (l *loop) SetReadDeadline(time.Time) error  { return nil }
func (l *loop) SetWriteDeadline(time.Time) error { return nil }
func looped(role wire.Role, frame []byte) *Conn {
	return newConn(&loop{data: frame}, role, "", Options{MessageTimeout: -1}, nil)
}

var sizes = []int{32, 1 << 10, 64 << 10}

func BenchmarkRead(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c := looped(wire.Server, wire.AppendMaskedFrame(nil, Binary, true, 0x12345678, make([]byte, size)))
			var message []byte
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				_, message, _ = c.ReadAppend(context.Background(), message[:0])
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c := looped(wire.Server, wire.AppendMaskedFrame(nil, Binary, true, 0x12345678, make([]byte, size)))
			p := make([]byte, 32<<10)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				_, r, _ := c.Reader(context.Background())
				for {
					if _, err := r.Read(p); err == io.EOF {
						break
					}
				}
			}
		})
	}
}

func BenchmarkWrite(b *testing.B) {
	for role, name := range []string{wire.Server: "server", wire.Client: "client"} {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				c := looped(wire.Role(role), nil)
				payload := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					c.Write(context.Background(), Binary, payload)
				}
			})
		}
	}
}

func BenchmarkWriteFrames(b *testing.B) {
	for _, count := range []int{1, 8} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			c := looped(wire.Server, nil)
			frames := make([][]byte, count)
			for i := range frames {
				frames[i] = AppendMessage(nil, Text, make([]byte, 128))
			}
			b.ReportAllocs()
			for b.Loop() {
				c.WriteFrames(context.Background(), frames...)
			}
		})
	}
}
