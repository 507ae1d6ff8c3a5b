//go:build linux

package load

import (
	"fmt"

	"github.com/duplexhq/duplex/websocket/wire"
)

// The generator always sends the same handshake and masks with the same key:
// nobody is to be protected here, and frames can be made beforehand.
const (
	handshakeKey = "ZHVwbGV4IGxvYWQgdGVzdA=="
	maskKey      = wire.Key(0x9A3C71E5)
)

var acceptKey = wire.AcceptKey(handshakeKey)

// appendOpening appends the request that opens a connection to a path, over a
// transport that needs no more than that.
func (r *run) appendOpening(dst []byte, via Transport, path string) []byte {
	s := Subscription{Path: path}
	switch via {
	case Raw, post:
		return dst
	case SSE:
		s.Header = "Accept: text/event-stream\r\n"
	case Stream:
		s.Header = "Accept: application/x-ndjson\r\n"
	}
	return r.appendGet(dst, via, &s)
}

// appendSubscription appends the request that opens c.
func (r *run) appendSubscription(dst []byte, c *conn) []byte {
	return r.appendGet(dst, c.via, c.subscription)
}

func (r *run) appendGet(dst []byte, via Transport, s *Subscription) []byte {
	dst = append(dst, "GET "...)
	dst = append(dst, s.Path...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, r.host...)
	dst = append(dst, "\r\n"...)
	if via.upgrades() {
		dst = fmt.Appendf(dst, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: %s\r\nSec-WebSocket-Key: %s\r\n", wire.Version, handshakeKey)
		if r.packed != nil {
			dst = append(dst, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"...)
		}
	}
	dst = append(dst, s.Header...)
	return append(dst, "\r\n"...)
}

// template is what is sent for a message: only its number is new each time.
type template struct {
	bytes []byte
	at    int     // where the number is; negative if there is none
	mask  [4]byte // of the number's bytes
}

// newTemplate gives the template of a message that is sent as it is.
func (r *run) newTemplate(via Transport, text bool) template {
	opcode := wire.Binary
	if text {
		opcode = wire.Text
	}
	if via == Raw {
		return template{bytes: r.pattern}
	}
	if r.packed != nil {
		frame := wire.AppendMaskedFrame(nil, opcode, true, maskKey, r.packed)
		frame[0] |= wire.RSV1 // RFC 7692 §6
		return template{bytes: frame, at: -1}
	}
	return newFrame(opcode, r.pattern, 0)
}

// newFrame gives the template of a masked frame whose payload has the number
// at a place.
func newFrame(opcode wire.Opcode, payload []byte, at int) template {
	frame := wire.AppendMaskedFrame(nil, opcode, true, maskKey, payload)
	t := template{bytes: frame, at: len(frame) - len(payload) + at}
	mask := make([]byte, at%4+len(t.mask))
	maskKey.Mask(mask) // zeros become the key
	copy(t.mask[:], mask[at%4:])
	return t
}

// append appends the message with that number.
func (t *template) append(dst []byte, number uint64) []byte {
	start := len(dst)
	dst = append(dst, t.bytes...)
	if t.at < 0 {
		return dst
	}
	digits := dst[start+t.at:][:MinBytes]
	putNumber(digits, number)
	for i := range digits {
		digits[i] ^= t.mask[i%len(t.mask)]
	}
	return dst
}

// request is what publishes a number of messages at once.
type request struct {
	head []byte
	item template
}

// newRequest makes a publication of so many messages.
func (r *run) newRequest(by Publishing, p *Publication, count int) request {
	item := append(append([]byte(p.Before), r.pattern...), p.After...)
	if by == Socket {
		return request{item: newFrame(wire.Text, item, len(p.Before))}
	}
	method := p.Method
	if method == "" {
		method = "POST"
	}
	head := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n%s", method, p.Path, r.host, p.Header)
	if method == "GET" {
		return request{head: append(head, "\r\n"...), item: template{at: -1}}
	}
	head = fmt.Appendf(head, "Content-Length: %d\r\n\r\n", count*len(item))
	return request{head: head, item: template{bytes: item, at: len(p.Before)}}
}

// append appends the messages with the numbers from first on.
func (q *request) append(dst []byte, first uint64, count int) []byte {
	dst = append(dst, q.head...)
	for i := range count {
		dst = q.item.append(dst, first+uint64(i))
	}
	return dst
}
