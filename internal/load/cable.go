//go:build linux

package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A cable is a connection of HTTP/2 that carries several subscriptions. The
// first of them has the socket.
type cable struct {
	streams []*conn // stream 2i+1 is that of streams[i]
	decoder *hpack.Decoder
	status  string // of the header that was decoded last
	head    []byte // of a frame, as far as it has come
	left    int    // of its payload
	payload []byte // as far as it has come; not of DATA
	taken   int    // bytes of DATA since the last WINDOW_UPDATE of the connection
}

const (
	// maxHTTP2Window is as large as a window can be: nothing is held up.
	maxHTTP2Window = 1<<31 - 1
	http2Initial   = 65535
	// A window is opened again when so much has come.
	http2Reopen = 1 << 30

	frameHeadBytes = 9 // RFC 9113 §4.1: length (24), type, flags, stream (32)
)

func newCable() *cable {
	k := new(cable)
	k.decoder = hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == ":status" {
			k.status = f.Value
		}
	})
	return k
}

func appendFrame(dst []byte, kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) []byte {
	n := len(payload)
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n), byte(kind), byte(flags))
	return append(binary.BigEndian.AppendUint32(dst, stream), payload...)
}

func appendWindow(dst []byte, stream, more uint32) []byte {
	return appendFrame(dst, http2.FrameWindowUpdate, 0, stream, binary.BigEndian.AppendUint32(nil, more))
}

// appendGreeting begins a connection.
func appendGreeting(dst []byte) []byte {
	dst = append(dst, http2.ClientPreface...)
	window := binary.BigEndian.AppendUint16(nil, uint16(http2.SettingInitialWindowSize))
	dst = appendFrame(dst, http2.FrameSettings, 0, 0, binary.BigEndian.AppendUint32(window, maxHTTP2Window))
	return appendWindow(dst, 0, maxHTTP2Window-http2Initial)
}

// appendStream begins the next stream: for c, whose subscription is known.
func (k *cable) appendStream(dst []byte, r *run, c *conn) []byte {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	field := func(name, value string) {
		// A buffer takes everything. All connections send the same: without a table.
		_ = e.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: true})
	}
	field(":method", "GET")
	field(":scheme", "http")
	field(":authority", r.host)
	field(":path", c.subscription.Path)
	for line := range strings.SplitSeq(c.subscription.Header, "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			field(strings.ToLower(name), strings.TrimSpace(value))
		}
	}
	k.streams = append(k.streams, c)
	id := uint32(2*len(k.streams) - 1)
	return appendFrame(dst, http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, id, block.Bytes())
}

// gather gives subscriptions over HTTP/2 their cables: so many each, one after
// the other.
func (l *loop) gather(each int) {
	var carrier *conn
	n := 0
	for _, c := range l.conns {
		if c.via != SSEOverHTTP2 {
			continue
		}
		if n%max(each, 1) == 0 {
			carrier = c
			c.cable = newCable()
		}
		c.carrier = carrier
		n++
	}
}

// join opens a subscription on a cable, once that is there.
func (l *loop) join(c *conn) error {
	if c.carrier.state == connecting {
		return nil // the carrier comes back
	}
	l.out = l.out[:0]
	l.begin(c)
	return l.send(c.carrier, l.out)
}

// begin appends the request of c to out.
func (l *loop) begin(c *conn) {
	l.run.work.request(nil, c) // for its subscription
	c.state = shaking
	c.http = new(httpState)
	l.out = c.carrier.cable.appendStream(l.out, l.run, c)
}

// plugged begins a connection, and all that wait for it.
func (l *loop) plugged(carrier *conn) error {
	l.out = appendGreeting(l.out[:0])
	for _, c := range l.conns[:l.begun] {
		if c.carrier == carrier && c.state == connecting {
			l.begin(c)
		}
	}
	return l.send(carrier, l.out)
}

