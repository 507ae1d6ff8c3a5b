package jetlog

import (
	"context"
	"time"

	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
)

// progressMessages is how many messages are read between two calls of
// Options.Progress.
const progressMessages = 1 << 15

// rebuild makes an index what the store says, from the message on that follows
// the newest one that it knows. Retention works as it did when the entries were
// appended, or as the options say now.
func rebuild(ctx context.Context, x *index.Index, s, old store, progress func(read, of uint64)) error {
	if x.Message == 0 {
		if err := old.scan(ctx, 1, x.ReplayCarried); err != nil {
			return err
		}
	}
	now := time.Now().UnixNano()
	err := readOn(ctx, x, s, progress, func(number uint64, b []byte) error { return x.Replay(number, b, now) })
	if err != nil {
		return err
	}
	for x.Expire(now) {
	}
	return nil
}

// readOn gives the messages of a store that follow the newest one that the index
// knows, and tells how far it has come.
func readOn(ctx context.Context, x *index.Index, s store, progress func(read, of uint64), take func(number uint64, b []byte) error) error {
	state, err := s.state(ctx)
	if err != nil {
		return err
	}
	from := max(x.Message+1, state.first)
	var of, read uint64
	if from <= state.last {
		of = state.last - from + 1
	}
	err = s.scan(ctx, from, func(number uint64, b []byte) error {
		if read++; read%progressMessages == 0 {
			progress(read, of)
		}
		return take(number, b)
	})
	if err == nil {
		progress(of, of)
	}
	return err
}
