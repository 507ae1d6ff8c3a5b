package server

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// logQueueLines bounds what waits for a log that is slow to write.
const logQueueLines = 4096

// A logQueue writes lines of the log on a goroutine of its own: many of them
// come from loops that must not wait, and a log may be a pipe that nobody
// reads. Lines that find no room are counted, and told of.
type logQueue struct {
	slog.Handler
	lines *logLines // of all handlers that were derived from one
}

type logLines struct {
	queue   chan logLine
	stopped chan struct{}
	writer  sync.WaitGroup

	mu      sync.Mutex
	dropped int // guarded by mu
}

type logLine struct {
	handler slog.Handler
	record  slog.Record
}

// newLogQueue starts the goroutine. close must be called.
func newLogQueue(h slog.Handler) *logQueue {
	l := &logLines{queue: make(chan logLine, logQueueLines), stopped: make(chan struct{})}
	l.writer.Go(func() { l.write(h) }) // Ends when stopped is closed. Joined by close.
	return &logQueue{h, l}
}

// Handle never waits.
func (q *logQueue) Handle(_ context.Context, r slog.Record) error {
	select {
	case q.lines.queue <- logLine{q.Handler, r.Clone()}:
	default:
		q.lines.mu.Lock()
		q.lines.dropped++
		q.lines.mu.Unlock()
	}
	return nil
}

func (q *logQueue) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logQueue{q.Handler.WithAttrs(attrs), q.lines}
}

func (q *logQueue) WithGroup(name string) slog.Handler {
	return &logQueue{q.Handler.WithGroup(name), q.lines}
}

func (l *logLines) write(h slog.Handler) {
	for {
		select {
		case line := <-l.queue:
			l.put(line)
		case <-l.stopped:
			for {
				select {
				case line := <-l.queue:
					l.put(line)
				default:
					return
				}
			}
		}
		l.mu.Lock()
		dropped := l.dropped
		l.dropped = 0
		l.mu.Unlock()
		if dropped > 0 {
			r := slog.NewRecord(time.Now(), slog.LevelWarn, "the log was too slow", 0)
			r.AddAttrs(slog.Int("lines lost", dropped))
			l.put(logLine{h, r})
		}
	}
}

func (l *logLines) put(line logLine) {
	_ = line.handler.Handle(context.Background(), line.record) // there is nobody to tell
}

// close writes what is left, but waits no longer than that takes a second.
func (q *logQueue) close() {
	close(q.lines.stopped)
	written := make(chan struct{})
	go func() { // ends with the writer, or, if the log is stuck, with the process
		q.lines.writer.Wait()
		close(written)
	}()
	timeout := time.NewTimer(time.Second)
	defer timeout.Stop()
	select {
	case <-written:
	case <-timeout.C:
	}
}
