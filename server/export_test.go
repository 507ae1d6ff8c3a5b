package server

import (
	"net"

	"github.com/duplexhq/duplex/topic"
)

// What TestTorture needs to see from inside.

func (s *Server) Hub() *topic.Hub      { return s.hub }
func (s *Server) ConnectionCount() int { return s.connections.count() }

// ListenBy has Start listen by a function of the test's.
func (s *Server) ListenBy(listen func(network, address string) (net.Listener, error)) {
	s.listen = listen
}
