package websocket

import (
	"os"
	"sync"
	"syscall"

	"github.com/duplexhq/duplex/internal/poller"
)

func receive(fd int, p []byte) (int, syscall.Errno) { return poller.Receive(fd, p) }

// sending is a call of direct.send.
type sending struct {
	attempt func(fd uintptr) // try, made once: a method value allocates
	first   []byte
	rest    [][]byte
	taken   int
	errno   syscall.Errno
}

var sendings = sync.Pool{New: func() any {
	s := new(sending)
	s.attempt = s.try
	return s
}}

func (s *sending) try(fd uintptr) { s.taken, s.errno = poller.Send(int(fd), s.first, s.rest) }

// send gives the network what it takes at once of first and rest, however little that is: nothing
// if d is nil.
func (d *direct) send(first []byte, rest [][]byte) (taken int, err error) {
	if d == nil {
		return 0, nil
	}
	s := sendings.Get().(*sending)
	s.first, s.rest = first, append(s.rest, rest...)
	err = d.raw.Control(s.attempt)
	if taken = s.taken; err == nil && s.errno != 0 && s.errno != syscall.EAGAIN {
		err = os.NewSyscallError("write", s.errno)
	}
	clear(s.rest)
	s.first, s.rest, s.taken, s.errno = nil, s.rest[:0], 0, 0
	sendings.Put(s)
	return taken, err
}
