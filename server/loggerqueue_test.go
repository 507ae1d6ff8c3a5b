package server

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// A slowWriter blocks until it is let go.
type slowWriter struct {
	let chan struct{}
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (w *slowWriter) Write(p []byte) (int, error) {
	<-w.let
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func TestLogQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slowWriter{let: make(chan struct{})}
		q := newLoggerQueue(slog.NewTextHandler(w, nil))
		logger := slog.New(q).With("of", "test").WithGroup("g")
		for range loggerQueueLines + 101 {
			logger.Info("line", "a", 1) // blocks nobody
		}
		logger.Debug("not asked for")
		close(w.let)
		synctest.Wait()
		q.close()
		lines := strings.Split(strings.TrimSpace(w.buf.String()), "\n")
		if !strings.Contains(lines[0], "msg=line of=test g.a=1") {
			t.Error(lines[0])
		}
		lost := 0
		for _, line := range lines {
			if strings.Contains(line, `"lines lost"=`) {
				lost++
			}
		}
		// One line may have been taken by the writer before the queue was full.
		if n := len(lines) - lost; lost != 1 || n != loggerQueueLines && n != loggerQueueLines+1 {
			t.Errorf("%d lines, lost %d times", n, lost)
		}
	})
}

// A log that is stuck for good does not keep a server from stopping.
func TestLogQueueStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slowWriter{let: make(chan struct{})}
		q := newLoggerQueue(slog.NewTextHandler(w, nil))
		slog.New(q).Info("line")
		q.close()
		close(w.let)
	})
}