// takeCable takes what was read from a carrier.
func (l *loop) takeCable(carrier *conn, b []byte) error {
	k := carrier.cable
	for len(b) > 0 {
		if len(k.head) < frameHeadBytes {
			n := min(len(b), frameHeadBytes-len(k.head))
			k.head = append(k.head, b[:n]...)
			b = b[n:]
			if len(k.head) < frameHeadBytes {
				return nil
			}
			k.left = int(k.head[0])<<16 | int(k.head[1])<<8 | int(k.head[2])
		}
		kind, flags := http2.FrameType(k.head[3]), http2.Flags(k.head[4])
		stream := binary.BigEndian.Uint32(k.head[5:])
		n := min(len(b), k.left)
		piece := b[:n]
		b = b[n:]
		k.left -= n
		if kind == http2.FrameData {
			if err := l.takeData(carrier, stream, flags, piece); err != nil {
				return err
			}
		} else if k.payload = append(k.payload, piece...); len(k.payload) > maxHeadBytes {
			return errors.New("a frame is too long")
		}
		if k.left > 0 {
			return nil
		}
		k.head = k.head[:0]
		if kind != http2.FrameData {
			if err := l.takeFrame(carrier, kind, flags, stream, k.payload); err != nil {
				return err
			}
			k.payload = k.payload[:0]
		} else if flags.Has(http2.FlagDataEndStream) {
			return errEnded
		}
	}
	return nil
}

// of gives whose stream it is.
func (k *cable) of(stream uint32) (*conn, error) {
	if i := int(stream / 2); stream%2 == 1 && i < len(k.streams) {
		return k.streams[i], nil
	}
	return nil, fmt.Errorf("there is no stream %d", stream)
}

func (l *loop) takeData(carrier *conn, stream uint32, flags http2.Flags, piece []byte) error {
	k := carrier.cable
	c, err := k.of(stream)
	switch {
	case err != nil:
		return err
	case flags.Has(http2.FlagDataPadded):
		return errors.New("DATA is padded")
	}
	l.out = l.out[:0]
	if k.taken += len(piece); k.taken >= http2Reopen {
		l.out = appendWindow(l.out, 0, uint32(k.taken))
		k.taken = 0
	}
	if c.streamed += len(piece); c.streamed >= http2Reopen {
		l.out = appendWindow(l.out, stream, uint32(c.streamed))
		c.streamed = 0
	}
	if len(l.out) > 0 {
		if err := l.send(carrier, l.out); err != nil {
			return err
		}
	}
	if err := l.takeLines(c, piece); err != nil {
		return err
	}
	if len(c.http.lines.held) > maxLineBytes {
		return errors.New("line is too long")
	}
	return nil
}

func (l *loop) takeFrame(carrier *conn, kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) error {
	k := carrier.cable
	switch kind {
	case http2.FrameHeaders:
		c, err := k.of(stream)
		if err != nil {
			return err
		}
		if _, err := k.decoder.Write(payload); err != nil || !flags.Has(http2.FlagHeadersEndHeaders) || flags.Has(http2.FlagHeadersPadded|http2.FlagHeadersPriority) {
			return fmt.Errorf("the header of an answer: %v", err)
		}
		if k.status != "200" || flags.Has(http2.FlagHeadersEndStream) {
			return fmt.Errorf("the server has answered %s", k.status)
		}
		l.opened(c)
	case http2.FrameSettings:
		if !flags.Has(http2.FlagSettingsAck) {
			return l.send(carrier, appendFrame(nil, http2.FrameSettings, http2.FlagSettingsAck, 0, nil))
		}
	case http2.FramePing:
		if !flags.Has(http2.FlagPingAck) {
			return l.send(carrier, appendFrame(nil, http2.FramePing, http2.FlagPingAck, 0, slices.Clone(payload)))
		}
	case http2.FrameGoAway, http2.FrameRSTStream:
		return fmt.Errorf("%w: %v %x", errEnded, kind, payload)
	}
	return nil
}
