package testnet

import (
	"io"
	"net"
	"sync"
)

// A Path carries the bytes of one connection between its ends, as a proxy does:
// it reads from each what is meant for the other. It may hold bytes back,
// change them, answer itself or go silent; and it may take its time, in a
// bubble that of the bubble. When one end is closed or cut, reads from it and
// writes to it fail. When the path returns, both ends are closed: so it ends a
// connection, and it must return when the ends have failed.
type Path func(client, server net.Conn)

// Relay is the path that does nothing of its own. It holds up to 32 KiB in each
// direction, so that who writes need not wait for who reads.
func Relay(client, server net.Conn) {
	var up sync.WaitGroup
	up.Go(func() { forward(server, client) })
	forward(client, server)
	up.Wait()
}

// forward ends both connections when one has ended and its bytes are delivered.
func forward(to, from net.Conn) {
	_, _ = io.Copy(to, from) // any error is the end
	to.Close()
	from.Close()
}

// CutAfter is a path that ends when so many bytes have come from the server.
func CutAfter(bytes int64) Path {
	return func(client, server net.Conn) {
		Relay(client, &limited{server, io.LimitReader(server, bytes)})
	}
}

// A limited connection has an end earlier than it would have.
type limited struct {
	net.Conn
	reader io.Reader
}

func (l *limited) Read(p []byte) (int, error) { return l.reader.Read(p) }
