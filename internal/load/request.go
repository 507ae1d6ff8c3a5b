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

// appendOpening appends the request that opens a connection which is to
// receive.
func (r *run) appendOpening(dst []byte, via Transport, path string) []byte {
	switch via {
	case Raw, post:
		return dst
	case WebSocket:
		dst = fmt.Appendf(dst, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: %s\r\nSec-WebSocket-Key: %s\r\n", path, r.host, wire.Version, handshakeKey)
		if r.packed != nil {
			dst = append(dst, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"...)
		}
		return append(dst, "\r\n"...)
	}
	accept := "text/event-stream"
	if via == Stream {
		accept = "application/x-ndjson"
	}
	return fmt.Appendf(dst, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: %s\r\n\r\n", path, r.host, accept)
}

// template is what is sent for a message: only its number is new each time.
type template struct {
	bytes []byte
	at    int     // where the number is; negative if there is none
	mask  [4]byte // of the number's bytes
}

func (r *run) newTemplate(via Transport, path string, text bool) template {
	opcode := wire.Binary
	if text {
		opcode = wire.Text
	}
	switch {
	case via == Raw:
		return template{bytes: r.pattern}
	case via == post:
		head := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", path, r.host, len(r.pattern))
		return template{bytes: append(head, r.pattern...), at: len(head)}
	case r.packed != nil:
		frame := wire.AppendMaskedFrame(nil, opcode, true, maskKey, r.packed)
		frame[0] |= wire.RSV1 // RFC 7692 §6
		return template{bytes: frame, at: -1}
	}
	frame := wire.AppendMaskedFrame(nil, opcode, true, maskKey, r.pattern)
	t := template{bytes: frame, at: len(frame) - len(r.pattern)}
	maskKey.Mask(t.mask[:]) // zeros become the key
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
