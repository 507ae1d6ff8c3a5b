//go:build linux

package load_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/load"
)

// impatient is a listener that ends the first connections at once, as a server
// does whose patience with one that asks for nothing is over.
type impatient struct {
	net.Listener
	ends     int64
	accepted atomic.Int64
}

func (l *impatient) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.accepted.Add(1) > l.ends {
			return c, err
		}
		c.Close()
	}
}

func impatientDuplex(t *testing.T, ends int64) (address string, listener *impatient) {
	t.Helper()
	address = duplexOn(t, func(l net.Listener) net.Listener {
		listener = &impatient{Listener: l, ends: ends}
		return listener
	})
	return address, listener
}

// A publisher whose connection was ended before it had anything to publish has
// another one.
func TestPublisherIsCutOff(t *testing.T) {
	for name, run := range map[string]func(load.TopicOptions) (*load.Report, error){
		"fan-out": func(o load.TopicOptions) (*load.Report, error) { return load.Topic(t.Context(), o) },
		"slow readers": func(o load.TopicOptions) (*load.Report, error) {
			o.Messages, o.Bytes = 0, 1024
			return load.Stall(t.Context(), load.StallOptions{TopicOptions: o, Before: 20 * time.Millisecond, Stalled: 20 * time.Millisecond})
		},
	} {
		t.Run(name, func(t *testing.T) {
			address, listener := impatientDuplex(t, 1) // that of the publisher, which comes first
			options := briefly(address)
			options.Loops = 1
			r, err := run(load.TopicOptions{Options: options, Transports: []load.Transport{load.SSE}, Subscribers: 2, Bytes: 64})
			if err != nil {
				t.Fatal(err)
			}
			if r.Faults() != "" || r.Messages == 0 {
				t.Errorf("%d messages, %q", r.Messages, r.Faults())
			}
			if n := listener.accepted.Load(); n < 4 {
				t.Errorf("%d connections, want that of the publisher once more", n)
			}
		})
	}
}

// A publisher does not trust a connection that it has not used for long.
func TestStaleConnection(t *testing.T) {
	load.SetStaleAfter(t, 0)
	address, listener := impatientDuplex(t, 0)
	r, err := load.Topic(t.Context(), load.TopicOptions{
		Options: briefly(address), Transports: []load.Transport{load.SSE}, Subscribers: 2, Publishers: 2, Bytes: 64,
	})
	faultless(t, r, err)
	if n := uint64(listener.accepted.Load()); n < r.Published {
		t.Errorf("%d connections for %d events", n, r.Published)
	}
}
