package sse

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
)

// network is a server's listener and the only way to it, in memory, so that
// everything runs on the clock of a synctest bubble.
type network struct {
	dialed chan net.Conn
	closed chan struct{}
	close  sync.Once

	// wrap, if not nil, replaces the server's end of each connection.
	wrap func(net.Conn) net.Conn
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case conn := <-n.dialed:
		return conn, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	n.close.Do(func() { close(n.closed) })
	return nil
}

func (n *network) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	if n.wrap != nil {
		server = n.wrap(server)
	}
	select {
	case n.dialed <- server:
		return client, nil
	case <-n.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// serve starts server and returns the network it is on and a client for it,
// both for HTTP/1.1 unless server.Protocols says otherwise.
func serve(t *testing.T, server *http.Server) (*network, *http.Client) {
	t.Helper()
	n := &network{dialed: make(chan net.Conn), closed: make(chan struct{})}
	transport := &http.Transport{DialContext: n.dial, Protocols: server.Protocols}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(n) }) // ends when the server is closed
	t.Cleanup(func() {
		_ = server.Close()
		running.Wait()
		transport.CloseIdleConnections()
	})
	return n, &http.Client{Transport: transport}
}

// overHTTP2 is for cleartext with prior knowledge.
func overHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}
