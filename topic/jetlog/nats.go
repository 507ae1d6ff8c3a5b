package jetlog

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NATS says which stream of which external server holds the events. Only nodes
// of Duplex may write to the stream.
type NATS struct {
	// URL is that of a server, or those of several servers of one cluster,
	// separated by commas. It may hold a user and a password, or a token.
	URL string
	// Credentials is a file of a user's JWT and key, if the server wants that.
	Credentials string
	// TLS is for servers that want more than what a tls:// URL says: a
	// certificate, or an authority of their own. It may be nil.
	TLS *tls.Config
	// Stream is the name of the stream, of letters, digits, "-" and "_". It is
	// made if it is not there. Its subjects are duplex.NAME.log and
	// duplex.NAME.new. If empty, "duplex".
	Stream string
	// Replicas is how many servers have a copy of a stream that is made: 1, 3
	// or 5. A stream that is there keeps what it has. If zero, 1.
	Replicas int
	// Patience is how long an append waits for a server that does not answer.
	// A cluster that has lost a server may need 7 s to go on. If zero, 15 s.
	Patience time.Duration
}

const (
	defaultStream   = "duplex"
	defaultPatience = 15 * time.Second
	// connectPatience is how long Open tries to reach the stream.
	connectPatience = 30 * time.Second
	reconnectWait   = 250 * time.Millisecond
	pingEvery       = 5 * time.Second // so that a dead connection is noticed in 15 s

	sharedStoreVersion = 1
)

var streamNames = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (n *NATS) withDefaults() (NATS, error) {
	d := *n
	d.Stream = cmp.Or(d.Stream, defaultStream)
	d.Replicas = cmp.Or(d.Replicas, 1)
	d.Patience = cmp.Or(d.Patience, defaultPatience)
	switch {
	case d.URL == "":
		return d, errors.New("jetlog: no URL of a NATS server")
	case !streamNames.MatchString(d.Stream):
		return d, fmt.Errorf("jetlog: %q cannot be the name of a stream: at most 64 letters, digits, - and _", d.Stream)
	case d.Replicas < 1 || d.Replicas > 5:
		return d, fmt.Errorf("jetlog: %d replicas of a stream, from 1 to 5 are possible", d.Replicas)
	case d.Patience < 0:
		return d, fmt.Errorf("jetlog: a patience of %v", d.Patience)
	}
	return d, nil
}

