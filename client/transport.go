package client

import (
	"fmt"
	"slices"
)

// A Transport is a way for events to reach a subscriber (PROTOCOL.md §5.1).
type Transport string

const (
	WebSocket    Transport = "websocket"    // the subprotocol duplex.v1
	WebTransport Transport = "webtransport" // the same over HTTP/3: see Options.WebTransport
	SSE          Transport = "sse"
	Stream       Transport = "stream"
	Longpoll     Transport = "longpoll"
	Poll         Transport = "poll"
)

// preference is the order of PROTOCOL.md §15.1.
var preference = []Transport{WebSocket, WebTransport, SSE, Stream, Longpoll, Poll}

// shares reports whether subscriptions can share a connection.
func (t Transport) shares() bool { return t == WebSocket || t == WebTransport }

// preferred reports whether a comes before b in the list.
func preferred(list []Transport, a, b Transport) bool {
	return slices.Index(list, a) < slices.Index(list, b)
}

// allow gives the transports that a client may use: all that it has, if the
// user names none.
func (c *Client) allow(named []Transport) ([]Transport, error) {
	if len(named) == 0 {
		all := slices.Clone(preference)
		if c.opts.WebTransport == nil {
			all = slices.DeleteFunc(all, func(t Transport) bool { return t == WebTransport })
		}
		return all, nil
	}
	for i, t := range named {
		if !slices.Contains(preference, t) {
			return nil, fmt.Errorf("no transport %q", t)
		}
		if t == WebTransport && c.opts.WebTransport == nil {
			return nil, fmt.Errorf("transport %q: Options.WebTransport is not set", t)
		}
		if slices.Contains(named[:i], t) {
			return nil, fmt.Errorf("transport %q is named twice", t)
		}
	}
	return slices.Clone(named), nil
}
