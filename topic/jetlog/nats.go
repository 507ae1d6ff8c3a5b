package jetlog

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"slices"
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
	// made if it is not there. Its subjects are duplex.NAME.log,
	// duplex.NAME.new, duplex.NAME.turn and duplex.NAME.node. If empty,
	// "duplex".
	Stream string
	// Replicas is how many servers have a copy of a stream that is made: 1, 3
	// or 5. A stream that is there keeps what it has. If zero, 1.
	Replicas int
	// Patience is how long an append waits for a server that does not answer.
	// A cluster that has lost a server may need 7 s to go on. If zero, 15 s.
	Patience time.Duration

	rollbackPatience time.Duration // if zero, rollbackPatience; tests have less
	firstDial        time.Duration // if zero, firstDial; tests have less
}

const (
	defaultStream   = "duplex"
	defaultPatience = 15 * time.Second
	// connectPatience is how long Open tries to reach the stream.
	connectPatience = 30 * time.Second
	reconnectWait   = 250 * time.Millisecond
	firstDial       = nats.DefaultTimeout // of each server
	// answerPatience is how long one answer to what is read may take, before it
	// is asked for again, answerAsks times in all.
	answerPatience = time.Second
	answerAsks     = 5
	pingEvery      = 2 * time.Second // so that a dead connection is noticed in 6 s
	// moveAfter is how long a server may be there and know nothing of the stream,
	// as one does that is cut off from the others, before another one is asked.
	moveAfter = 3 * time.Second

	sharedStoreVersion = 1

	// The subjects of a shared stream, after those of NATS.subjects.
	logSubject  = ".log"  // its messages
	newSubject  = ".new"  // where the server republishes them
	turnSubject = ".turn" // where nodes ask others to give way
	nodeSubject = ".node" // where a node asks whether there are others
)

var streamNames = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (n *NATS) withDefaults() (NATS, error) {
	d := *n
	d.Stream = cmp.Or(d.Stream, defaultStream)
	d.Replicas = cmp.Or(d.Replicas, 1)
	d.Patience = cmp.Or(d.Patience, defaultPatience)
	d.rollbackPatience = cmp.Or(d.rollbackPatience, rollbackPatience)
	d.firstDial = cmp.Or(d.firstDial, firstDial)
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

// subjects is what the subjects of the stream begin with.
func (n *NATS) subjects() string { return "duplex." + n.Stream }

// connect opens the two connections of a stream.
func (n *NATS) connect(ctx context.Context, logger *slog.Logger, way *line) (c connections, err error) {
	options := []nats.Option{
		nats.Name("duplex"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.ReconnectBufSize(-1), // who publishes tries again
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(2),
		nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { logger.Debug("log server", "message", err) }),
		nats.ReconnectHandler(func(*nats.Conn) { way.kick() }),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { way.lost() }),
	}
	if n.Credentials != "" {
		options = append(options, nats.UserCredentials(n.Credentials))
	}
	if n.TLS != nil {
		options = append(options, nats.Secure(n.TLS))
	}
	c.closed = make(chan struct{})
	for _, nc := range []**nats.Conn{&c.writes, &c.reads} {
		if *nc, err = n.reach(ctx, logger, options); err != nil {
			c.close()
			return connections{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	if c.js, err = jetstream.New(c.writes); err != nil {
		c.close()
		return connections{}, fmt.Errorf("jetlog: %w", err)
	}
	return c, nil
}

// reach dials until there is a server, or there will be none that lets this node
// in. Each try gives a slow one twice the time, which then is also what a
// connection anew may take.
func (n *NATS) reach(ctx context.Context, logger *slog.Logger, options []nats.Option) (*nats.Conn, error) {
	for patience := n.firstDial; ; patience = min(2*patience, connectPatience) {
		nc, err := dial(ctx, n.URL, append(slices.Clip(options), nats.Timeout(patience)))
		if err == nil || ctx.Err() != nil || !absent(err) {
			return nc, err
		}
		if patience == n.firstDial {
			logger.Warn("waiting for NATS", "error", err)
		}
		select {
		case <-time.After(reconnectWait):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

// absent reports whether a server is not there, yet, or too slow: any other cause
// is for people.
func absent(err error) bool {
	e, network := errors.AsType[*net.OpError](err)
	network = network && e.Op != "remote error" // which is one of TLS
	return network || errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, io.EOF)
}

// dial is nats.Connect for who may not have the time that it takes.
func dial(ctx context.Context, url string, options []nats.Option) (*nats.Conn, error) {
	type dialled struct {
		conn *nats.Conn
		err  error
	}
	done := make(chan dialled)
	go func() { // Ends when no server has answered in NATS' own time.
		conn, err := nats.Connect(url, options...)
		select {
		case done <- dialled{conn, err}:
		case <-ctx.Done():
			if err == nil {
				conn.Close()
			}
		}
	}()
	select {
	case d := <-done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// move has the connections go on with another server, if there is one. What was
// asked is not answered any more.
func (c *connections) move() {
	for _, nc := range []*nats.Conn{c.writes, c.reads} {
		if nc.IsConnected() {
			nc.ForceReconnect() // else it looks for one already
		}
	}
}

func (c *connections) close() {
	for _, nc := range []*nats.Conn{c.writes, c.reads} {
		if nc != nil {
			nc.Close()
		}
	}
}
