package websocket

import "net"

// source reads from the network into buffers that it borrows.
type source struct {
	buffer *buffer // borrowed, or nil
	direct *direct // nil where the connection cannot be read without blocking
}

// read waits for bytes, and reads them into p, or into a borrowed buffer if p is nil: then they
// hold until the next call. Where the system allows it, nothing is borrowed while waiting.
func (s *source) read(conn net.Conn, p []byte) ([]byte, error) {
	if p != nil {
		n, err := conn.Read(p)
		return p[:n], err
	}
	if s.direct != nil {
		return s.direct.read(&s.buffer)
	}
	if s.buffer == nil {
		s.buffer = buffers.Get().(*buffer)
	}
	n, err := conn.Read(s.buffer[:])
	return s.buffer[:n], err
}
