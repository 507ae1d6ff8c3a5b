package main

import (
	"net"
	"testing"

	"github.com/duplexhq/duplex/internal/testnet"
)

// Who ends a server that still waits for NATS is obeyed at once, and told why there
// was nothing else to end.
func TestServeIsStoppedBeforeTheLogIsOpen(t *testing.T) {
	asked := make(chan struct{}, 10) // and more
	silent := testnet.Serve(t, func(conn net.Conn) {
		asked <- struct{}{}
		_, _ = conn.Read(make([]byte, 1)) // until the client is gone
	})
	p := begin(t, nil, "serve", "--nats", "nats://"+silent, "--listen", "127.0.0.1:0")
	<-asked
	p.stop()
	p.end(exitInterrupted)
	if text := p.err.String(); text != "duplex: stopped before the log in NATS was open\n" {
		t.Errorf("%q", text)
	}
}
