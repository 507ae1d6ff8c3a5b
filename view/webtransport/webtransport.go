// Package webtransport gives package view sessions of WebTransport over HTTP/3
// (draft-ietf-webtrans-http3). QUIC is known here, in package server and
// in client/http3 only.
package webtransport

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
	wt "github.com/quic-go/webtransport-go"

	"github.com/duplexhq/duplex/view"
)

const closeSession = 0x2843 // type of a capsule: a code of 32 bits and a reason

// closeTimeout is how long a peer is given to hear of the end.
const closeTimeout = time.Second

// settingsTimeout is how long a client may take to say what it supports.
const settingsTimeout = 5 * time.Second

// Configure switches on what sessions need of QUIC.
func Configure(c *quic.Config) {
	c.EnableDatagrams = true
	c.EnableStreamResetPartialDelivery = true
}

// A Server serves the connections of an HTTP/3 server, whose requests may be
// for sessions.
type Server struct{ inner wt.Server }

// NewServer takes over an HTTP/3 server that serves nothing yet. The QUIC
// connections must be configured by Configure.
func NewServer(h *http3.Server) *Server {
	return &Server{wt.Server{
		H3:                h,
		ReorderingTimeout: settingsTimeout,
		CheckOrigin:       func(*http.Request) bool { return true }, // who calls Accept has judged it
	}}
}

// Serve serves a connection, and returns when that has ended and its requests
// have been answered.
func (s *Server) Serve(conn *quic.Conn) error { return s.inner.ServeQUICConn(conn) }

// Accept answers a request with 200, and opens the session that it asks for. If
// that cannot be, the error says what is missing, for the client to read. A
// connection can have one session at a time: to open another while there is one,
// resets its stream.
func (s *Server) Accept(w http.ResponseWriter, r *http.Request) (view.WebTransport, error) {
	below, ok := find[interface {
		http3.HTTPStreamer
		http3.Settingser
		http.Flusher
	}](w)
	if !ok {
		return nil, errors.New("this is not HTTP/3")
	}
	a := &answer{ResponseWriter: w, HTTPStreamer: below, Settingser: below, Flusher: below}
	inner, err := s.inner.Upgrade(a, r)
	if err != nil {
		return nil, err
	}
	return &session{Session: inner, request: a.stream}, nil
}

// answer is the ResponseWriter that webtransport-go wants, around which there
// may be others.
type answer struct {
	http.ResponseWriter
	http3.HTTPStreamer
	http3.Settingser
	http.Flusher

	stream *http3.Stream // the request's, once it was taken over
}

func (a *answer) HTTPStream() *http3.Stream {
	a.stream = a.HTTPStreamer.HTTPStream()
	return a.stream
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

type session struct {
	*wt.Session
	request *http3.Stream // on which nothing else is written
	closing sync.Once
}

func (s *session) Stream(ctx context.Context) (view.WebTransportStream, error) {
	stream, err := s.AcceptStream(ctx)
	if err != nil {
		return nil, err // a nil *Stream would not be nil
	}
	return stream, nil
}

func (s *session) ReceiveDatagram() ([]byte, error) {
	return s.Session.ReceiveDatagram(context.Background())
}

// Close tells the peer by itself, as webtransport-go would reset the stream at
// the same time: Chromium takes that for a lost connection, and drops the code.
func (s *session) Close(code uint32, reason string) {
	s.closing.Do(func() {
		go func() { // Ends when the peer has heard, at the latest after closeTimeout.
			if s.sayClose(code, reason) == nil {
				select {
				case <-s.Context().Done():
				case <-time.After(closeTimeout):
				}
			}
			_ = s.CloseWithError(wt.SessionErrorCode(code), reason)
		}()
	})
}

// sayClose sends WT_CLOSE_SESSION and FIN (draft-ietf-webtrans-http3-15 §6).
func (s *session) sayClose(code uint32, reason string) error {
	if err := s.request.SetWriteDeadline(time.Now().Add(closeTimeout)); err != nil {
		return err
	}
	capsule := quicvarint.Append(nil, closeSession)
	capsule = quicvarint.Append(capsule, uint64(4+len(reason)))
	capsule = binary.BigEndian.AppendUint32(capsule, code)
	if _, err := s.request.Write(append(capsule, reason...)); err != nil {
		return err
	}
	return s.request.Close()
}
