package h2

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/duplexhq/duplex/internal/poller"
)

// Soften gives a connection that TLS can be put on, and which then can be
// written to without waiting: what the network does not take at once is kept.
// It is as before until a Server has it.
func Soften(nc net.Conn) net.Conn {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nc
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nc
	}
	return &softConn{TCPConn: tcp, raw: raw}
}

// A softConn is TCP below TLS.
type softConn struct {
	*net.TCPConn
	raw     syscall.RawConn
	timeout time.Duration
	drained func()

	mu      sync.Mutex
	soft    bool
	corked  bool
	kept    []byte // to be sent
	sending bool   // a goroutine sends kept
	err     error
	left    bool // drained is to be called

	attempt func(fd uintptr) // try, made once
	tried   []byte
	taken   int
	errno   syscall.Errno
}

func (s *softConn) soften(timeout time.Duration, drained func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.soft, s.timeout, s.drained, s.attempt = true, timeout, drained, s.try
}

// cork has the records of one Write of TLS sent together.
func (s *softConn) cork() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.corked = true
}

// uncork reports whether something is left, after which drained is called.
func (s *softConn) uncork() (left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.corked = false
	s.flush()
	s.left = s.sending
	return s.left
}

// Write never blocks once the connection is soft.
func (s *softConn) Write(p []byte) (int, error) {
	s.mu.Lock()
	if !s.soft {
		s.mu.Unlock()
		return s.TCPConn.Write(p)
	}
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	if need := len(p); cap(s.kept)-len(s.kept) < need {
		s.kept = growOut(s.kept, need)
	}
	s.kept = append(s.kept, p...)
	if !s.corked {
		s.flush()
	}
	return len(p), s.err
}

// flush sends what the network takes, and leaves the rest to a goroutine. The
// caller holds mu.
func (s *softConn) flush() {
	if s.sending || s.err != nil || len(s.kept) == 0 {
		return
	}
	s.tried = s.kept
	err := s.raw.Control(s.attempt)
	if err == nil && s.errno != 0 && s.errno != syscall.EAGAIN {
		err = os.NewSyscallError("write", s.errno)
	}
	if s.tried = nil; err != nil {
		s.err = err
		return
	}
	if s.taken == len(s.kept) {
		freeOut(s.kept)
		s.kept = nil
		return
	}
	s.sending = true
	go s.send(append([]byte(nil), s.kept[s.taken:]...)) // Ends when nothing is kept, or in time.
	freeOut(s.kept)
	s.kept = nil
}

func (s *softConn) try(fd uintptr) { s.taken, s.errno = poller.Send(int(fd), s.tried, nil) }

// send waits for a slow network.
func (s *softConn) send(p []byte) {
	for {
		_ = s.TCPConn.SetWriteDeadline(time.Now().Add(s.timeout)) // fails where Write does
		n, err := s.TCPConn.Write(p)
		if p = p[n:]; n > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			continue // it moves
		}
		s.mu.Lock()
		if err == nil && len(s.kept) > 0 {
			p = append(p[:0], s.kept...)
			freeOut(s.kept)
			s.kept = nil
			s.mu.Unlock()
			continue
		}
		s.sending = false
		left := s.left
		if s.left = false; err != nil {
			s.err = err
		}
		s.mu.Unlock()
		if err != nil {
			s.TCPConn.Close() // who reads notices
		} else if left {
			s.drained()
		}
		return
	}
}
