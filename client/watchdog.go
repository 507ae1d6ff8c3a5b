package client

import (
	"context"
	"io"
	"net/http"
	"time"
)

// open sends a request for the subscription. Its answer, and each read of
// its body, fail with errIdle after the limit. Closing the body ends
// everything.
func (s *subscription) open(ctx context.Context, req *http.Request, limit func() time.Duration, good ...int) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	dog := &watchdog{ctx: ctx, cancel: cancel, limit: limit}
	dog.timer = time.AfterFunc(time.Hour, func() { cancel(errIdle) })
	dog.timer.Stop()

	dog.watch()
	resp, err := s.send(req.WithContext(ctx), good...)
	dog.timer.Stop()
	if err != nil {
		cancel(nil)
		return nil, err
	}
	dog.body = resp.Body
	resp.Body = dog
	return resp, nil
}

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
	if err != nil && err != io.EOF && w.ctx.Err() != nil {
		err = context.Cause(w.ctx)
	}
	return n, err
}

func (w *watchdog) Close() error {
	w.cancel(nil)
	return w.body.Close()
}
