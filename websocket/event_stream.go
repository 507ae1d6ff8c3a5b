package websocket

import (
	"context"
	"slices"
	"sync"
	"time"
)

// eventStream drives an EventConn that cannot be polled: one goroutine reads, and another writes
// while something is pending.
type eventStream struct {
	conn       *Conn
	maxPending int
	drained    func()
	writers    sync.WaitGroup

	mu      sync.Mutex // guards what follows
	frames  [][]byte   // pending, and not being written
	bytes   int        // pending
	answers int        // of them, by send
	closing []byte     // payload of the close frame that is to follow them
	why     error      // it is to follow, or nil
	timer   *time.Timer
	writing bool
	offered bool      // drained is to be called
	opened  bool      // Open has returned, so that it may be
	stopped bool      // nothing is written any more
	closed  bool      // the close frame was sent, or could not be
	idle    sync.Cond // no answers are pending, nor a close frame
}

func newEventStream(conn *Conn, maxPending int, drained func()) *eventStream {
	s := &eventStream{conn: conn, maxPending: maxPending, drained: drained}
	s.idle.L = &s.mu
	return s
}

// send leaves frames to the goroutine that writes, and starts it if there is none.
func (s *eventStream) send(lent bool, frames [][]byte) error {
	size := sizeOf(frames)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ended(); err != nil {
		return err
	}
	if s.bytes > 0 && s.bytes+size > s.maxPending {
		return ErrFull
	}
	if lent {
		frames = [][]byte{slices.Concat(frames...)}
	}
	s.answers += size
	s.keep(frames, size)
	return nil
}

// offer is send without a bound. It tells drained when all is written.
func (s *eventStream) offer(frames [][]byte) (taken bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ended(); err != nil {
		return false, err
	}
	s.offered = true
	s.keep(frames, sizeOf(frames))
	return false, nil
}

// ended gives the error of a connection on which nothing can be written. The caller holds mu, as for
// keep.
func (s *eventStream) ended() error {
	if err := s.conn.over(); err != nil {
		return err
	}
	return s.why
}

func (s *eventStream) keep(frames [][]byte, size int) {
	s.frames = append(s.frames, frames...)
	s.bytes += size
	s.startWriting()
}

func sizeOf(frames [][]byte) (size int) {
	for _, frame := range frames {
		size += len(frame)
	}
	return size
}

// close leaves a close frame to be sent after what is pending.
func (s *eventStream) close(payload []byte, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != nil || s.stopped {
		return
	}
	s.closing, s.why = payload, why
	s.timer = time.AfterFunc(s.conn.closeTimeout, func() { s.conn.end(why) })
	s.startWriting()
}

// startWriting has what is pending written. Ends when nothing is. Joined by follow.
func (s *eventStream) startWriting() {
	if !s.writing {
		s.writing = true
		s.writers.Go(s.write)
	}
}

func (s *eventStream) write() {
	for {
		s.mu.Lock()
		frames, closing, why := s.frames, s.closing, s.why
		s.frames = nil
		if len(frames) == 0 {
			if why != nil {
				s.mu.Unlock()
				// The timer bounds it. Who reads takes the answer, and is told how it ended.
				_ = s.conn.sendClose(context.Background(), closing, why)
				s.mu.Lock()
				s.closed = true
				s.idle.Broadcast()
			}
			s.writing = false
			s.mu.Unlock()
			return
		}
		size, answers := s.bytes, s.answers
		s.mu.Unlock()
		err := s.conn.WriteFrames(context.Background(), frames...)
		s.mu.Lock()
		s.bytes -= size
		if s.answers -= answers; err != nil {
			s.frames, s.bytes, s.answers = nil, 0, 0 // who reads is told
		}
		if s.answers == 0 {
			s.idle.Broadcast()
		}
		s.mu.Unlock()
		s.tellDrained()
	}
}

// open is for when Open has returned.
func (s *eventStream) open() {
	s.mu.Lock()
	s.opened = true
	s.mu.Unlock()
	s.tellDrained()
}

// tellDrained calls drained if that is due.
func (s *eventStream) tellDrained() {
	s.mu.Lock()
	due := s.offered && s.opened && s.bytes == 0
	if due {
		s.offered = false
	}
	s.mu.Unlock()
	if due {
		s.drained()
	}
}

// isPending reports whether something is.
func (s *eventStream) isPending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes > 0
}

// drain waits until no answers are pending, nor a close frame: the peer's own may be
// the next that is read, and the answer to it would take its place.
func (s *eventStream) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.answers > 0 || s.why != nil && !s.closed {
		s.idle.Wait()
	}
}

// stop returns when no goroutine writes any more.
func (s *eventStream) stop() {
	s.mu.Lock()
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	s.writers.Wait()
}

// follow reads a connection that is not polled until it is over.
func (c *EventConn) follow() {
	s := c.stream
	s.open()
	var memory []byte
	for {
		messageType, message, err := s.conn.ReadAppend(context.Background(), memory[:0])
		if err == ErrIdle && s.isPending() {
			continue // who still has to read is not asked to speak
		}
		if err != nil {
			if err == ErrIdle {
				err = &lostError{err}
			}
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			break
		}
		c.server.message(c, messageType, message)
		if memory = message; cap(memory) > bufferBytes {
			memory = nil
		}
		s.drain()
	}
	s.conn.CloseNow()
	s.stop()
	c.finish()
}
