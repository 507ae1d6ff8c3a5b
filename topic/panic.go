package topic

import (
	"context"
	"fmt"
	"runtime/debug"
)

// A PanicError ends a subscriber whose form or sink has panicked, or the log when
// read for it, as net/http ends a connection whose handler does: others go on.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("topic: panic: %v", e.Value) }

// caught is to be deferred: it makes a panic an error.
func caught(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{v, debug.Stack()}
	}
}

func encode(f Form, e *Entry) (b []byte, err error) {
	defer caught(&err)
	return e.Encode(f), nil
}

func encodeSignal(f Form, s Signal) (b []byte, err error) {
	defer caught(&err)
	return f.AppendSignal(nil, s), nil
}

func send(sink Sink, b Batch) (done bool, err error) {
	defer caught(&err)
	return sink.Send(b), nil
}

// deliver gives a batch to a sink. One that panics is told that it is over, and
// over is true.
func deliver(sink Sink, b Batch) (done, over bool) {
	done, err := send(sink, b)
	if err != nil && b.End == nil {
		_, _ = send(sink, Batch{End: err}) // if it cannot bear that either, nobody is left to tell
	}
	return done, err != nil || b.End != nil
}

// read reads what a catch-up worker reads at a time.
func read(ctx context.Context, log Log, interests []Interest) (page Page, err error) {
	defer caught(&err)
	return log.Read(ctx, interests, Limit{Events: catchUpEvents, Bytes: catchUpBytes})
}
