package jetlog

import (
	"context"
	"sync"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// Whether a cursor lies beyond the stream is settled by a message of this node's
// own. Anybody may come with such a cursor, so those who do share the message.
type settling struct {
	wake chan struct{} // has room for one
	mu   sync.Mutex
	next *settlement // of those who wait for the next message; nil if nobody does; guarded by mu
}

type settlement struct {
	done chan struct{} // closed when err is set
	err  error
}

// settleEvery is the least time between two such messages.
const settleEvery = 100 * time.Millisecond

// settle returns when a message was stored that was begun after the call.
func (l *Log) settle(ctx context.Context) error {
	s := &l.remote.settling
	s.mu.Lock()
	if s.next == nil {
		s.next = &settlement{done: make(chan struct{})}
	}
	own := s.next
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	select {
	case <-own.done:
		return own.err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.closing:
		return topic.ErrClosed
	}
}

// settleAll stores the messages. Ends when closing is closed. Joined by Close.
func (l *Log) settleAll() {
	s := &l.remote.settling
	for {
		select {
		case <-s.wake:
		case <-l.closing:
			return
		}
		s.mu.Lock()
		all := s.next
		s.next = nil
		s.mu.Unlock()
		if all == nil {
			continue // those who were to wake it were served
		}
		ctx, cancel := context.WithTimeoutCause(context.Background(), catchUpPatience, errCatchUp)
		all.err = l.tick(ctx)
		cancel()
		close(all.done)
		select {
		case <-time.After(settleEvery):
		case <-l.closing:
			return
		}
	}
}
