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

// ListenBoth takes a port of 127.0.0.1 for connections and for datagrams.
func ListenBoth() (net.Listener, *net.UDPConn, error) {
	var others []net.Listener // whose number is taken for datagrams
	defer func() {
		for _, l := range others {
			l.Close()
		}
	}()
	for {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		at := listener.Addr().(*net.TCPAddr)
		packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: at.IP, Port: at.Port})
		if err == nil {
			return listener, packets, nil
		}
		if others = append(others, listener); len(others) == 100 {
			return nil, nil, err
		}
	}
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
