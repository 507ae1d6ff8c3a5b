package load

import (
	"fmt"
	"slices"
	"strings"
)

// Transport is the way that messages travel.
type Transport int

const (
	WebSocket Transport = iota // without a subprotocol of ours
	SSE
	Stream   // JSON lines
	Raw      // nothing but messages: the floor that no protocol can go below
	DuplexV1 // WebSocket with the subprotocol duplex.v1
	LongPoll
	SSEOverHTTP2 // streams that share connections: see TopicOptions.Streams
	post         // publishes by HTTP requests
	socket       // publishes over a WebSocket with duplex.v1
)

var transportNames = [...]string{"websocket", "sse", "stream", "raw", "duplex.v1", "longpoll", "h2-sse", "post", "socket"}

func (t Transport) String() string { return transportNames[t] }

// upgrades reports whether the connection becomes a WebSocket.
func (t Transport) upgrades() bool { return t == WebSocket || t == DuplexV1 || t == socket }

// form is how messages look.
func (t Transport) form() Transport {
	if t == SSEOverHTTP2 {
		return SSE
	}
	return t
}

// Transports gives those that a topic can be read over, in HTTP/1.1.
func Transports() []Transport { return []Transport{WebSocket, DuplexV1, SSE, Stream, LongPoll} }

// ParseTransports reads names that are joined by "+": a mix, which subscribers
// take in turn.
func ParseTransports(text string) (mix []Transport, err error) {
	for name := range strings.SplitSeq(text, "+") {
		t := Transport(slices.Index(transportNames[:], name))
		if all := append(Transports(), SSEOverHTTP2); !slices.Contains(all, t) {
			return nil, fmt.Errorf("no transport is called %q: there are %v, and mixes of them as in sse+websocket", name, all)
		}
		mix = append(mix, t)
	}
	return mix, nil
}
