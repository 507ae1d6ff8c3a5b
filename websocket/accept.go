package websocket

import (
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// AcceptOptions are those of [Accept]. The zero value is safe.
type AcceptOptions struct {
	Options

	// Subprotocols that the server speaks, the best first. The first that the client offers is
	// chosen; if there is none, there is no subprotocol.
	Subprotocols []string

	// AllowOrigins lists origins, such as "https://example.com", whose pages may connect beside
	// those of the server's own origin: the scheme, host and port of the request. They are
	// compared exactly, but default ports may be left out. "*" allows all, "null" those that hide
	// theirs. Behind a proxy that ends TLS the server takes itself for http, and its own origin
	// has to be listed.
	AllowOrigins []string

	// Group, if not nil, gets the connection: see [Group.Shutdown].
	Group *Group

	// Refuse, if not nil, answers a request that is refused, in place of a short plain text. The
	// fields of e.Header are set on w already.
	Refuse func(w http.ResponseWriter, r *http.Request, e *HandshakeError)
}

// Accept answers an opening handshake (RFC 6455 §4.2) and takes the connection over from
// net/http. Header fields that were set on w are sent with the answer, as far as they are not the
// handshake's own. The handshake may also be an extended CONNECT over HTTP/2 (RFC 8441), which
// package h2 has net/http offer, or over HTTP/3 (RFC 9220) from quic-go: see below.
//
// If the request is refused, Accept has answered it, and the error is a [*HandshakeError]. The
// connection has to be closed by [Conn.Close] or [Conn.CloseNow]; http.Server.Shutdown does not
// do so. No goroutine is left running, unless [Options].Keepalive asks for one. The request's
// context ends when its handler returns.
//
// A handler that leaves the connection to a goroutine of its own and returns gives back what
// net/http holds for it, several times of what an idle connection needs. Clients that are slow
// with their handshake are for http.Server.ReadHeaderTimeout.
//
// Over HTTP/2 and HTTP/3 the connection is the stream of one request, and lasts no longer than
// its context: the handler must not return before the connection is over. If it leaves the
// connection to other goroutines, let it wait for [Conn.Done] and then call [Conn.CloseNow],
// which waits for a write that is under way. The peer sees the end when the handler returns. The
// method is CONNECT, which a pattern of http.ServeMux that begins with GET does not match.
//
// The streams of an HTTP/2 connection share more than its address, and http.HTTP2Config has the
// limits. So that messages that are not read hold up no other stream, let
// MaxReceiveBufferPerConnection be several times MaxReceiveBufferPerStream. A time limit of a
// write ends it while it waits for its stream, but not while nothing can be written to the
// connection: that is for WriteByteTimeout.
func Accept(w http.ResponseWriter, r *http.Request, opts *AcceptOptions) (*Conn, error) {
	if opts == nil {
		opts = &AcceptOptions{}
	}
	o, err := open(w, r, opts)
	if err != nil {
		return nil, err
	}
	return opts.Group.join(o.run(opts.Options))
}

// opened is a connection whose handshake is complete.
type opened struct {
	conn        net.Conn
	early       []byte // came with the handshake: the first of the peer's frames
	subprotocol string
	deflate     *deflate
}

// open answers an opening handshake.
func open(w http.ResponseWriter, r *http.Request, opts *AcceptOptions) (o opened, err error) {
	handshake, refusal := CheckHandshake(r, opts)
	if refusal == nil && opts.Group.over() {
		refusal = &HandshakeError{Status: http.StatusServiceUnavailable, Reason: "the server is going away"}
	}
	if refusal != nil {
		return o, refuse(w, r, opts, refusal)
	}
	o.subprotocol = handshake.Subprotocol
	o.deflate, handshake.extensions = acceptDeflate(r.Header, opts.Compression)
	if r.ProtoMajor > 1 {
		o.conn, err = acceptConnect(w, r, handshake, opts)
	} else {
		o.conn, o.early, err = acceptUpgrade(w, r, handshake, opts)
	}
	if err != nil {
		o.deflate.release()
	}
	return o, err
}

func (o opened) run(options Options) *Conn {
	options.deflate = o.deflate
	return newConn(o.conn, wire.Server, o.subprotocol, options, o.early)
}

// acceptUpgrade answers an upgrade from HTTP/1.1 that was found good.
func acceptUpgrade(w http.ResponseWriter, r *http.Request, handshake *Handshake, opts *AcceptOptions) (net.Conn, []byte, error) {
	conn, stream, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, refuse(w, r, opts, &HandshakeError{
			Status: http.StatusInternalServerError,
			Reason: "the connection cannot be taken over: " + err.Error(),
		})
	}
	// What came with the handshake is frames already. The rest of net/http's buffers is left
	// behind.
	early := make([]byte, stream.Reader.Buffered())
	io.ReadFull(stream.Reader, early) // it holds as many
	conn.SetDeadline(deadlineIn(opts.WriteTimeout))
	if _, err := conn.Write(appendSwitch(w.Header(), handshake)); err != nil {
		conn.Close()
		return nil, nil, &lostError{err}
	}
	conn.SetDeadline(time.Time{}) // neither ours nor one of http.Server's
	return conn, early, nil
}

func refuse(w http.ResponseWriter, r *http.Request, opts *AcceptOptions, refusal *HandshakeError) error {
	maps.Copy(w.Header(), refusal.Header)
	if opts.Refuse != nil {
		opts.Refuse(w, r, refusal)
		return refusal
	}
	http.Error(w, refusal.Error(), refusal.Status)
	return refusal
}

// ownFields of the 101 are not taken from the header that the handler has set, nor are those that
// describe a body.
var ownFields = map[string]bool{
	"Upgrade":                  true,
	"Connection":               true,
	"Sec-Websocket-Accept":     true,
	"Sec-Websocket-Protocol":   true,
	"Sec-Websocket-Extensions": true,
	"Sec-Websocket-Version":    true,
	"Content-Length":           true,
	"Content-Type":             true,
	"Content-Encoding":         true,
	"Transfer-Encoding":        true,
	"Trailer":                  true,
}

func appendSwitch(header http.Header, handshake *Handshake) []byte {
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n" +
		"Upgrade: websocket\r\n" +
		"Connection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + handshake.Accept + "\r\n")
	if handshake.Subprotocol != "" {
		b.WriteString("Sec-WebSocket-Protocol: " + handshake.Subprotocol + "\r\n")
	}
	if handshake.extensions != "" {
		b.WriteString("Sec-WebSocket-Extensions: " + handshake.extensions + "\r\n")
	}
	if len(header) > 0 { // else it would need a larger stack for nothing
		header.WriteSubset(&b, ownFields) // a bytes.Buffer takes everything
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// deadlineIn gives the time d from now, or zero if d is zero or negative.
func deadlineIn(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}
