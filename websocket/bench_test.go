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

// jsonMessage has 4 KiB.
func jsonMessage() []byte {
	var b []byte
	for i := 0; len(b) < 4<<10; i++ {
		b = fmt.Appendf(b, `{"id":%d,"name":"user-%d","email":"u%d@example.com","active":%v,"score":%d.%d},`, i, i*7919%10007, i*31%977, i%3 == 0, i*37%101, i%10)
	}
	return b[:4<<10]
}

// BenchmarkEchoJSON reads a message of 4 KiB and writes it.
func BenchmarkEchoJSON(b *testing.B) {
	message := jsonMessage()
	for name, form := range map[string]FrameForm{"plain": {}, "compressed": newFrameForm(&Compression{}, 15)} {
		b.Run(name, func(b *testing.B) {
			frame := form.AppendMessage(nil, Text, message)
			h, n, _ := wire.ParseHeader(frame)
			payload := frame[n:]
			h.Masked, h.Key = true, 0x12345678
			h.Key.Mask(payload)
			options := Options{MessageTimeout: -1}
			if form.Compressed() {
				options.deflate = newDeflate(&Compression{}, alone, wire.Server, 0)
			}
			c := newConn(&loop{data: append(wire.AppendHeader(nil, h), payload...)}, wire.Server, "", options, nil)
			var got []byte
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			for b.Loop() {
				_, got, _ = c.ReadAppend(context.Background(), got[:0])
				c.Write(context.Background(), Text, got)
			}
		})
	}
}

// BenchmarkBroadcast sends a message of 4 KiB to 1,000 connections.
func BenchmarkBroadcast(b *testing.B) {
	message := jsonMessage()
	for name, k := range map[string]*Compression{"plain": nil, "compressed": {}} {
		b.Run(name, func(b *testing.B) {
			connections := make([]*Conn, 1000)
			for i := range connections {
				var options Options
				if k != nil {
					options.deflate = newDeflate(k, alone, wire.Server, 0)
				}
				connections[i] = newConn(&loop{}, wire.Server, "", options, nil)
			}
			b.ReportAllocs()
			for b.Loop() {
				prepared, _ := Prepare(Text, message)
				for _, c := range connections {
					c.WritePrepared(context.Background(), prepared)
				}
			}
		})
	}
}

func BenchmarkPack(b *testing.B) {
	message := jsonMessage()
	for _, bits := range []int{15, 10} {
		for _, history := range []int{0, 4 << 10, 32 << 10} {
			b.Run(fmt.Sprintf("%d bits, %d bytes before", bits, history), func(b *testing.B) {
				d := newDeflate(&Compression{}, wire.Deflate{ServerMaxWindowBits: bits}, wire.Server, 0)
				d.remember(repeat(message, history/len(message)))
				out := borrowPacked()
				b.SetBytes(int64(len(message)))
				b.ReportAllocs()
				for b.Loop() {
					d.form.pack(out, d.history, message, true, len(message)-1)
				}
				b.ReportMetric(float64(len(out.b)), "bytes")
			})
		}
	}
}
