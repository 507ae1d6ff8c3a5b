//go:build linux

package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"sync"
)

// hub knows just enough of HTTP to be driven like a server of events: each body
// that is posted goes to all that have asked for an event stream or a
// WebSocket.
type hub struct {
	loop     *loop
	coalesce bool // what was posted within a turn of the loop leaves in one send
	helpers  []chan parcel
	sending  sync.WaitGroup
	forms    [2][]byte // what is to be sent, by form
}

// A form is how a subscriber takes messages.
type form int8

const (
	formNone form = iota - 1 // it is no subscriber
	formStream
	formFrames
)

// parcel is a share of the members, and what they are sent.
type parcel struct {
	members []*conn
	forms   [2][]byte
}

const maxRequestBytes = 16 << 20

var errRequest = errors.New("not a request that a hub has an answer to")

// newHub makes a hub that sends by so many threads, the loop's own among them.
func newHub(l *loop, coalesce bool, threads int) *hub {
	h := &hub{loop: l, coalesce: coalesce}
	for range threads - 1 {
		parcels := make(chan parcel)
		h.helpers = append(h.helpers, parcels)
		go func() { // ends with the process
			runtime.LockOSThread()
			for p := range parcels {
				h.deliver(p)
				h.sending.Done()
			}
		}()
	}
	return h
}

// take answers the requests that have arrived.
func (h *hub) take(c *conn, b []byte) error {
	if c.form != formNone {
		return nil // a pong or so
	}
	if len(c.held) > 0 {
		c.held = append(c.held, b...)
		b = c.held
	}
	for len(b) > 0 {
		n, err := h.request(c, b)
		if err != nil {
			return err
		}
		if n == 0 {
			if len(b) > maxRequestBytes {
				return errRequest
			}
			c.held = append(c.held[:0], b...)
			return nil
		}
		b = b[n:]
	}
	c.held = c.held[:0]
	return nil
}

// request answers the request at the beginning of b, which has n bytes; 0 if it
// is incomplete.
func (h *hub) request(c *conn, b []byte) (n int, err error) {
	head, body, complete := bytes.Cut(b, []byte("\r\n\r\n"))
	if !complete {
		return 0, nil
	}
	n = len(head) + 4
	switch {
	case bytes.HasPrefix(head, []byte("POST ")):
		length, err := strconv.Atoi(field(head, "Content-Length"))
		if err != nil || length < 0 || length > maxRequestBytes {
			return 0, errRequest
		}
		if len(body) < length {
			return 0, nil
		}
		if err := h.loop.send(c, []byte("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")); err != nil {
			return 0, err
		}
		h.publish(body[:length])
		return n + length, nil
	case !bytes.HasPrefix(head, []byte("GET ")):
		return 0, errRequest
	}
	if key := field(head, "Sec-WebSocket-Key"); key != "" {
		const magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455 §1.3
		sum := sha1.Sum([]byte(key + magic))
		c.form = formFrames
		return n, h.loop.send(c, fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:])))
	}
	c.form = formStream
	return n, h.loop.send(c, []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"))
}

// field gives a header field, named as the generator writes it.
func field(head []byte, name string) string {
	_, after, found := bytes.Cut(head, []byte("\r\n"+name+": "))
	if !found {
		return ""
	}
	value, _, _ := bytes.Cut(after, []byte("\r\n"))
	return string(value)
}

func (h *hub) publish(body []byte) {
	h.forms[formStream] = fmt.Appendf(h.forms[formStream], "data: %s\n\n", body)
	h.forms[formFrames] = appendFrame(h.forms[formFrames], body)
	if !h.coalesce {
		h.flush()
	}
}

// appendFrame appends a text message (RFC 6455 §5.2).
func appendFrame(dst, payload []byte) []byte {
	n := len(payload)
	switch {
	case n < 126:
		dst = append(dst, 0x81, byte(n))
	case n < 1<<16:
		dst = append(dst, 0x81, 126, byte(n>>8), byte(n))
	default:
		dst = append(dst, 0x81, 127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(dst, payload...)
}

// flush sends to all subscribers, and returns when it is done.
func (h *hub) flush() {
	if len(h.forms[formStream]) == 0 {
		return
	}
	members := h.loop.members
	share := (len(members) + len(h.helpers)) / (len(h.helpers) + 1)
	for i, helper := range h.helpers {
		h.sending.Add(1)
		helper <- parcel{members[min((i+1)*share, len(members)):min((i+2)*share, len(members))], h.forms}
	}
	h.deliver(parcel{members[:min(share, len(members))], h.forms})
	h.sending.Wait()
	for i := len(members) - 1; i >= 0; i-- { // who is removed is replaced by one that was seen
		if c := members[i]; c.broken {
			h.loop.remove(c)
		}
	}
	h.forms[formStream], h.forms[formFrames] = h.forms[formStream][:0], h.forms[formFrames][:0]
}

func (h *hub) deliver(p parcel) {
	for _, c := range p.members {
		if c.form != formNone {
			c.broken = h.loop.send(c, p.forms[c.form]) != nil
		}
	}
}

// listen turns the loop into a hub.
func (h *hub) listen(out io.Writer, address string) error {
	h.loop.handle, h.loop.ending = h.take, h.flush
	return h.loop.listen(out, address)
}
