package websocket

import (
	"errors"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/duplexhq/duplex/internal/poller"
	"github.com/duplexhq/duplex/websocket/wire"
)

// Handler is told what happens to the connections of a [Server]. The calls for a connection come
// one after the other, Open first and Close last.
type Handler interface {
	// Open says that a handshake is complete. It runs in the HTTP handler, so it may block, and r
	// is its request. Messages wait until it returns.
	Open(c *EventConn, r *http.Request)

	// Message gives a message. Its bytes are lent: they may be changed, but only until Message
	// returns.
	Message(c *EventConn, messageType MessageType, message []byte)

	// Close says that a connection is over, with the error that a read of a [Conn] would give:
	// a [*CloseError], or whatever broke the connection.
	Close(c *EventConn, err error)
}

// DrainHandler is a [Handler] that goes on sending when there is room.
type DrainHandler interface {
	Handler

	// Drained says that the network has taken everything, after an [EventConn].Offer of which it
	// did not take all at once, or that it never will, as the connection has ended. It comes after
	// Open and before Close, but may run beside Message.
	// It must not block.
	Drained(c *EventConn)
}

// ServerOptions are those of [NewServer]. The zero value is safe.
type ServerOptions struct {
	// AcceptOptions hold, but WriteTimeout bounds how long a peer may take nothing of what is
	// pending for it (30 seconds if zero), and Compression is used without ServerTakeover.
	// Observe must be safe for concurrent use.
	AcceptOptions

	// Inline promises that Message and Close never block. They run on the loop that received the
	// bytes then, which is the fastest way: all answers to what was received together leave
	// together. While one of them runs, other connections wait.
	//
	// Without it they run on a goroutine of their own, which is started when bytes have arrived,
	// and a handler that blocks holds up nothing but its own connection. Here, too, what is written
	// while there are messages to be handled leaves with the answer to the last of them, but after
	// a millisecond at the latest.
	Inline bool

	// MaxPending bounds the bytes that are kept for a peer that reads slower than it is written
	// to. If zero or negative, 1 MiB is used. See [EventConn.Write].
	MaxPending int

	// SendBuffer bounds the bytes that the kernel keeps for a slow peer of a plain TCP connection
	// on Linux. If zero, the kernel decides, and may keep some MiB.
	SendBuffer int

	// Panicked is told when the handler has panicked. The connection is cut then, and others go
	// on. If nil, such a panic ends the process, but for one of Open.
	Panicked func(value any, stack []byte)
}

// Server is an [http.Handler] that runs connections by events, in place of a goroutine that reads
// each of them. On Linux, a plain TCP connection is left to a few loops that all servers of the
// process share: while it has nothing to say it costs some 300 bytes, and neither a goroutine nor a
// buffer. Elsewhere, and over TLS, HTTP/2 and HTTP/3, connections have a goroutine, and behave the
// same.
//
// Limits, the closing handshake, keepalive and compression are those of [Conn]; time limits may take
// 0.2 s longer. Pings are answered by the server. A connection whose handler has written more than
// the network takes is not read, beyond the message that is being handled, until the network has
// taken it.
type Server struct {
	handler Handler
	drained func(*EventConn) // of a DrainHandler, else nothing
	options ServerOptions
	limits  poller.Limits
	fresh   wire.Machine // of a connection without compression

	mu     sync.Mutex
	agreed map[agreement]*agreed // there are few; guarded by mu
}

// NewServer returns a server of connections that h handles. Nothing has to be closed; see
// [Group.Shutdown] for an end of all connections.
func NewServer(h Handler, opts *ServerOptions) *Server {
	s := &Server{handler: h, drained: func(*EventConn) {}}
	if d, ok := h.(DrainHandler); ok {
		s.drained = func(c *EventConn) {
			defer s.caught(c)
			d.Drained(c)
		}
	}
	if opts != nil {
		s.options = *opts
	}
	s.options.Options = s.options.Options.withDefaults()
	if k := s.options.Compression; k != nil {
		// The frames of a message are shared by those who take them, and cannot refer to others.
		shared := *k
		shared.ServerTakeover = false
		s.options.Compression = &shared
	}
	if s.options.MaxPending <= 0 {
		s.options.MaxPending = defaultMaxPending
	}
	if s.options.WriteTimeout == 0 {
		s.options.WriteTimeout = defaultStallTimeout
	}
	s.limits = poller.Limits{
		WriteTimeout: s.options.WriteTimeout,
		CloseTimeout: s.options.CloseTimeout,
		SendBuffer:   s.options.SendBuffer,
		Panicked:     s.options.Panicked,
	}
	s.fresh = wire.NewMachine(s.config(nil))
	return s
}

func (s *Server) open(c *EventConn, r *http.Request) {
	defer s.caught(c)
	s.handler.Open(c, r)
}

func (s *Server) message(c *EventConn, t MessageType, message []byte) {
	defer s.caught(c)
	s.handler.Message(c, t, message)
}

func (s *Server) over(c *EventConn, err error) {
	defer s.caught(c)
	s.handler.Close(c, err)
}

// caught is deferred where the handler is called.
func (s *Server) caught(c *EventConn) {
	if s.options.Panicked == nil {
		return
	}
	if v := recover(); v != nil {
		s.options.Panicked(v, debug.Stack())
		c.CloseNow()
	}
}

const (
	defaultMaxPending   = 1 << 20
	defaultStallTimeout = 30 * time.Second
)

// agree gives what a connection has agreed on; nil if that is nothing.
func (s *Server) agree(o *opened) *agreed {
	d := o.deflate
	if d == nil && o.subprotocol == "" {
		return nil
	}
	if d != nil && d.reserved > 0 {
		return &agreed{o.subprotocol, d, s.config(d)}
	}
	key := agreement{subprotocol: o.subprotocol, compressed: d != nil}
	if d != nil {
		key.params = d.params
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.agreed[key]
	if a == nil {
		if s.agreed == nil {
			s.agreed = make(map[agreement]*agreed)
		}
		a = &agreed{o.subprotocol, d, s.config(d)}
		s.agreed[key] = a
	}
	return a
}

func (s *Server) config(d *deflate) wire.Config {
	return wire.Config{Role: wire.Server, MaxMessageBytes: s.options.ReadLimit, Inflation: d.inflation(wire.Server)}
}

// ServeHTTP answers an opening handshake as [Accept] does, and takes the connection over. Over
// HTTP/2 and HTTP/3 it returns when the connection is over, else before.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o, err := open(w, r, &s.options.AcceptOptions)
	if err != nil {
		return // the request is answered
	}
	// Busy until Open has returned.
	c := &EventConn{server: s, busy: true}
	c.agreed = s.agree(&o)
	c.polled, err = poller.Adopt(o.conn, (*events)(c), &s.limits, o.early)
	if errors.Is(err, errors.ErrUnsupported) {
		c.stream = newEventStream(o.run(s.options.Options), s.options.MaxPending, func() { s.drained(c) })
		err = nil
	}
	if err != nil {
		o.deflate.release() // the process has no descriptor left, and Adopt has closed the connection
		return
	}
	if !s.options.Group.add(c) {
		c.CloseNow()
		o.deflate.release()
		return
	}
	s.open(c, r)
	switch {
	case c.stream == nil:
		c.start()
	case r.ProtoMajor > 1:
		c.follow()
	default:
		// Ends with the connection, which Group.Shutdown waits for. This one returns, so that
		// net/http frees what it holds.
		go c.follow()
	}
}
