package websocket

import "net"

// source reads from the network into buffers that it borrows.
type source struct {
	conn   net.Conn
	buffer *buffer // borrowed, or nil
	direct *direct // nil where the connection cannot be read without blocking
}

func (s *source) init(conn net.Conn) {
	s.conn = conn
	s.direct = newDirect(conn)
}

// read waits for bytes, and reads them into p, or into a borrowed buffer if p is nil: then they
// hold until the next call. Where the system allows it, nothing is borrowed while waiting.
func (s *source) read(p []byte) ([]byte, error) {
	if p != nil {
		n, err := s.conn.Read(p)
		return p[:n], err
	}
	if s.direct != nil {
		return s.direct.read(&s.buffer)
	}
	if s.buffer == nil {
		s.buffer = buffers.Get().(*buffer)
	}
	n, err := s.conn.Read(s.buffer[:])
	return s.buffer[:n], err
}
