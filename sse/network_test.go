package sse

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/duplexhq/duplex/internal/testnet"
)

const testAddress = "test:80"

// serve starts server at testAddress, and returns the network it is on and a
// client that finds it under any host, both for HTTP/1.1 unless
// server.Protocols says otherwise.
func serve(t *testing.T, server *http.Server) (*testnet.Network, *http.Client) {
	t.Helper()
	n := testnet.New(t)
	listener, err := n.Listen("tcp", testAddress)
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return n.Dial(ctx, network, testAddress)
	}
	transport := &http.Transport{DialContext: dial, Protocols: server.Protocols}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) }) // ends when the server is closed
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
