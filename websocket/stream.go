package websocket

import (
	"context"
	"net"
	"os"
	"sync"
	"time"
)

// halves are the two directions of a stream of HTTP/2 or HTTP/3: the bodies of a request and its
// response. RFC 8441 §5 uses the stream "as if it were the TCP connection".
type halves interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)

	// SetWriteDeadline is called with a time in the past only, and only while Write is under way:
	// it ends the write, and the stream with it.
	SetWriteDeadline(time.Time) error

	// CloseWrite sends END_STREAM, which stands for the FIN of TCP.
	CloseWrite() error

	// Close ends a Read that is under way, as no more bytes are wanted.
	Close() error
}

// stream is a stream of HTTP/2 or HTTP/3 with the deadlines and the Close of a net.Conn. One
// goroutine may read at a time, and one write.
type stream struct {
	halves        halves
	local, remote net.Addr

	deadlines

	// The reads of halves cannot be called off and repeated, so they are made by a goroutine,
	// which outlives a Read whose deadline has passed.
	fetching bool
	fetched  chan struct{} // takes one without blocking
	buffer   *buffer       // what follows belongs to the goroutine while it runs
	data     []byte        // fetched, and not read
	err      error

	under   sync.WaitGroup // reads and writes of halves that are under way
	mu      sync.Mutex     // guards what follows
	writing bool
	closed  bool
}

func newStream(h halves, local, remote net.Addr) *stream {
	return &stream{
		halves:    h,
		local:     local,
		remote:    remote,
		deadlines: newDeadlines(context.Background()),
		fetched:   make(chan struct{}, 1),
	}
}

// Read leaves the stream usable when its deadline has passed.
func (s *stream) Read(p []byte) (int, error) {
	ctx, done, err := s.readBy.begin()
	if err != nil {
		return 0, err
	}
	defer done()
	for s.fetching || len(s.data) == 0 {
		if err := s.startFetch(); err != nil {
			return 0, err
		}
		select {
		case <-s.fetched:
			s.fetching = false
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	if len(s.data) == 0 {
		buffers.Put(s.buffer)
		s.buffer = nil
	}
	return n, nil
}

// startFetch has the next bytes read, unless they are already.
func (s *stream) startFetch() error {
	if s.fetching {
		return nil
	}
	if s.err != nil {
		return s.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.fetching = true
	s.under.Go(s.fetch) // Ends when bytes or an error have come. Joined by Close.
	return nil
}

func (s *stream) fetch() {
	// net/http waits for bytes even if it has to give none: no buffer is held meanwhile. Others
	// just return.
	_, s.err = s.halves.Read(nil)
	if s.err == nil {
		s.buffer = buffers.Get().(*buffer)
		var n int
		n, s.err = s.halves.Read(s.buffer[:])
		s.data = s.buffer[:n]
	}
	s.fetched <- struct{}{}
}

// Write breaks the stream if its deadline passes meanwhile.
func (s *stream) Write(p []byte) (int, error) {
	ctx, done, err := s.writeBy.begin()
	if err != nil {
		return 0, err
	}
	defer done()
	if !s.beginWrite() {
		return 0, net.ErrClosed
	}
	defer s.endWrite()
	stop := interrupt(ctx, s.halves.SetWriteDeadline)
	n, err := s.halves.Write(p)
	if stop.lift() {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

func (s *stream) beginWrite() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.writing = true
	s.under.Add(1)
	return true
}

func (s *stream) endWrite() {
	s.mu.Lock()
	s.writing = false
	s.mu.Unlock()
	s.under.Done()
}

// Close returns when nobody uses the halves any more.
func (s *stream) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	writing := s.writing
	s.mu.Unlock()
	if !first {
		s.under.Wait()
		return nil
	}
	if writing {
		s.halves.SetWriteDeadline(longAgo) // if it fails, the write has to end by itself
	}
	err := s.halves.Close()
	s.under.Wait()
	return err
}

func (s *stream) CloseWrite() error { return s.halves.CloseWrite() }

func (s *stream) LocalAddr() net.Addr  { return s.local }
func (s *stream) RemoteAddr() net.Addr { return s.remote }
