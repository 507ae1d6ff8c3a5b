package h2

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"os"

	"golang.org/x/net/http2/hpack"

	"github.com/duplexhq/duplex/internal/h2/wire"
)

// A requestBody holds what has come and was not read: no more than the stream's
// window. The connection's mu guards it.
type requestBody struct {
	x      *exchange
	data   []byte
	read   int // of data
	ended  bool
	closed bool

	trailer http.Header // to be given at the end
}

// Read waits for a byte even if it has to give none.
func (b *requestBody) Read(p []byte) (int, error) {
	x, c := b.x, b.x.stream.conn
	c.mu.Lock()
	defer c.unlock()
	x.sendContinue()
	for {
		switch {
		case b.closed:
			return 0, http.ErrBodyReadAfterClose
		case x.readBy.passed:
			return 0, os.ErrDeadlineExceeded
		case b.read < len(b.data):
			n := copy(p, b.data[b.read:])
			if b.read += n; b.read == len(b.data) {
				b.read, b.data = 0, b.data[:0]
				if cap(b.data) > 16<<10 {
					b.data = nil
				}
			}
			if n > 0 {
				c.m.Consume(x.stream.wire, n)
				c.flush()
			}
			return n, nil
		case b.ended:
			maps.Copy(x.request.Trailer, b.trailer)
			b.trailer = nil
			return 0, io.EOF
		case x.err != nil:
			return 0, errors.Join(io.ErrUnexpectedEOF, x.err)
		}
		x.wait()
	}
}

// Close wants no more.
func (b *requestBody) Close() error {
	c := b.x.stream.conn
	c.mu.Lock()
	defer c.unlock()
	b.close()
	c.flush()
	return nil
}

func (b *requestBody) close() {
	if b.closed {
		return
	}
	b.closed = true
	b.drop()
	b.x.changed.Broadcast()
}

// drop forgets what was not read.
func (b *requestBody) drop() {
	b.x.stream.conn.m.Consume(b.x.stream.wire, len(b.data)-b.read)
	b.data, b.read = nil, 0
}

// add takes what has come.
func (b *requestBody) add(p []byte) {
	if b.read > 0 && len(b.data)+len(p) > cap(b.data) {
		b.data = b.data[:copy(b.data, b.data[b.read:])]
		b.read = 0
	}
	b.data = append(b.data, p...)
	b.x.changed.Broadcast()
}

// sendContinue tells a client that waits for it to send its body.
func (x *exchange) sendContinue() {
	if x.continued || x.headSent || x.stream.wire.Over() || x.done {
		return
	}
	x.continued = true
	m := x.stream.conn.m
	m.Field(":status", "100", false)
	m.SendHeaders(x.stream.wire, false)
	x.stream.conn.flush()
}

// endBody is called with mu held.
func (x *exchange) endBody(trailer []hpack.HeaderField) {
	b := x.body
	b.ended = true
	for _, f := range trailer {
		key := http.CanonicalHeaderKey(f.Name)
		if _, announced := x.request.Trailer[key]; announced { // as net/http has it
			if b.trailer == nil {
				b.trailer = make(http.Header)
			}
			b.trailer[key] = append(b.trailer[key], f.Value)
		}
	}
	x.changed.Broadcast()
}

var _ wire.Events = (*conn)(nil)
