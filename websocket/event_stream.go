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
	writers    sync.WaitGroup

	mu      sync.Mutex // guards what follows
	frames  [][]byte   // pending, and not being written
	bytes   int        // pending
	closing []byte     // payload of the close frame that is to follow them
	why     error      // it is to follow, or nil
	timer   *time.Timer
	writing bool
	stopped bool      // nothing is written any more
	idle    sync.Cond // nothing is pending
}

func newEventStream(conn *Conn, maxPending int) *eventStream {
	s := &eventStream{conn: conn, maxPending: maxPending}
	s.idle.L = &s.mu
	return s
}

// send leaves frames to the goroutine that writes, and starts it if there is none.
func (s *eventStream) send(lent bool, frames [][]byte) error {
	size := 0
	for _, frame := range frames {
		size += len(frame)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch over := s.conn.over(); {
	case over != nil:
		return over
	case s.why != nil:
		return s.why
	case s.bytes > 0 && s.bytes+size > s.maxPending:
		return ErrFull
	}
	if lent {
		frames = [][]byte{slices.Concat(frames...)}
	}
	s.frames = append(s.frames, frames...)
	s.bytes += size
	s.startWriting()
	return nil
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
			s.writing = false
			s.mu.Unlock()
			if why != nil {
				// The timer bounds it. Who reads takes the answer, and is told how it ended.
				_ = s.conn.sendClose(context.Background(), closing, why)
			}
			return
		}
		s.mu.Unlock()
		size := 0
		for _, frame := range frames {
			size += len(frame)
		}
		err := s.conn.WriteFrames(context.Background(), frames...)
		s.mu.Lock()
		if s.bytes -= size; err != nil {
			s.frames, s.bytes = nil, 0 // who reads is told
		}
		if s.bytes == 0 {
			s.idle.Broadcast()
		}
		s.mu.Unlock()
	}
}

// drain waits until nothing is pending.
func (s *eventStream) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.bytes > 0 {
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
	var memory []byte
	for {
		messageType, message, err := s.conn.ReadAppend(context.Background(), memory[:0])
		if err != nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			break
		}
		c.server.handler.Message(c, messageType, message)
		if memory = message; cap(memory) > bufferBytes {
			memory = nil
		}
		s.drain()
	}
	s.conn.CloseNow()
	s.stop()
	c.finish()
}
