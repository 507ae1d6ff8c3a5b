// Package webtransport gives package view sessions of WebTransport over HTTP/3
// (draft-ietf-webtrans-http3). QUIC is known here, in package server and in
// client/http3 only, and in tests.
package webtransport

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/duplexhq/duplex/view"
)

const (
	bidirectionalStream  = 0x41 // type of the frame that begins one of a session
	unidirectionalStream = 0x54 // type of the stream

	// Settings by which clients know that they may open sessions: those of drafts
	// 2 to 6, 7 to 14, and since.
	settingEnabled02   = 0x2b603742
	settingMaxSessions = 0x14e9cd29
	settingEnabled     = 0x2c7cf000

	// Errors of streams.
	sessionGone    quic.StreamErrorCode = 0x170d7b68
	streamRejected quic.StreamErrorCode = 0x3994bd84
)

// patience is how long a client may take to say what it supports, and how long
// a stream waits for the session that it is of.
const patience = 5 * time.Second

// maxEarly is how many streams of a connection wait for their session. A client
// that plays by the rules has one.
const maxEarly = 8

// smallest is the size of the first packets: what every way that carries QUIC
// lets through (RFC 9000 §14.1). Larger ones are tried afterwards.
const smallest = 1200 // bytes

// Configure switches on what sessions need of QUIC, on any way.
func Configure(c *quic.Config) {
	c.InitialPacketSize = smallest
	c.EnableDatagrams = true
	c.EnableStreamResetPartialDelivery = true // of streams that a client resets at once
}

// A Server serves the connections of an HTTP/3 server, whose requests may be
// for sessions.
type Server struct {
	http *http3.Server

	mu    sync.Mutex
	conns map[*quic.Conn]*conn // guarded by mu
}

// NewServer takes over an HTTP/3 server that serves nothing yet. The QUIC
// connections must be configured by Configure.
func NewServer(h *http3.Server) *Server {
	s := &Server{http: h, conns: make(map[*quic.Conn]*conn)}
	h.EnableDatagrams = true
	h.AdditionalSettings = map[uint64]uint64{settingEnabled02: 1, settingMaxSessions: 1, settingEnabled: 1}
	inner := h.ConnContext
	h.ConnContext = func(ctx context.Context, c *quic.Conn) context.Context {
		if inner != nil {
			ctx = inner(ctx, c)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return context.WithValue(ctx, connKey{}, s.conns[c])
	}
	return s
}

// Serve serves a connection, and returns when that has ended and its requests
// have been answered.
func (s *Server) Serve(c *quic.Conn) error {
	state := &conn{quic: c, logger: s.http.Logger}
	s.mu.Lock()
	s.conns[c] = state
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
	}()
	var streams sync.WaitGroup // each ends with its stream
	defer streams.Wait()
	defer state.guard() // before what waits for the connection's end
	raw, err := s.http.NewRawServerConn(c)
	if err != nil {
		return err
	}
	serve := func(f func()) {
		streams.Go(func() {
			defer state.guard()
			f()
		})
	}
	serve(func() { // Ends with the connection.
		for {
			stream, err := c.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			serve(func() { state.takeUnidirectional(raw, stream) })
		}
	})
	for {
		stream, err := c.AcceptStream(context.Background())
		if err != nil {
			return nil // how it has ended is the client's business
		}
		serve(func() { state.take(raw, stream) })
	}
}

// A conn is a connection, which has one session at a time.
type conn struct {
	quic   *quic.Conn
	logger *slog.Logger // nil for the default one, as in http3.Server

	mu      sync.Mutex
	session *session       // guarded by mu
	early   []*earlyStream // guarded by mu
}

// guard closes the connection if what defers it panics: the others go on.
func (c *conn) guard() {
	if v := recover(); v != nil {
		cmp.Or(c.logger, slog.Default()).Error("panic", "value", v, "stack", string(debug.Stack()))
		_ = c.quic.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeInternalError), "") // it may have ended
	}
}

// connKey is that of a request's context.
type connKey struct{}

// An earlyStream came before the request for its session.
type earlyStream struct {
	session quic.StreamID
	stream  *quic.Stream
	timer   *time.Timer
}

