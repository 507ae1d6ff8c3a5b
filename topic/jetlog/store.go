package jetlog

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A store is what a [Log] keeps its messages in. JetStream is one; tests that
// need a clock of their own have another.
type store interface {
	// publish stores a message as the next one and returns its number. One
	// goroutine may publish at a time. After any error but errNotStored the
	// message may or may not have been stored.
	publish(subject string, message []byte) (number uint64, err error)

	// load calls f with each of the messages, which are given in ascending
	// order, in any order. f is called by one goroutine at a time and may keep
	// the bytes. A message that is not there gives a *missingError.
	load(ctx context.Context, numbers []uint64, f func(number uint64, message []byte) error) error

	// scan calls f with all messages from the number on, in order, up to the
	// newest that was there when it was called.
	scan(ctx context.Context, from uint64, f func(number uint64, message []byte) error) error

	// purge removes all messages before the number.
	purge(ctx context.Context, before uint64) error

	// state returns the numbers of the first and the newest message, and what
	// all take on disk. An empty store has a first number beyond the newest.
	state(ctx context.Context) (storeState, error)
}

type storeState struct {
	first, last uint64
	bytes       uint64
	at          time.Time // by the clock of the server, if it has one
}

var errNotStored = errors.New("jetlog: the store has refused the message")

// missingError says that a message is not there, or cannot be read.
type missingError struct{ number uint64 }

func (e *missingError) Error() string {
	return fmt.Sprintf("jetlog: message %d is not there", e.number)
}
