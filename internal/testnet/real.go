package testnet

import (
	"io"
	"net"
	"testing"
)

// Serve has each connection to an address of this machine handled, and then
// closed, until the test ends.
func Serve(t testing.TB, handle func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends when the listener is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends when handle returns
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// Tunnel is a proxy's part after it has agreed: it joins a client, of which r
// gives the bytes, and a server, until one of them ends.
func Tunnel(client net.Conn, r io.Reader, address string) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	go func() { // ends with the server's side, which is closed below
		io.Copy(client, server)
		client.Close()
	}()
	io.Copy(server, r)
	server.Close()
}
