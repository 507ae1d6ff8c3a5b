package websocket

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// "Hello World" as eleven frames of a byte: 77 bytes on the wire of a client, and one message.
func TestElevenFrames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent, received []FrameEvent
		server, client := pair(t, Options{})
		client.observe = func(e FrameEvent) { sent = append(sent, e) }
		server.observe = func(e FrameEvent) { received = append(received, e) }
		var wg sync.WaitGroup
		wg.Go(func() {
			w, err := client.Writer(t.Context(), Text)
			if err != nil {
				t.Error(err)
				return
			}
			for _, char := range "Hello World" {
				w.(interface{ Flush() error }).Flush()
				io.WriteString(w, string(char))
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
		_, message, err := server.Read(t.Context())
		if string(message) != "Hello World" {
			t.Errorf("got %q, %v", message, err)
		}
		wg.Wait()
		bytes := 0
		for i, e := range received {
			h := wire.Header{Masked: e.Masked, Length: e.Length}
			bytes += len(wire.AppendHeader(nil, h)) + int(e.Length)
			if e.Fin != (i == 10) || (e.Opcode == wire.Continuation) != (i > 0) || !e.Masked || e.Sent || e.Payload != nil {
				t.Errorf("frame %d: %+v", i, e)
			}
			if s := sent[i]; !s.Sent || s.Opcode != e.Opcode || s.Length != e.Length || s.Fin != e.Fin || !s.Masked {
				t.Errorf("frame %d was sent as %+v", i, s)
			}
		}
		if len(received) != 11 || len(sent) != 11 || bytes != 77 {
			t.Errorf("%d frames, %d sent, %d bytes", len(received), len(sent), bytes)
		}
	})
}

func TestObserveSeesEveryFrame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		c, p := against(t, wire.Server, Options{Observe: func(e FrameEvent) {
			direction := "in"
			if e.Sent {
				direction = "out"
			}
			seen = append(seen, fmt.Sprintf("%v %s %v %d %q", time.Since(e.Time), direction, e.Opcode, e.Length, e.Payload))
		}})
		go p.drop()
		frames := AppendMessage(AppendMessage(nil, Text, []byte("a")), Binary, []byte("bc"))
		if err := c.WriteFrames(t.Context(), frames, AppendMessage(nil, Text, []byte("def"))); err != nil {
			t.Fatal(err)
		}
		p.does(func() {
			p.send(wire.Ping, true, "p")
			p.send(wire.Text, true, "text")
			p.send(wire.Close, true, "\x03\xe8")
		})
		c.Read(t.Context())
		c.Read(t.Context())
		want := []string{
			`0s out text 1 ""`, `0s out binary 2 ""`, `0s out text 3 ""`,
			`0s in ping 1 "p"`, `0s out pong 1 "p"`, `0s in text 4 ""`,
			`0s in close 2 "\x03\xe8"`, `0s out close 2 "\x03\xe8"`,
		}
		if !slices.Equal(seen, want) {
			t.Errorf("got %q, want %q", seen, want)
		}
	})
}
