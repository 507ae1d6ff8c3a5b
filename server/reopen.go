package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog"
)

// A lastingLog is a log that is opened anew when it has failed. Meanwhile it is
// unavailable, and its watcher waits: who is live stays connected, and then goes
// on from the log.
type lastingLog struct {
	open   func(context.Context) (topic.Log, error)
	logger *slog.Logger

	changing sync.Mutex // held while the watcher is set, or called by a new log for the first time
	watcher  func([]*topic.Entry)

	mu      sync.RWMutex // guards what follows
	log     topic.Log    // closed while it is opened anew
	failure error        // why that is; nil if it is not

	closing  context.Context // done from Close on
	close    context.CancelFunc
	watching sync.WaitGroup
	once     sync.Once
	closeErr error
}

var _ topic.Log = (*lastingLog)(nil)

// lasting opens a log. Close must be called.
func lasting(ctx context.Context, open func(context.Context) (topic.Log, error), logger *slog.Logger) (*lastingLog, error) {
	log, err := open(ctx)
	if err != nil {
		return nil, err
	}
	l := &lastingLog{open: open, logger: logger, log: log}
	l.closing, l.close = context.WithCancel(context.Background())
	l.watching.Go(l.watch) // Ends with closing. Joined by Close.
	return l, nil
}

func (l *lastingLog) watch() {
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.closing.Done():
			return
		}
		if err := l.current().Ready(); errors.Is(err, jetlog.ErrFailed) {
			l.reopen(passing(err))
		}
	}
}

// reopen tries until it has a new log, or the server stops.
func (l *lastingLog) reopen(failure error) {
	old := l.current()
	l.mu.Lock()
	l.failure = failure
	l.mu.Unlock()
	if err := old.Close(); err != nil {
		l.logger.Warn("a log that has failed cannot be closed well", "error", err)
	}
	for {
		log, err := l.open(l.closing)
		if err == nil {
			l.change(log)
			l.logger.Info("the log was opened anew")
			return
		}
		if l.closing.Err() != nil {
			return
		}
		l.logger.Error("the log cannot be opened anew", "error", err)
		select {
		case <-time.After(readyInterval):
		case <-l.closing.Done():
			return
		}
	}
}

func (l *lastingLog) change(log topic.Log) {
	l.changing.Lock()
	defer l.changing.Unlock()
	log.Watch(l.appended)
	l.mu.Lock()
	l.log, l.failure = log, nil
	l.mu.Unlock()
	if l.watcher != nil {
		l.watcher(nil)
	}
}

// appended is the watcher of each of the logs.
func (l *lastingLog) appended(entries []*topic.Entry) {
	l.changing.Lock()
	watcher := l.watcher
	l.changing.Unlock()
	if watcher != nil {
		watcher(entries)
	}
}

func (l *lastingLog) current() topic.Log {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.log
}

// unavailable is the error of a log that is opened anew.
func (l *lastingLog) unavailable(err error) error {
	if !errors.Is(err, topic.ErrClosed) {
		return err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.failure != nil {
		return l.failure
	}
	return err
}

// Append does what topic.Log says.
func (l *lastingLog) Append(ctx context.Context, name string, drafts []topic.Draft, key topic.Key) (topic.ID, error) {
	id, err := l.current().Append(ctx, name, drafts, key)
	return id, l.unavailable(err)
}

// Read does what topic.Log says.
func (l *lastingLog) Read(ctx context.Context, interests []topic.Interest, limit topic.Limit) (topic.Page, error) {
	page, err := l.current().Read(ctx, interests, limit)
	return page, l.unavailable(err)
}

// Newest does what topic.Log says.
func (l *lastingLog) Newest(ctx context.Context, patterns []topic.Pattern, limit topic.Limit) (topic.Page, error) {
	page, err := l.current().Newest(ctx, patterns, limit)
	return page, l.unavailable(err)
}

// Earliest does what topic.Log says.
func (l *lastingLog) Earliest(ctx context.Context, patterns []topic.Pattern) (topic.Cursor, error) {
	c, err := l.current().Earliest(ctx, patterns)
	return c, l.unavailable(err)
}

// Knows does what topic.Log says.
func (l *lastingLog) Knows(ctx context.Context, c topic.Cursor) (bool, error) {
	if err := l.unavailable(topic.ErrClosed); errors.Is(err, topic.ErrUnavailable) {
		return false, err
	}
	known, err := l.current().Knows(ctx, c)
	return known, l.unavailable(err)
}

// End does what topic.Log says.
func (l *lastingLog) End() topic.ID { return l.current().End() }

// Ended does what topic.Log says.
func (l *lastingLog) Ended(name string) (topic.ID, bool) { return l.current().Ended(name) }

// Topics does what topic.Log says.
func (l *lastingLog) Topics(ctx context.Context, from string, limit int) ([]topic.Info, error) {
	list, err := l.current().Topics(ctx, from, limit)
	return list, l.unavailable(err)
}

// Watch does what topic.Log says.
func (l *lastingLog) Watch(f func([]*topic.Entry)) topic.ID {
	l.changing.Lock()
	l.watcher = f
	l.changing.Unlock()
	return l.current().Watch(l.appended)
}

// Rules are the same for all the logs.
func (l *lastingLog) Rules() *topic.Rules { return l.current().Rules() }

// Ready does what topic.Log says.
func (l *lastingLog) Ready() error { return l.unavailable(passing(l.current().Ready())) }

// passing is the error of a log that will be opened anew, or else the error.
func passing(err error) error {
	if errors.Is(err, jetlog.ErrFailed) {
		return fmt.Errorf("%w, and is opened anew: %v", topic.ErrUnavailable, err)
	}
	return err
}

// Close does what topic.Log says.
func (l *lastingLog) Close() error {
	l.once.Do(func() {
		l.close()
		l.watching.Wait()
		l.closeErr = l.current().Close()
	})
	return l.closeErr
}
