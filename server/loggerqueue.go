package server

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// loggerQueueLines bounds what waits for a logger that is slow to write.
const loggerQueueLines = 4096

// A loggerQueue has what is logged written by a goroutine of its own: much of it
// comes from loops that must not wait, and the output may be a pipe that nobody
// reads. Lines that find no room are counted, and told of.
type loggerQueue struct {
	slog.Handler
	lines *loggerLines // of all handlers that were derived from one
}

type loggerLines struct {
	queue   chan loggerLine
	stopped chan struct{}
	writer  sync.WaitGroup

	mu      sync.Mutex
	dropped int // guarded by mu
}

type loggerLine struct {
	handler slog.Handler
	record  slog.Record
}

// newLoggerQueue starts the goroutine. close must be called.
func newLoggerQueue(h slog.Handler) *loggerQueue {
	l := &loggerLines{queue: make(chan loggerLine, loggerQueueLines), stopped: make(chan struct{})}
	l.writer.Go(func() { l.write(h) }) // Ends when stopped is closed. Joined by close.
	return &loggerQueue{h, l}
}

// Handle never waits.
func (q *loggerQueue) Handle(_ context.Context, r slog.Record) error {
	select {
	case q.lines.queue <- loggerLine{q.Handler, r.Clone()}:
	default:
		q.lines.mu.Lock()
		q.lines.dropped++
		q.lines.mu.Unlock()
	}
	return nil
}

func (q *loggerQueue) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &loggerQueue{q.Handler.WithAttrs(attrs), q.lines}
}

func (q *loggerQueue) WithGroup(name string) slog.Handler {
	return &loggerQueue{q.Handler.WithGroup(name), q.lines}
}

func (l *loggerLines) write(h slog.Handler) {
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
			l.put(loggerLine{h, r})
		}
	}
}

func (l *loggerLines) put(line loggerLine) {
	_ = line.handler.Handle(context.Background(), line.record) // there is nobody to tell
}

// close writes what is left, but waits no longer than that takes a second.
func (q *loggerQueue) close() {
	close(q.lines.stopped)
	written := make(chan struct{})
	go func() { // ends with the writer, or, if the output is stuck, with the process
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