// take serves a stream that the client has opened, which is one of the session or
// a request.
func (c *conn) take(raw *http3.RawServerConn, stream *quic.Stream) {
	kind, err := quicvarint.Peek(stream)
	if err != nil {
		cancel(stream, quic.StreamErrorCode(http3.ErrCodeRequestIncomplete))
		return
	}
	if kind != bidirectionalStream {
		raw.HandleRequestStream(stream)
		return
	}
	r := quicvarint.NewReader(stream)
	_, _ = quicvarint.Read(r) // it was peeked at
	id, err := quicvarint.Read(r)
	switch {
	case err != nil:
		cancel(stream, quic.StreamErrorCode(http3.ErrCodeRequestIncomplete))
	case id%4 != 0: // no request can have it
		c.quic.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeIDError), "")
	default:
		c.join(quic.StreamID(id), stream)
	}
}

// join gives a stream to its session, or keeps it for a while if that has not
// come.
func (c *conn) join(id quic.StreamID, stream *quic.Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.session != nil && c.session.id == id && c.session.offer(stream):
	case (c.session == nil || c.session.id == unknown) && len(c.early) < maxEarly:
		early := &earlyStream{session: id, stream: stream}
		early.timer = time.AfterFunc(patience, func() { c.forget(early) })
		c.early = append(c.early, early)
	default:
		cancel(stream, streamRejected)
	}
}

// forget is for a stream whose session has not come.
func (c *conn) forget(early *earlyStream) {
	defer c.guard()
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.early, early); i >= 0 {
		c.early = slices.Delete(c.early, i, i+1)
		cancel(early.stream, streamRejected)
	}
}

// opened gives a session the streams that came before it, and refuses those of
// others: there is none beside it.
func (c *conn) opened(s *session, id quic.StreamID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.id = id
	for _, early := range c.early {
		early.timer.Stop()
		if early.session != id || !s.offer(early.stream) {
			cancel(early.stream, streamRejected)
		}
	}
	c.early = nil
}

// takeUnidirectional serves a stream that goes one way. A session has none.
func (c *conn) takeUnidirectional(raw *http3.RawServerConn, stream *quic.ReceiveStream) {
	kind, err := quicvarint.Peek(stream)
	switch {
	case err != nil:
		stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeStreamCreationError))
	case kind == unidirectionalStream:
		stream.CancelRead(streamRejected)
	default:
		raw.HandleUnidirectionalStream(stream)
	}
}

func cancel(stream *quic.Stream, code quic.StreamErrorCode) {
	stream.CancelRead(code)
	stream.CancelWrite(code)
}

// Accept answers a request with 200, and opens the session that it asks for. If
// that cannot be, nothing was answered, and the error says why, for the client to
// read.
func (s *Server) Accept(w http.ResponseWriter, r *http.Request) (view.WebTransport, error) {
	c, _ := r.Context().Value(connKey{}).(*conn)
	below, ok := find[interface {
		http3.HTTPStreamer
		http3.Settingser
	}](w)
	if c == nil || !ok {
		return nil, errors.New("this is not HTTP/3")
	}
	select {
	case <-below.ReceivedSettings():
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	case <-time.After(patience):
		return nil, errors.New("the client's SETTINGS have not come")
	}
	if !below.Settings().EnableDatagrams {
		return nil, errors.New("the client has no HTTP datagrams")
	}
	session := newSession(c)
	if !c.begin(session) {
		return nil, errors.New("the connection has a session already")
	}
	w.WriteHeader(http.StatusOK)
	session.open(below.HTTPStream())
	return session, nil
}

// begin makes a session the connection's, unless there is one.
func (c *conn) begin(s *session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil {
		return false
	}
	c.session = s
	return true
}

// find looks for a T below the layers of w.
func find[T any](w http.ResponseWriter) (found T, ok bool) {
	for {
		if found, ok = w.(T); ok {
			return found, true
		}
		layer, isLayer := w.(interface{ Unwrap() http.ResponseWriter })
		if !isLayer {
			return found, false
		}
		w = layer.Unwrap()
	}
}
