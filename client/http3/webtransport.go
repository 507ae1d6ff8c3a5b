package http3

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/websocket"
)

const (
	bidirectionalStream = 0x41   // type of the frame that begins one of a session
	closeSession        = 0x2843 // type of the capsule that ends one: a code of 32 bits, and a reason

	// farewell is how long a server is given to answer the end.
	farewell = time.Second

	// maxMessage bounds a message that is received: what client.Options has for
	// the other transports by default.
	maxMessage = 64 << 20 // bytes

	// maxReason is what is taken of a close reason. (The draft allows 1,024.)
	maxReason = 1024 // bytes
)

// ErrNotOffered is of a server that has HTTP/3 without WebTransport.
var ErrNotOffered = errors.New("webtransport: the server has none")

var errLost = errors.New("webtransport: the session was lost")

// WebTransport opens a session at a URL that speaks duplex.v1 (PROTOCOL.md §16),
// on a connection of its own. It is for client.Options.WebTransport. What is
// refused is a *client.ProblemError; a close by the server is a
// *websocket.CloseError, as the codes are the same.
func (t *Transport) WebTransport(ctx context.Context, u *url.URL, header http.Header) (client.MessageConn, error) {
	if u.Scheme != "https" {
		return nil, errors.New("webtransport: the server is not at https")
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "443")
	}
	config := quicConfig()
	config.EnableDatagrams = true
	secure := http3.ConfigureTLSConfig(t.inner.TLSClientConfig.Clone())
	secure.ServerName = cmp.Or(secure.ServerName, u.Hostname())
	conn, err := t.connect(ctx, address, secure, config)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn}
	stop := context.AfterFunc(ctx, func() { s.drop() })
	err = s.open(ctx, u, header)
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		s.drop()
		return nil, err
	}
	go s.listen() // Ends with the connection, which Close ends.
	return s, nil
}

// A session is a client's end of one.
type session struct {
	conn    *quic.Conn
	request *http3.RequestStream // has capsules, and lasts as long as the session
	stream  *quic.Stream         // has the messages

	buffer []byte // what was read
	used   int    // of it, by the last message
	ended  chan struct{}
	why    error // once ended is closed
}

// open asks for the session, and opens its stream.
func (s *session) open(ctx context.Context, u *url.URL, header http.Header) error {
	below := (&http3.Transport{EnableDatagrams: true, DisableCompression: true}).NewClientConn(s.conn)
	select {
	case <-below.ReceivedSettings():
	case <-s.conn.Context().Done():
		return context.Cause(s.conn.Context())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !below.Settings().EnableExtendedConnect || !below.Settings().EnableDatagrams {
		return ErrNotOffered
	}
	request, err := below.OpenRequestStream(ctx)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodConnect, u.String(), nil)
	if err != nil {
		return err
	}
	r.Proto, r.Header = "webtransport", header.Clone()
	if err := request.SendRequestHeader(r); err != nil {
		return err
	}
	response, err := request.ReadResponse()
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return client.ReadProblem(response)
	}
	if s.stream, err = s.conn.OpenStream(); err != nil {
		return err
	}
	s.request, s.ended = request, make(chan struct{})
	hello := quicvarint.Append(nil, bidirectionalStream)
	hello = quicvarint.Append(hello, uint64(request.StreamID()))
	_, err = s.stream.Write(append(hello, '\n')) // a stream without bytes is not there yet
	return err
}

// listen waits for the server to end the session.
func (s *session) listen() {
	defer close(s.ended)
	s.why = errLost
	capsules := http3.NewCapsuleParser(s.request)
	for {
		kind, r, err := capsules.Next()
		if err != nil {
			return
		}
		if kind != closeSession {
			if r.Discard() != nil {
				return
			}
			continue
		}
		said, _ := io.ReadAll(io.LimitReader(r, 4+maxReason))
		if len(said) >= 4 {
			code := websocket.CloseCode(binary.BigEndian.Uint32(said))
			s.why = &websocket.CloseError{Code: code, Reason: string(said[4:]), Remote: true}
		}
		return
	}
}

// ReadMessage is that of client.MessageConn.
func (s *session) ReadMessage(ctx context.Context, idle time.Duration) ([]byte, error) {
	defer interrupt(ctx, s.stream.SetReadDeadline)()
	s.buffer = append(s.buffer[:0], s.buffer[s.used:]...)
	s.used = 0
	for scanned := 0; ; {
		for i := scanned; i < len(s.buffer); i++ {
			if s.buffer[i] == '\n' {
				s.used = i + 1
				return s.buffer[:i], nil
			}
		}
		scanned = len(s.buffer)
		if scanned > maxMessage {
			return nil, fmt.Errorf("webtransport: a message of more than %d bytes", maxMessage)
		}
		if err := s.more(ctx, idle); err != nil {
			return nil, err
		}
	}
}

// more reads what comes next.
func (s *session) more(ctx context.Context, idle time.Duration) error {
	var deadline time.Time
	if idle > 0 {
		deadline = time.Now().Add(idle)
	}
	if err := s.stream.SetReadDeadline(deadline); err != nil {
		return err
	}
	if ctx.Err() != nil { // it may have been before the deadline was set
		return context.Cause(ctx)
	}
	if cap(s.buffer)-len(s.buffer) < 4<<10 {
		s.buffer = append(make([]byte, 0, 2*cap(s.buffer)+8<<10), s.buffer...)
	}
	n, err := s.stream.Read(s.buffer[len(s.buffer):cap(s.buffer)])
	s.buffer = s.buffer[:len(s.buffer)+n]
	switch {
	case err == nil || n > 0:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return client.ErrIdle
	}
	// The server says why when it has heard that this end is over, too.
	_ = s.stream.Close()
	select {
	case <-s.ended:
		return s.why
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(2 * farewell):
		return err
	}
}

// interrupt has a deadline pass when ctx is done. The caller lifts that.
func interrupt(ctx context.Context, setDeadline func(time.Time) error) (lift func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = setDeadline(time.Unix(1, 0)) // fails if there is nothing to interrupt
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// WriteMessage is that of client.MessageConn. If ctx ends it midway, the session is
// of no more use.
func (s *session) WriteMessage(ctx context.Context, message []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := s.stream.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	defer interrupt(ctx, s.stream.SetWriteDeadline)()
	_, err := s.stream.Write(append(message[:len(message):len(message)], '\n'))
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// Close is that of client.MessageConn.
func (s *session) Close() {
	if s.stream.Close() == nil {
		select { // the server closes the session
		case <-s.ended:
		case <-time.After(farewell):
		}
	}
	s.drop()
	<-s.ended
}

// drop ends the connection.
func (s *session) drop() {
	_ = s.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}
