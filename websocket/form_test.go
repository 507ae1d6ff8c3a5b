package websocket

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"unsafe"

	"github.com/duplexhq/duplex/websocket/wire"
)

// A message is compressed once for all connections of a form, and every connection can read what
// it is sent.
func TestPreparedForms(t *testing.T) {
	t.Parallel()
	payload := bytes.Repeat([]byte(strings.Join(strings.Split("a message that goes to all of them", ""), "_")), 300)
	copy(payload[5000:], payload[:200])
	message, err := Prepare(Text, payload)
	if err != nil {
		t.Fatal(err)
	}
	frames := map[FrameForm][]byte{}
	for _, params := range []wire.Deflate{
		alone,
		{ServerNoContextTakeover: true, ServerMaxWindowBits: 15, ClientMaxWindowBits: 8},
		{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}, // takeover
		{ServerMaxWindowBits: 8, ClientMaxWindowBits: 15},
		{ServerNoContextTakeover: true, ServerMaxWindowBits: 11, ClientMaxWindowBits: 15},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, client := compressedPair(t, params, Compression{}, Options{})
			form := server.FrameForm()
			frame := message.FrameIn(form)
			if shared := frames[form]; shared != nil && unsafe.SliceData(shared) != unsafe.SliceData(frame) {
				t.Errorf("%+v: compressed again", params)
			}
			frames[form] = frame
			if !form.Compressed() || frame[0] != 0xc1 || len(frame) > len(payload)/4 {
				t.Errorf("%+v: a frame of %d bytes that begins with %x", params, len(frame), frame[0])
			}
			if own := form.AppendMessage(nil, Text, payload); !bytes.Equal(own, frame) {
				t.Errorf("%+v: the hub's frame is another", params)
			}
			for range 3 {
				go func() {
					server.Write(t.Context(), Text, payload)
					server.WritePrepared(t.Context(), message)
					server.Write(t.Context(), Text, payload)
				}()
				for range 3 {
					if _, got, err := client.Read(t.Context()); !bytes.Equal(got, payload) {
						t.Fatalf("%+v: got %d bytes, %v", params, len(got), err)
					}
				}
			}
		})
	}
	if len(frames) != 3 {
		t.Errorf("%d forms", len(frames))
	}
}

func TestPlainForm(t *testing.T) {
	t.Parallel()
	server, _ := pair(t, Options{})
	long := bytes.Repeat([]byte("long "), 100)
	message, _ := Prepare(Text, long)
	form := server.FrameForm()
	if form != (FrameForm{}) || form.Compressed() || !bytes.Equal(message.FrameIn(form), message.Frame()) ||
		!bytes.Equal(form.AppendMessage([]byte("x"), Text, long), AppendMessage([]byte("x"), Text, long)) {
		t.Errorf("form %+v", form)
	}
	packed := newFrameForm(&Compression{}, 15)
	for _, short := range [][]byte{nil, []byte("short"), long[:255]} {
		if !bytes.Equal(packed.AppendMessage(nil, Text, short), AppendMessage(nil, Text, short)) {
			t.Errorf("%q is compressed", short)
		}
	}
}

func TestFrameInFromManyGoroutines(t *testing.T) {
	t.Parallel()
	message, _ := Prepare(Text, bytes.Repeat([]byte("many "), 1000))
	var wg sync.WaitGroup
	frames := make([][]byte, 100)
	for i := range frames {
		wg.Go(func() { frames[i] = message.FrameIn(newFrameForm(&Compression{}, 8+i%8)) })
	}
	wg.Wait()
	for i := 8; i < len(frames); i++ {
		if unsafe.SliceData(frames[i]) != unsafe.SliceData(frames[i-8]) {
			t.Error("compressed twice")
		}
	}
}

// strict fails for a frame of a server that refers further back than the window has.
func strict(t *testing.T, frame []byte, windowBits int, want []byte) {
	t.Helper()
	m := wire.NewMachine(wire.Config{Role: wire.Client, Inflation: &wire.Inflation{
		WindowBits: windowBits,
		Lend:       func() *wire.Inflater { return new(wire.Inflater) },
		Return:     func(*wire.Inflater) {},
	}})
	var got []byte
	for rest := slices.Clone(frame); ; {
		event, n, err := m.Next(rest)
		if err != nil {
			t.Fatalf("%d bits: %v", windowBits, err)
		}
		if event.Kind == wire.More {
			break
		}
		got = append(got, event.Payload...)
		rest = rest[n:]
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d bits: %d bytes of %d", windowBits, len(got), len(want))
	}
}

// RFC 7692 §7.1.2.1: a server "MUST NOT use a LZ77 sliding window of more than" what was agreed.
func TestWindowIsHonoured(t *testing.T) {
	t.Parallel()
	for _, bits := range windows() {
		for _, level := range []int{1, 5, 9} {
			form := newFrameForm(&Compression{Level: level}, bits)
			compressed := 0
			for _, message := range samples() {
				frame := form.AppendMessage(nil, Binary, message)
				strict(t, frame, bits, message)
				if frame[0]&wire.RSV1 != 0 {
					compressed++
				}
			}
			if compressed < 10 {
				t.Errorf("%d bits, level %d: %d messages compressed", bits, level, compressed)
			}
		}
	}
	// The test would notice: this one refers 300 bytes back.
	far := fmt.Appendf(nil, "%0300d", 7)
	for i := range far {
		far[i] = byte(i*i>>2 ^ i)
	}
	far = append(far, far[:100]...)
	m := wire.NewMachine(wire.Config{Role: wire.Client, Inflation: &wire.Inflation{
		WindowBits: 8,
		Lend:       func() *wire.Inflater { return new(wire.Inflater) },
		Return:     func(*wire.Inflater) {},
	}})
	if _, _, err := m.Next(newFrameForm(&Compression{}, 9).AppendMessage(nil, Binary, far)); err == nil {
		t.Error("a window of 512 bytes passes for 256")
	}
}
