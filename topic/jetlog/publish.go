package jetlog

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/duplexhq/duplex/topic"
)

// publish stores a message after the one with the number, and reports whether
// it is part of the log. If it is not, another one came first, and is.
func (r *remote) publish(after, id uint64, message []byte) (stored bool, err error) {
	r.mu.Lock()
	r.wanted, r.arrived = id, false
	r.mu.Unlock()
	request := r.request(after, message)
	begun := time.Now()
	deadline := begun.Add(r.patience)
	// outcome is known once the follower is done with the message at the next number.
	outcome := func(wait time.Duration) bool {
		return r.await(wait, nil, func() bool { return r.known > after })
	}
	for attempt, doubt := 0, false; ; attempt++ {
		asked := time.Now()
		reply, err := r.stream.writes.RequestMsg(request, ackPatience)
		if err == nil {
			r.took = time.Since(asked)
			var number uint64
			number, err = readAck(reply.Data)
			refused, isRefused := errors.AsType[*jetstream.APIError](err)
			switch {
			case err == nil && number == after+1:
				if err := r.log.follow(number, message); err != nil && !errors.Is(err, errHole) {
					return false, r.log.fail(err)
				}
			case err == nil: // it does not count there
			case isRefused && refused.ErrorCode == errCodeTooLarge:
				return false, fmt.Errorf("%w: %w", errNotStored, err)
			case isRefused && refused.ErrorCode != errCodeWrongLast && !doubt:
				return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		} else if errors.Is(err, nats.ErrMaxPayload) {
			return false, fmt.Errorf("%w: %d bytes, the server takes %d", errNotStored, len(message), r.stream.writes.MaxPayload())
		} else {
			doubt = true
		}
		if r.log.messages() <= after {
			r.line.kick()
			if err != nil && time.Since(begun) > moveAfter {
				r.move() // it may be a leader that is cut off, and does not know
			}
		}
		if outcome(min(pauseMost, 5*time.Millisecond<<min(attempt, 10))) {
			r.mu.Lock()
			stored := r.arrived
			r.mu.Unlock()
			r.count(stored)
			return stored, nil
		}
		switch {
		case r.log.isFailed() != nil:
			return false, r.log.isFailed()
		case isDone(r.leaving):
			return false, topic.ErrClosed
		case time.Now().After(deadline) || r.unavailable(r.patience) != nil:
			if err == nil {
				err = fmt.Errorf("no message %d", after+1)
			}
			return false, fmt.Errorf("%w in %v: %w", ErrUnavailable, r.patience, err)
		}
	}
}

// request is a message that the stream takes only after the one with the number.
func (r *remote) request(after uint64, message []byte) *nats.Msg {
	m := nats.NewMsg(r.subjects + logSubject)
	m.Data = message
	m.Header.Set(headerExpectedLast, strconv.FormatUint(after, 10))
	m.Header.Set(headerExpectedStream, r.stream.name)
	return m
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
