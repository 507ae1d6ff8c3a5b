package jetlog

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// A connection within the process does not go stale, however long the
	// process is stopped.
	noLimit = 24 * time.Hour

	readyWithin = 10 * time.Minute // a damaged store is looked through as a whole

	// MaxAppendBytes is what the drafts of one append may take in the log,
	// names and types included: a message of the stream.
	MaxAppendBytes = 24 << 20

	// outstandingBytes is what the server may have waiting for one of our
	// connections: whatever loads ask for.
	outstandingBytes = 1 << 30

	// firstWrite makes a connection write at once, in the goroutine that
	// publishes.
	firstWrite = 1
)

// embedded is a server inside this process, and two connections to it. It
// listens nowhere.
type embedded struct {
	server  *server.Server
	warning func() error // what the server has warned of last
	connections
	closeOnce sync.Once
}

// connections are what a stream needs of a server.
type connections struct {
	writes, reads *nats.Conn
	js            jetstream.JetStream // by way of writes
	closed        chan struct{}       // closed when one of them has ended
	// trouble holds an element when the server has logged an error; why
	// returns the newest.
	trouble <-chan struct{}
	why     func() error
}

func startServer(folder string, opts *Options) (e *embedded, err error) {
	user, password := rand.Text(), rand.Text()
	log := &serverLog{logger: opts.Logger, trouble: make(chan struct{}, 1)}
	s, err := server.NewServer(&server.Options{
		ServerName:             "duplex",
		DontListen:             true,
		Username:               user,
		Password:               password,
		AuthTimeout:            patience.Seconds(),
		JetStream:              true,
		StoreDir:               folder,
		JetStreamMaxStore:      1 << 62, // the log bounds itself
		JetStreamMaxMemory:     1 << 30,
		SyncInterval:           opts.SyncInterval,
		SyncAlways:             opts.Fsync,
		MaxPayload:             MaxAppendBytes,
		MaxPending:             outstandingBytes,
		WriteDeadline:          noLimit,
		PingInterval:           noLimit,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		// Of HTTP, WebSocket, MQTT, leaf nodes, gateways and routes, none is
		// configured, and so none listens.
	})
	if err != nil {
		return nil, fmt.Errorf("jetlog: server: %w", err)
	}
	s.SetLoggerV2(log, false, false, false)
	e = &embedded{server: s, warning: log.warned}
	e.closed, e.trouble, e.why = make(chan struct{}), log.trouble, log.last
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	s.Start()
	if !s.JetStreamEnabled() {
		return nil, fmt.Errorf("jetlog: server: %w", log.last())
	}
	if !s.ReadyForConnections(readyWithin) {
		return nil, fmt.Errorf("jetlog: server: not ready in %v", readyWithin)
	}
	connect := func(extra ...nats.Option) (*nats.Conn, error) {
		return nats.Connect("", append(extra,
			nats.InProcessServer(s),
			nats.UserInfo(user, password),
			nats.Timeout(patience),
			nats.NoReconnect(),
			nats.PingInterval(noLimit),
			nats.FlusherTimeout(noLimit),
			nats.SkipSubjectValidation(),
			nats.ClosedHandler(func(*nats.Conn) { e.closeOnce.Do(func() { close(e.closed) }) }),
		)...)
	}
	if e.writes, err = connect(nats.WriteBufferSize(firstWrite)); err != nil {
		return nil, fmt.Errorf("jetlog: server: %w", err)
	}
	if e.reads, err = connect(); err != nil {
		return nil, fmt.Errorf("jetlog: server: %w", err)
	}
	if e.js, err = jetstream.New(e.writes, jetstream.WithDefaultTimeout(patience)); err != nil {
		return nil, fmt.Errorf("jetlog: server: %w", err)
	}
	return e, nil
}

// close stops the server and waits for it.
func (e *embedded) close() {
	for _, nc := range []*nats.Conn{e.writes, e.reads} {
		if nc != nil {
			nc.Close()
		}
	}
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

// serverLog passes on what goes wrong in the server.
type serverLog struct {
	logger  *slog.Logger
	trouble chan struct{} // has room for one

	mu      sync.Mutex
	newest  error // guarded by mu
	warning error // the newest; guarded by mu
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

func (l *serverLog) Warnf(format string, args ...any) {
	message := strings.TrimSpace(fmt.Sprintf(format, args...))
	l.logger.Debug("log server", "message", message)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.warning = errors.New(message)
}

func (l *serverLog) Errorf(format string, args ...any) { l.fail(format, args) }
func (l *serverLog) Fatalf(format string, args ...any) { l.fail(format, args) }

func (l *serverLog) fail(format string, args []any) {
	message := fmt.Sprintf(format, args...)
	l.logger.Error("log server", "message", message)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.newest = errors.New(message)
	select {
	case l.trouble <- struct{}{}:
	default:
	}
}

func (l *serverLog) warned() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.warning
}

func (l *serverLog) last() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newest == nil {
		return errors.New("the server has logged no error")
	}
	return l.newest
}
