package websocket

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/duplexhq/duplex/websocket/wire"
)

func TestWriteFramesJoins(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 100, "large": 20000} {
		url := serve(t, nil, func(c *Conn) {
			var frames [][]byte
			for i := range 100 {
				frames = append(frames, AppendMessage(nil, Binary, repeat([]byte{byte(i)}, size)))
			}
			c.WriteFrames(context.Background(), frames[:1]...)
			c.WriteFrames(context.Background())
			c.WriteFrames(context.Background(), frames[1:]...)
			c.Close(CloseNormal, "")
		})
		c := dial(t, url, nil)
		for i := range 100 {
			if _, message, err := c.Read(t.Context()); len(message) != size || message[size-1] != byte(i) {
				t.Fatalf("%s: message %d: %d bytes, %v", name, i, len(message), err)
			}
		}
	}
	// The same over what is no TCP connection.
	synctest.Test(t, func(t *testing.T) {
		server, client := pair(t, Options{})
		frames := [][]byte{AppendMessage(nil, Binary, make([]byte, 20000)), AppendMessage(nil, Text, []byte("end"))}
		go server.WriteFrames(t.Context(), frames...)
		client.Read(t.Context())
		if _, message, err := client.Read(t.Context()); string(message) != "end" {
			t.Errorf("got %q, %v", message, err)
		}
		if err := client.WriteFrames(t.Context(), frames...); err == nil {
			t.Error("a client sends what is not masked")
		}
	})
}

func TestAppendPing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server, client := pair(t, Options{})
		go client.Read(t.Context())
		got := make(chan FrameEvent, 1)
		server.observe = func(e FrameEvent) {
			if e.Opcode == wire.Pong {
				got <- e
			}
		}
		go server.Read(t.Context())
		if err := server.WriteFrames(t.Context(), AppendPing(nil)); err != nil {
			t.Fatal(err)
		}
		if e := <-got; e.Sent || e.Length != 0 {
			t.Errorf("got %+v", e)
		}
	})
}

func TestPrepared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		payload := []byte("prepared")
		message, err := Prepare(Text, payload)
		if err != nil {
			t.Fatal(err)
		}
		payload[0] = 'X'
		server, client := pair(t, Options{})
		for range 3 {
			for _, way := range [][2]*Conn{{server, client}, {client, server}} {
				go way[0].WritePrepared(t.Context(), message)
				if messageType, got, err := way[1].Read(t.Context()); messageType != Text || string(got) != "prepared" {
					t.Errorf("got %v %q, %v", messageType, got, err)
				}
			}
		}
		if string(message.Frame()) != "\x81\x08prepared" {
			t.Errorf("frame %q", message.Frame())
		}
	})
}
