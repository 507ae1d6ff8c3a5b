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

func encodeSignal(f Form, s Signal) (b []byte, err error) {
	defer caught(&err)
	return f.AppendSignal(nil, s), nil
}

// deliver gives a batch to a sink, and reports whether it was the last.
func deliver(sink Sink, b Batch) (done, over bool) {
	defer func() {
		if v := recover(); v != nil {
			over = true
			endPanicked(sink, v, b.End != nil)
		}
	}()
	return sink.Send(b), b.End != nil
}

// endPanicked tells a sink that has panicked that it is over, unless it was just
// told. If it cannot bear that either, nobody is left to tell.
func endPanicked(sink Sink, v any, told bool) {
	if !told {
		deliver(sink, Batch{End: &PanicError{v, debug.Stack()}})
	}
}

// read reads what a catch-up worker reads at a time.
func read(ctx context.Context, log Log, interests []Interest) (page Page, err error) {
	defer caught(&err)
	return log.Read(ctx, interests, Limit{Events: catchUpEvents, Bytes: catchUpBytes})
}
