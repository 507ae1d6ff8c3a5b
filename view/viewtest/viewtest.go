// Package viewtest has a server of topics, for the tests of those who ask one.
package viewtest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
	"github.com/duplexhq/duplex/view"
)

// A Server shows the topics of a log until Close or Drain. It is a handler, for
// tests that have an http.Server of their own.
type Server struct {
	*view.Handler
	hub  *topic.Hub
	log  *memlog.Log // of its own, or nil
	http http.Server
}

// New shows the topics of a log, which it leaves open; if log is nil, of an
// empty one of its own. opts may be nil.
func New(t testing.TB, log topic.Log, opts *view.Options) *Server {
	t.Helper()
	s := new(Server)
	if log == nil {
		s.log = memlog.Open(nil)
		log = s.log
	}
	s.hub = topic.NewHub(log, nil)
	var err error
	if s.Handler, err = view.New(s.hub, opts); err != nil {
		t.Fatal(err)
	}
	s.http.Handler = s.Handler
	return s
}

// Serve answers those who come to a listener.
func (s *Server) Serve(l net.Listener) {
	go s.http.Serve(l) // Ends with Close or Drain.
}

// Close cuts all connections.
func (s *Server) Close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.end(ctx) // connections were cut
}

// Drain ends what is shown in good order.
func (s *Server) Drain() error { return s.end(context.Background()) }

func (s *Server) end(ctx context.Context) error {
	err := s.Shutdown(ctx)
	s.http.Close() // its listeners' errors are of no interest
	s.hub.Close()
	if s.log != nil {
		err = errors.Join(err, s.log.Close())
	}
	return err
}
