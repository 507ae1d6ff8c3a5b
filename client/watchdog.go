package client

import (
	"context"
	"io"
	"time"
)

// A watchdog is a body whose silence is an error. It does not watch while
// nobody reads.
type watchdog struct {
	body   io.ReadCloser
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  func() time.Duration // 0 is none
}

func (w *watchdog) watch() {
	if limit := w.limit(); limit > 0 {
		w.timer.Reset(limit)
	}
}

func (w *watchdog) Read(p []byte) (int, error) {
	w.watch()
	n, err := w.body.Read(p)
	w.timer.Stop()
	if err != nil && w.ctx.Err() != nil {
		err = context.Cause(w.ctx)
	}
	return n, err
}

func (w *watchdog) Close() error {
	w.cancel(nil)
	return w.body.Close()
}
