package jetlog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

// openShared opens a log on a stream of an external server.
func openShared(opening context.Context, o *Options) (l *Log, err error) {
	n, err := o.NATS.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(opening, connectPatience)
	defer cancel()
	way := &line{wake: make(chan struct{}, 1)}
	c, err := n.connect(ctx, o.Logger, way)
	if err != nil {
		return nil, err
	}
	defer func() {
		if l == nil {
			c.close()
		}
	}()
	subjects := n.subjects()
	node := rand.Uint64()
	if err := tellNodes(c, subjects+nodeSubject, node, o.shared()); err != nil {
		return nil, err
	}
	s, err := openSharedStream(ctx, c, &n, o)
	if err != nil {
		return nil, err
	}
	meta := s.config().Metadata
	if v := meta[metaVersion]; v != strconv.Itoa(sharedStoreVersion) {
		return nil, fmt.Errorf("%w: the stream is of version %q, this program knows %d", ErrVersion, v, sharedStoreVersion)
	}
	epochs, err := index.ParseEpochs(meta[metaEpochs])
	if err != nil || len(epochs) == 0 {
		return nil, errors.Join(fmt.Errorf("%w: the stream has no epoch", ErrVersion), err)
	}
	x := index.NewShared(&o.Bounds, epochs, window(o.RetainBytes))
	l = idleLog(*o, s, nil, x, nil)
	defer func() {
		if err != nil {
			l = nil
		}
	}()
	l.remote = newRemote(l, s, subjects, node, n, way)
	if err := l.remote.agree(ctx); err != nil {
		return nil, err
	}
	// Before the stream is read: nothing is between.
	if _, err := c.reads.ChanSubscribe(subjects+newSubject, l.remote.fresh); err != nil {
		return nil, err
	}
	s.patience, s.asks = answerPatience, answerAsks
	if err = readShared(opening, x, c, s, o.Progress); err != nil {
		return nil, err
	}
	l.epochs = x.Shared.Epochs
	// Not before: the index was made without its lock, which this takes.
	if _, err := c.reads.Subscribe(subjects+turnSubject, l.remote.yield); err != nil {
		return nil, err
	}
	if err := l.warm(ctx); err != nil {
		o.Logger.Warn("the newest events cannot be read in advance", "error", err)
	}
	l.closer = func(*Log) error {
		c.close()
		return nil
	}
	l.wg.Go(l.remote.follow)
	l.wg.Go(l.sweepShared)
	l.wg.Go(l.settleAll)
	for err = l.remote.catchUp(ctx); errors.Is(err, ErrUnavailable) && ctx.Err() == nil; {
		err = l.remote.catchUp(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// openSharedStream opens the stream, or makes it, as soon as that can be done
// before the context is done.
func openSharedStream(ctx context.Context, c connections, n *NATS, o *Options) (*stream, error) {
	subjects := n.subjects()
	var why error // the newest that says more than that time is over
	for told := false; ; {
		asking, cancel := context.WithTimeout(ctx, askPatience)
		s, err := openStream(asking, c, jetstream.StreamConfig{
			Name:        n.Stream,
			Subjects:    []string{subjects + logSubject},
			RePublish:   &jetstream.RePublish{Source: subjects + logSubject, Destination: subjects + newSubject},
			Storage:     jetstream.FileStorage,
			Retention:   jetstream.LimitsPolicy,
			Replicas:    n.Replicas,
			AllowDirect: true,
			Metadata: map[string]string{
				metaVersion: strconv.Itoa(sharedStoreVersion),
				metaEpochs:  index.FirstEpoch().String(),
				metaOptions: o.shared(),
			},
		})
		cancel()
		if err == nil {
			return s, nil
		}
		if refused, ok := errors.AsType[*jetstream.APIError](err); ok && refused.ErrorCode == errCodeNoCluster {
			return nil, fmt.Errorf("jetlog: %w", err)
		}
		if errors.Is(err, nats.ErrNoResponders) {
			err = fmt.Errorf("%w: there is no JetStream, or it is not ready", err)
		}
		if why == nil || !errors.Is(err, context.DeadlineExceeded) {
			why = err
		}
		if !told {
			told = true
			o.Logger.Warn("waiting for NATS", "error", why)
		}
		// It may be that the cluster has just begun, that another node makes the
		// stream, or that this server is cut off from the others.
		c.move()
		select {
		case <-time.After(reconnectWait):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, why)
		}
	}
}

// readShared makes the index of the messages of a shared stream, whichever of its
// servers has them. It gives up when that brings nothing for connectPatience.
func readShared(ctx context.Context, x *index.Index, c connections, s *stream, progress func(read, of uint64)) error {
	for begun, at := time.Now(), x.Message; ; {
		err := readSharedOnce(ctx, x, s, progress)
		if err == nil {
			return nil
		}
		if errors.Is(err, index.ErrDiverged) || errors.Is(err, message.ErrFormat) {
			return fmt.Errorf("jetlog: %w", err)
		}
		// The server that was asked is gone, or does not have everything yet.
		if x.Message > at {
			begun, at = time.Now(), x.Message
		}
		if time.Since(begun) > connectPatience || ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		c.move()
		select {
		case <-time.After(reconnectWait):
		case <-ctx.Done():
		}
	}
}

// readSharedOnce is one attempt of readShared.
func readSharedOnce(ctx context.Context, x *index.Index, s store, progress func(read, of uint64)) error {
	return readOn(ctx, x, s, progress, func(number uint64, b []byte) error {
		_, err := x.Follow(number, b, nil)
		return err
	})
}