// connect opens the two connections of a stream.
func (n *NATS) connect(reconnected func()) (c connections, err error) {
	options := []nats.Option{
		nats.Name("duplex"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.ReconnectBufSize(-1), // who publishes tries again
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(2),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectHandler(func(*nats.Conn) { reconnected() }),
	}
	if n.Credentials != "" {
		options = append(options, nats.UserCredentials(n.Credentials))
	}
	if n.TLS != nil {
		options = append(options, nats.Secure(n.TLS))
	}
	c.closed = make(chan struct{})
	for _, nc := range []**nats.Conn{&c.writes, &c.reads} {
		if *nc, err = nats.Connect(n.URL, options...); err != nil {
			c.close()
			return connections{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return c, nil
}

func (c *connections) close() {
	for _, nc := range []*nats.Conn{c.writes, c.reads} {
		if nc != nil {
			nc.Close()
		}
	}
}

// openShared opens a log on a stream of an external server.
func openShared(o *Options) (l *Log, err error) {
	n, err := o.NATS.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectPatience)
	defer cancel()
	wake := make(chan struct{}, 1)
	c, err := n.connect(func() { kick(wake) })
	if err != nil {
		return nil, err
	}
	defer func() {
		if l == nil {
			c.close()
		}
	}()
	subjects := "duplex." + n.Stream
	var s *stream
	for {
		s, err = openStream(ctx, c, jetstream.StreamConfig{
			Name:        n.Stream,
			Subjects:    []string{subjects + ".log"},
			RePublish:   &jetstream.RePublish{Source: subjects + ".log", Destination: subjects + ".new"},
			Storage:     jetstream.FileStorage,
			Retention:   jetstream.LimitsPolicy,
			Replicas:    n.Replicas,
			AllowDirect: true,
			Metadata: map[string]string{
				metaVersion: strconv.Itoa(sharedStoreVersion),
				metaEpochs:  formatEpochs([]epoch{{newEpoch(), 1}}),
			},
		})
		if err == nil {
			break
		}
		// It may be that the cluster has just begun, or that another node makes
		// the stream.
		select {
		case <-time.After(reconnectWait):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	meta := s.config().Metadata
	if v := meta[metaVersion]; v != strconv.Itoa(sharedStoreVersion) {
		return nil, fmt.Errorf("%w: the stream is of version %q, this program knows %d", ErrVersion, v, sharedStoreVersion)
	}
	epochs, err := parseEpochs(meta[metaEpochs])
	if err != nil || len(epochs) == 0 {
		return nil, errors.Join(fmt.Errorf("%w: the stream has no epoch", ErrVersion), err)
	}
	x := newIndex(o)
	x.shared = &chain{epochs: epochs}
	l = idleLog(*o, s, nil, x, nil)
	defer func() {
		if err != nil {
			l = nil
		}
	}()
	l.remote = newRemote(l, s, subjects+".log", n.Patience, wake)
	// Before the stream is read: nothing is between.
	if _, err := c.reads.ChanSubscribe(subjects+".new", l.remote.fresh); err != nil {
		return nil, err
	}
	if err := x.readAll(context.Background(), s, o.Progress); err != nil {
		return nil, fmt.Errorf("jetlog: %w", err)
	}
	l.epochs = x.shared.epochs
	l.closer = func(*Log) error {
		c.close()
		return nil
	}
	l.wg.Go(l.remote.follow)
	l.wg.Go(l.sweepShared)
	if err := l.remote.catchUp(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// readAll makes the index of the messages of a shared stream.
func (x *index) readAll(ctx context.Context, s store, progress func(read, of uint64)) error {
	state, err := s.state(ctx)
	if err != nil {
		return err
	}
	var of, read uint64
	if state.first <= state.last {
		of = state.last - state.first + 1
	}
	err = s.scan(ctx, state.first, func(number uint64, b []byte) error {
		if read++; read%progressMessages == 0 {
			progress(read, of)
		}
		_, err := x.follow(number, b, nil)
		return err
	})
	progress(of, of)
	return err
}

const (
	// tickEvery is how often a log that nobody appends to looks for what is
	// over age.
	tickEvery = time.Second
	// purgeEvery is how often a node removes from the stream what no longer is
	// needed, and purgeAfter how many times later: so long may another node be
	// without the stream and still go on.
	purgeEvery = time.Minute
	purgeAfter = 10
)

// sweepShared has what is over age removed, from the log and then from the
// stream. Ends when closing is closed. Joined by Close.
func (l *Log) sweepShared() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ticks, purges := time.NewTicker(tickEvery), time.NewTicker(purgeEvery)
	defer ticks.Stop()
	defer purges.Stop()
	var before []uint64
	for {
		select {
		case <-l.closing:
			return
		case <-ticks.C:
			l.mu.RLock()
			overdue := l.index.overdue(time.Now().UnixNano())
			l.mu.RUnlock()
			if overdue {
				l.tick(ctx)
			}
		case <-purges.C:
			before = append(before, l.needed())
			if len(before) > purgeAfter {
				if err := l.purgeShared(ctx, before[0]); err != nil {
					l.opts.Logger.Warn("log cannot remove what is over age", "error", err)
				}
				before = before[1:]
			}
		}
	}
}

// tick appends a message without entries: time goes on.
func (l *Log) tick(ctx context.Context) {
	p := &pending{turn: make(chan turn, 1)}
	if t, err := l.queue.enter(ctx, p); err == nil && t == lead {
		l.lead(p)
	}
}

// needed returns the oldest message that is needed. The newest one always is.
func (l *Log) needed() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	oldest, _ := l.index.oldestMessages()
	return min(oldest, l.index.message)
}

func (l *Log) purgeShared(ctx context.Context, before uint64) error {
	if before <= 1 || before == math.MaxUint64 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	state, err := l.store.state(ctx)
	if err != nil || before <= state.first {
		return err
	}
	return l.store.purge(ctx, before)
}
