package jetlog

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
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
// Errors are ErrLocked, ErrVersion, and what the system says of the directory.
//
// With Options.NATS the log is in a stream of an external server, and nothing
// in the data directory. Then errors are ErrUnavailable, ErrVersion, ErrOptions,
// and what the server says.
func Open(opts *Options) (l *Log, err error) {
	o := opts.withDefaults()
	if o.NATS != nil {
		return openShared(&o)
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
	e, err := startServer(d.file(serverFolder), &o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if l == nil {
			e.close()
		}
	}()
	ctx := context.Background()
	s, err := openStream(ctx, e.connections, jetstream.StreamConfig{
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
	old, err := openStream(ctx, e.connections, jetstream.StreamConfig{
		Name:        oldStreamName,
		Subjects:    []string{oldSubject},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		AllowDirect: true,
	})
	if err != nil {
		return nil, fmt.Errorf("jetlog: %w", err)
	}
	x, epochs, err := d.load(ctx, s, old, &o)
	if err != nil {
		return nil, err
	}
	l = idleLog(o, s, old, x, epochs)
	if err := l.warm(ctx); err != nil {
		o.Logger.Warn("the newest events cannot be read in advance", "error", err)
	}
	l.wg.Go(l.sweep)
	l.closer = func(l *Log) error {
		return d.leave(l, e)
	}
	return l, nil
}

// load makes the index, and finds out whether a new epoch begins.
func (d *directory) load(ctx context.Context, s, old *stream, o *Options) (*index, []epoch, error) {
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
	x, seen := d.readSnapshot(o, state, oldState)
	x.clock = max(x.clock, d.state.Clock)
	boot := bootID()
	if !d.state.Clean {
		x.clock += clockStride
	}
	if err := x.rebuild(ctx, s, old, time.Now(), o.Progress); err != nil {
		return nil, nil, fmt.Errorf("jetlog: %w", err)
	}
	// What was not synced may be lost if the system has gone down with it.
	torn := !d.state.Clean && (boot == "" || boot != d.state.Boot)
	epochs, err := parseEpochs(s.config().Metadata[metaEpochs])
	if err != nil {
		return nil, nil, err
	}
	if torn || len(epochs) == 0 || x.end < seen {
		epochs = append(epochs, epoch{number: newEpoch(), first: x.end + 1})
		if err := s.setMetadata(ctx, metaEpochs, formatEpochs(epochs)); err != nil {
			return nil, nil, err
		}
	}
	d.state = directoryState{Version: storeVersion, Boot: boot, Clock: x.clock}
	return x, epochs, d.save()
}

// leave closes the server and then the directory.
func (d *directory) leave(l *Log, e *embedded) error {
	err := d.writeSnapshot(l)
	e.close()
	d.state.Clean, d.state.Clock = err == nil, l.index.clock
	if saved := d.save(); err == nil {
		err = saved
	}
	if closed := d.close(); err == nil {
		err = closed
	}
	return err
}

// formatEpochs writes epochs as "NUMBER@FIRST,...", numbers as in ids.
func formatEpochs(epochs []epoch) string {
	var s strings.Builder
	for i, e := range epochs {
		if i > 0 {
			s.WriteByte(',')
		}
		s.WriteString(strconv.FormatUint(e.number, 36) + "@" + strconv.FormatUint(e.first, 10))
	}
	return s.String()
}

func parseEpochs(s string) ([]epoch, error) {
	var epochs []epoch
	if s == "" {
		return nil, nil
	}
	for text := range strings.SplitSeq(s, ",") {
		number, first, _ := strings.Cut(text, "@")
		var e epoch
		var err error
		if e.number, err = strconv.ParseUint(number, 36, 64); err == nil {
			e.first, err = strconv.ParseUint(first, 10, 64)
		}
		if n := len(epochs); err != nil || e.number == 0 || e.first == 0 || n > 0 && e.first < epochs[n-1].first {
			return nil, fmt.Errorf("jetlog: the stream's epochs are %q", s)
		}
		epochs = append(epochs, e)
	}
	return epochs, nil
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
