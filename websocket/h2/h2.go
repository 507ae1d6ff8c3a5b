// Package h2 has the HTTP/2 servers of net/http offer WebSockets (RFC 8441), which they do not by
// themselves. Import it for that alone:
//
//	import _ "github.com/duplexhq/duplex/websocket/h2"
//
// It holds for all servers of the process. Browsers then open every WebSocket to them over HTTP/2,
// if they have an HTTP/2 connection: handlers that know nothing of extended CONNECT, reverse
// proxies among them, would refuse all of those. So it is for the program to decide, not for a
// library. Whoever runs it can still say no with GODEBUG=http2xconnect=0.
package h2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/duplexhq/duplex/websocket/h2/internal/xconnect"
)

func init() { xconnect.Restore() } // net/http, which is imported, has read the variable

// Enabled reports whether servers do offer WebSockets. The switch is not a promise of net/http's;
// who relies on it should look when the program starts.
func Enabled() bool { return enabled() }

var enabled = sync.OnceValue(func() bool {
	client, server := net.Pipe()
	l := make(listener, 1)
	l <- server
	s := &http.Server{Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	var serving sync.WaitGroup
	serving.Go(func() { s.Serve(l) }) // Ends by Close. Joined below.
	defer serving.Wait()
	defer s.Close()
	client.SetDeadline(time.Now().Add(time.Minute))
	settings, err := firstSettings(client)
	return err == nil && offers(settings)
})

// firstSettings gives the payload of the frame that a server begins with (RFC 9113 §3.4).
func firstSettings(conn net.Conn) ([]byte, error) {
	defer conn.Close()
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		return nil, err
	}
	var head [9]byte // RFC 9113 §4.1: length in 3 bytes, type, flags, stream in 4
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	if frameType := head[3]; frameType != 4 {
		return nil, errors.New("not SETTINGS")
	}
	settings := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err := io.ReadFull(conn, settings)
	return settings, err
}

// offers looks for SETTINGS_ENABLE_CONNECT_PROTOCOL with the value 1 (RFC 8441 §3).
func offers(settings []byte) bool {
	want := binary.BigEndian.AppendUint32([]byte{0, 8}, 1)
	for ; len(settings) >= len(want); settings = settings[len(want):] {
		if bytes.HasPrefix(settings, want) {
			return true
		}
	}
	return false
}

// listener gives the connections in it, and waits for its end.
type listener chan net.Conn

func (l listener) Accept() (net.Conn, error) {
	conn, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (l listener) Close() error {
	close(l) // http.Server calls it once
	return nil
}

func (listener) Addr() net.Addr { return &net.TCPAddr{} }
