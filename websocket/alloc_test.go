package websocket

import (
	"context"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

func TestAllocations(t *testing.T) {
	c := looped(wire.Server, wire.AppendMaskedFrame(nil, Text, true, 0x12345678, []byte("thirty-two bytes of a message...")))
	message := make([]byte, 0, 64)
	frames := [][]byte{AppendMessage(nil, Text, []byte("one")), AppendMessage(nil, Text, []byte("two"))}
	prepared, _ := Prepare(Text, []byte("three"))
	params := wire.Deflate{ServerMaxWindowBits: 12, ClientMaxWindowBits: 12}
	packed := newFrameForm(&Compression{}, 12).AppendMessage(nil, Text, jsonMessage())
	receiver := looped(wire.Client, packed)
	receiver.deflate = newDeflate(&Compression{}, params, wire.Client, 0)
	receiver.in.machine = wire.NewMachine(wire.Config{Role: wire.Client, Inflation: receiver.deflate.inflation(wire.Client)})
	compressing, remembering := looped(wire.Server, nil), looped(wire.Server, nil)
	compressing.deflate = newDeflate(&Compression{}, alone, wire.Server, 0)
	remembering.deflate = newDeflate(&Compression{}, params, wire.Server, 0)
	long, inflated := jsonMessage(), make([]byte, 0, 8<<10)
	for name, f := range map[string]func() error{
		"ReadAppend":             func() error { return third(c.ReadAppend(context.Background(), message[:0])) },
		"Write":                  func() error { return c.Write(context.Background(), Text, message[:32]) },
		"ReadAppend, compressed": func() error { return third(receiver.ReadAppend(context.Background(), inflated[:0])) },
		"Write, compressed":      func() error { return compressing.Write(context.Background(), Text, long) },
		"Write, with takeover":   func() error { return remembering.Write(context.Background(), Text, long) },
		"WriteFrames of one":     func() error { return c.WriteFrames(context.Background(), frames[0]) },
		"WriteFrames of two":     func() error { return c.WriteFrames(context.Background(), frames...) },
		"WritePrepared":          func() error { return c.WritePrepared(context.Background(), prepared) },
		"Write with a timeout":   func() error { c.writeTimeout = time.Hour; return c.Write(context.Background(), Binary, message) },
		"ReadAppend when idle is bounded": func() error {
			c.SetReadIdle(time.Hour)
			return third(c.ReadAppend(context.Background(), message[:0]))
		},
	} {
		// The race detector makes sync.Pool forget things at random.
		if n := testing.AllocsPerRun(1000, func() {
			if err := f(); err != nil {
				t.Fatal(err)
			}
		}); n != 0 && !raceEnabled {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func third[A, B any](_ A, _ B, err error) error { return err }
