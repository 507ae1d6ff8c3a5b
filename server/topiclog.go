package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog"
	"github.com/duplexhq/duplex/topic/memlog"
)

// openLog opens the log that the config names. Reading a large one takes its
// time: what was read so far is told to the logger.
func openLog(ctx context.Context, c *Config, rules *topic.Rules) (topic.Log, error) {
	bounds := topic.Bounds{
		RetainEvents:      c.RetainEvents,
		RetainAge:         c.RetainAge,
		RetainBytes:       c.RetainBytes,
		IdempotencyWindow: c.IdempotencyWindow,
		MaxTopics:         c.MaxTopics,
		MaxKeys:           c.MaxKeys,
		Rules:             rules,
	}
	if c.Data == "" && c.NATS == nil {
		return memlog.Open(&bounds), nil
	}
	opts := &jetlog.Options{Dir: c.Data, Fsync: c.Fsync, NATS: c.NATS, Bounds: bounds, Logger: c.Logger}
	open := func(ctx context.Context) (topic.Log, error) {
		opts, told := *opts, time.Now()
		opts.Progress = func(read, of uint64) {
			if read < of && time.Since(told) > time.Second {
				told = time.Now()
				c.Logger.Info("reading the log", "read", fmt.Sprintf("%d %%", 100*read/of))
			}
		}
		return jetlog.Open(ctx, &opts)
	}
	if c.NATS == nil {
		log, err := open(ctx)
		if err != nil {
			return nil, &LogError{c.Data, err}
		}
		return log, nil
	}
	log, err := lasting(ctx, open, c.Logger)
	if err != nil {
		return nil, &LogError{"NATS", err}
	}
	return log, nil
}

// NATS says where several servers share a log.
type NATS = jetlog.NATS

// A LogError says that the log cannot be opened.
type LogError struct {
	Place string // a directory, or NATS
	Err   error
}

func (e *LogError) Error() string {
	return "the log in " + e.Place + " cannot be opened: " + strings.TrimPrefix(e.Err.Error(), "jetlog: ")
}

func (e *LogError) Unwrap() error { return e.Err }

// readyInterval is how often the log is looked at.
const readyInterval = time.Second

// watchLog has the server fail with a log that takes nothing more: only a new
// start, on a disk that is well again, can help it. It ends with ctx.
func (s *Server) watchLog(ctx context.Context) {
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	var before error
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := s.log.Ready()
		if errors.Is(err, jetlog.ErrFailed) {
			s.failed <- err
			return
		}
		switch {
		case err != nil && before == nil:
			s.config.Logger.Warn("the log takes no events", "error", err)
		case err == nil && before != nil:
			s.config.Logger.Warn("the log takes events again")
		}
		before = err
	}
}
