package websocket_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/duplexhq/duplex/websocket"
	"github.com/duplexhq/duplex/websocket/wire"
)

// countingConn counts the writes that reach the network.
type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

type countingListener struct {
	net.Listener
	writes atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{conn, &l.writes}, nil
}

// With Options.Cork, the answers to what was received together leave together,
// in order, and none waits for a message that is not there yet.
func TestCork(t *testing.T) {
	const messages = 16
	for _, cork := range []bool{false, true} {
		t.Run(fmt.Sprintf("cork=%v", cork), func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Options: websocket.Options{Cork: cork}})
				if err != nil {
					return
				}
				defer c.CloseNow()
				for {
					kind, data, err := c.Read(context.Background())
					if err != nil {
						return
					}
					if c.Write(context.Background(), kind, data) != nil {
						return
					}
				}
			}))
			listener := &countingListener{Listener: server.Listener}
			server.Listener = listener
			server.Start()
			defer server.Close()
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			// Bytes that come with the handshake are frames: the server has them all at once.
			sent := []byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
			var want []byte
			for i := range messages {
				text := fmt.Append(nil, "message ", i)
				want = wire.AppendFrame(want, wire.Text, true, text)
				sent = wire.AppendMaskedFrame(sent, wire.Text, true, wire.Key(i), text)
			}
			if _, err := conn.Write(sent); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(conn)
			if _, err := http.ReadResponse(in, nil); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(in, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got %q, %v", got, err)
			}
			wantWrites := int64(1 + messages) // the 101, and each answer
			if cork {
				wantWrites = 2
			}
			if n := listener.writes.Load(); n != wantWrites {
				t.Errorf("%d writes, want %d", n, wantWrites)
			}
			// One message alone is answered at once.
			alone := []byte("alone")
			if _, err := conn.Write(wire.AppendMaskedFrame(nil, wire.Text, true, 7, slices.Clone(alone))); err != nil {
				t.Fatal(err)
			}
			got = got[:2+len(alone)]
			if _, err := io.ReadFull(in, got); err != nil || string(got[2:]) != "alone" {
				t.Fatalf("got %q, %v", got, err)
			}
		})
	}
}
