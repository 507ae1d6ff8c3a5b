package jetlog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/duplexhq/duplex/topic/internal/keep"
	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
)

const (
	streamName    = "duplex"
	oldStreamName = "duplex-old"

	// Keys of the stream's metadata.
	metaVersion = "duplex-version"
	metaEpochs  = "duplex-epochs"

	// clockStride is how far the loss clock jumps when nobody knows how far it
	// had come: farther than any log can lose entries in one life.
	clockStride = 1 << 40
)

// Open opens the log of a data directory, with a server of its own inside this
// process. opts may be nil. It reads what the log holds, which takes a while if
// the log was not closed before; see Options.Progress. Close must be called.
//
// When ctx is done before the log is open, its cause is the error. Others are
// ErrLocked, ErrVersion, and what the system says of the directory.
//
// With Options.NATS the log is in a stream of an external server, and nothing
// in the data directory. Then other errors are ErrUnavailable, ErrVersion, ErrOptions,
// and what the server says.
func Open(ctx context.Context, opts *Options) (l *Log, err error) {
	o := opts.withDefaults()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("jetlog: it was not waited for: %w", context.Cause(ctx))
		}
	}()
	if o.NATS != nil {
		return openShared(ctx, &o)
	}
	if o.SyncInterval < 0 {
		return nil, fmt.Errorf("jetlog: a sync interval of %v", o.SyncInterval)
	}
	d, err := openDirectory(o.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if l == nil {
			d.close()
		}
	}()
	if err := d.guard(); err != nil {
		return nil, fmt.Errorf("jetlog: data directory: %w", err)
	}
	e, err := startServer(d.file(serverFolder), &o)
	if err != nil {
		return nil, err
	}
	opened := false // the streams are
	defer func() {
		if l != nil {
			return
		}
		e.close()
		if !opened {
			err = errors.Join(err, d.restore())
		}
	}()
	whole := context.WithoutCancel(ctx) // what changes the directory is not left half done
	s, err := d.openStream(whole, e, &o, jetstream.StreamConfig{
		Name:        streamName,
		Subjects:    []string{topicSubjects + ">", groupSubject},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		AllowDirect: true,
		Metadata:    map[string]string{metaVersion: strconv.Itoa(storeVersion)},
	})
	if err != nil {
		return nil, fmt.Errorf("jetlog: %w", err)
	}
	old, err := d.openStream(whole, e, &o, jetstream.StreamConfig{
		Name:        oldStreamName,
		Subjects:    []string{oldSubject},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		AllowDirect: true,
	})
	if err != nil {
		return nil, fmt.Errorf("jetlog: %w", err)
	}
	opened = true
	if err := d.unguard(); err != nil {
		return nil, err
	}
	x, epochs, err := d.load(ctx, s, old, &o)
	if err != nil {
		return nil, err
	}
	l = idleLog(o, s, old, x, epochs)
	l.mark = d.mark
	if err := l.warm(ctx); err != nil {
		o.Logger.Warn("the newest events cannot be read in advance", "error", err)
	}
	l.wg.Go(l.sweep)
	l.closer = func(l *Log) error {
		return d.leave(l, e)
	}
	return l, nil
}

// openStream opens a stream of the server, or makes it if it was never made. If the
// server has removed it, because it could not open it, that is an error.
func (d *directory) openStream(ctx context.Context, e *embedded, o *Options, config jetstream.StreamConfig) (*stream, error) {
	if d.had[config.Name] {
		switch _, err := e.js.Stream(ctx, config.Name); {
		case errors.Is(err, jetstream.ErrStreamNotFound) && !d.hasStream(config.Name):
			return nil, fmt.Errorf("the server cannot open its files: %w", e.warning())
		case errors.Is(err, jetstream.ErrStreamNotFound):
			o.Logger.Error("what the server knew of its files was damaged, and is made anew", "stream", config.Name, "error", e.warning())
		}
	}
	return openStream(ctx, e.connections, config)
}

// load makes the index, and finds out whether a new epoch begins.
func (d *directory) load(ctx context.Context, s, old *stream, o *Options) (*index.Index, index.Epochs, error) {
	if v := s.config().Metadata[metaVersion]; v != strconv.Itoa(storeVersion) {
		return nil, nil, fmt.Errorf("%w: the stream is of version %q, this program knows %d", ErrVersion, v, storeVersion)
	}
	state, err := s.state(ctx)
	if err != nil {
		return nil, nil, err
	}
	oldState, err := old.state(ctx)
	if err != nil {
		return nil, nil, err
	}
	var marked uint64
	if d.mark, marked, err = d.openMark(); err != nil {
		return nil, nil, fmt.Errorf("jetlog: data directory: %w", err)
	}
	x, seen := d.readSnapshot(o, state, oldState)
	seen = max(seen, marked)
	x.Clock = max(x.Clock, d.state.Clock)
	boot := bootID()
	if !d.state.Clean {
		x.Clock += clockStride
	}
	if err := rebuild(ctx, x, s, old, o.Progress); err != nil {
		return nil, nil, fmt.Errorf("jetlog: %w", err)
	}
	if x.Holes > 0 {
		o.Logger.Error("the log has lost events on the disk: readers that are before them are told of a gap", "entries", x.Holes)
	}
	// What was not synced may be lost if the system has gone down with it.
	torn := !d.state.Clean && (boot == "" || boot != d.state.Boot)
	epochs, err := index.ParseEpochs(s.config().Metadata[metaEpochs])
	if err != nil {
		return nil, nil, err
	}
	lost := x.End < seen
	if lost {
		o.Logger.Error("the log has lost its newest events on the disk: all readers are told of a gap", "first", x.End+1, "last", seen)
		x.Missing(seen)
		x.End = seen
	}
	if torn || len(epochs) == 0 || lost {
		epochs = append(epochs, index.Epoch{Number: keep.NewEpoch(), First: x.End + 1})
		if err := s.setMetadata(ctx, metaEpochs, epochs.String()); err != nil {
			return nil, nil, err
		}
	}
	d.state = directoryState{Version: storeVersion, Boot: boot, Clock: x.Clock}
	return x, epochs, errors.Join(d.mark.set(x.End), d.save())
}

// leave closes the server and then the directory.
func (d *directory) leave(l *Log, e *embedded) error {
	err := d.writeSnapshot(l)
	e.close()
	d.state.Clean, d.state.Clock = err == nil, l.index.Clock
	if saved := d.save(); err == nil {
		err = saved
	}
	if closed := d.close(); err == nil {
		err = closed
	}
	return err
}

func (s *stream) config() jetstream.StreamConfig { return s.handle.CachedInfo().Config }

func (s *stream) setMetadata(ctx context.Context, key, value string) error {
	config := s.config()
	config.Metadata = maps.Clone(config.Metadata)
	config.Metadata[key] = value
	handle, err := s.js.UpdateStream(ctx, config)
	if err != nil {
		return fmt.Errorf("jetlog: stream %s: %w", s.name, err)
	}
	s.handle = handle
	return nil
}
