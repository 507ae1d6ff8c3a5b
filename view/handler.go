package view

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/duplexhq/duplex/internal/poller"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/presence"
	"github.com/duplexhq/duplex/websocket"
)

// Options configure a [Handler]. Zero fields have the defaults that they name.
type Options struct {
	// Prefix is the path below which topics live. Default "/topics".
	Prefix string
	// MaxEventBytes bounds the data of one event. Default 1 MiB.
	MaxEventBytes int64
	// MaxBodyBytes bounds a request body, which may be a batch. Default 16 MiB.
	MaxBodyBytes int64
	// MaxIncomingBytes bounds the bytes of all request bodies that are not whole
	// yet. Default 256 MiB.
	MaxIncomingBytes int64
	// MaxSubscriptions bounds the topics and patterns of one request or
	// connection. Default 1,000.
	MaxSubscriptions int
	// MaxWait bounds how long a long-poll is held. Default 55 s: proxies cut
	// at 60.
	MaxWait time.Duration
	// WriteTimeout ends a subscriber that took no byte of a write for so long.
	// Default 60 s.
	WriteTimeout time.Duration
	// Ping is the hub's interval of $ping. Default topic.DefaultPing. A
	// WebSocket peer from which nothing was received for 1.5 intervals is dead.
	Ping time.Duration
	// Retry is the least reconnection delay that event streams name when the
	// server stops. Each names another, below twice of it. Default 2 s.
	Retry time.Duration
	// IdleTimeout ends a connection that waits for its next request, of those
	// that were taken from the HTTP server: see Take. Default 2 min.
	IdleTimeout time.Duration
	// SendBuffer bounds the bytes that the kernel keeps for a subscriber that
	// is slow to read, of those that were taken from the HTTP server. Default
	// 128 KiB.
	SendBuffer int
	// NoCompression agrees on no permessage-deflate with WebSocket clients.
	NoCompression bool
	// Take, if not nil, lets the handler take connections from the HTTP server.
	// Over plain TCP under Linux, a subscriber then costs neither a goroutine
	// nor a buffer while it has nothing to take. For the server, a connection
	// is gone when it was hijacked: Take gives the connection of a request,
	// which may be hijacked or not, and who is told of its end if it is.
	Take func(w http.ResponseWriter, r *http.Request) (net.Conn, Lease)
	// WebTransport, if not nil, accepts a session of WebTransport over HTTP/3, or
	// says what is missing for one. The request's handler returns when it has
	// ended.
	WebTransport func(w http.ResponseWriter, r *http.Request) (WebTransport, error)
	// TakeStream is Take for streams of HTTP/2 that internal/h2 serves: for the
	// server, the answer goes on when the handler has returned. It is called
	// once a stream was taken, and gives who is told of its end, by Over.
	TakeStream func(w http.ResponseWriter, r *http.Request) Lease
	// AllowOrigins lists the other origins whose pages may use topics, as
	// "https://example.com"; "*" allows all, without credentials.
	AllowOrigins []string
	// Presence records who is on topics. It is the caller's, who closes it after
	// the handler's last request. If nil, nothing is recorded.
	Presence *presence.Recorder
	// Logger is told of faults of the server, of which clients are told
	// nothing. Default: silent.
	Logger *slog.Logger
}

// withDefaults returns a copy with the zero fields filled in.
func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	or(&c.Prefix, "/topics")
	or(&c.MaxEventBytes, 1<<20)
	or(&c.MaxBodyBytes, 16<<20)
	or(&c.MaxIncomingBytes, 256<<20)
	or(&c.MaxSubscriptions, 1000)
	or(&c.MaxWait, 55*time.Second)
	or(&c.WriteTimeout, time.Minute)
	or(&c.Ping, topic.DefaultPing)
	or(&c.Retry, 2*time.Second)
	or(&c.IdleTimeout, 2*time.Minute)
	or(&c.SendBuffer, 128<<10)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// A Handler serves the topics of a hub. It answers every path below
// Options.Prefix and refuses all others with 404.
type Handler struct {
	hub     *topic.Hub
	opts    Options
	origins *originPolicy

	raw, multi  *websocket.Server // without a subprotocol, and with duplex.v1
	limits      poller.Limits
	draining    atomic.Bool // by Shutdown
	connections connections
	incoming    atomic.Int64 // bytes of bodies that are not whole yet
}

// New returns a handler. opts may be nil. An error says what is wrong with the
// options.
func New(hub *topic.Hub, opts *Options) (*Handler, error) {
	o := opts.withDefaults()
	origins, err := newOriginPolicy(o.AllowOrigins)
	if err != nil {
		return nil, err
	}
	h := &Handler{hub: hub, opts: o, origins: origins, limits: poller.Limits{
		WriteTimeout: o.WriteTimeout,
		SendBuffer:   o.SendBuffer,
		Panicked:     func(v any, stack []byte) { logPanic(o.Logger, v, stack) },
	}}
	h.raw, h.multi = h.newSocketServer(rawSockets{}, o.MaxEventBytes), h.newSocketServer(multiSockets{}, 2*o.MaxEventBytes)
	return h, nil
}

// Taken is how many connections the handler has taken from the HTTP server:
// WebSockets, streams, held polls, and those that wait for their next request.
func (h *Handler) Taken() int { return h.connections.count() }

// cutTimeout is how long Shutdown waits for connections that it has cut.
const cutTimeout = time.Second

// Shutdown ends all subscribers of the hub in order: WebSockets are closed with
// 1001, event streams end after "retry:", held polls are answered with their
// cursor. It returns when the connections that the handler took from net/http are
// gone; when ctx is done first, it cuts them and returns the context's cause.
// Requests that net/http still owns are waited for by http.Server.Shutdown.
func (h *Handler) Shutdown(ctx context.Context) error {
	h.draining.Store(true)
	gone := h.connections.drain()
	h.hub.Drain()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		h.connections.cut()
		select {
		case <-gone:
		case <-time.After(cutTimeout): // a log that blocks, maybe
		}
		return context.Cause(ctx)
	}
}

// untilAnswered is for what is answered also to who has closed his side, which ends
// the request's context: he may still read. It takes a bounded time.
var untilAnswered = context.Background()

// problem is problemOf for what went wrong in a request; what is nobody's
// fault but ours is logged.
func (h *Handler) problem(r *http.Request, err error) *Problem {
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		h.opts.Logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	return p
}

// logPanic logs what has cost one connection, outside of a handler that net/http
// would have caught.
func logPanic(logger *slog.Logger, value any, stack []byte) {
	logger.Error("panic", "value", value, "stack", string(stack))
}

// logEnd logs why the hub has ended a subscriber, if that was our fault.
func (h *Handler) logEnd(err error) {
	if problemOf(err).Status != http.StatusInternalServerError {
		return
	}
	if e, ok := errors.AsType[*topic.PanicError](err); ok {
		logPanic(h.opts.Logger, e.Value, e.Stack)
		return
	}
	h.opts.Logger.Error("subscriber failed", "error", err)
}

// ServeHTTP finds out what the request is about: a topic, or the topics.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	problem := h.origins.apply(w, r)
	var t target
	if problem == nil {
		t, problem = h.target(r)
	}
	if problem == nil {
		problem = h.serve(w, r, t)
	}
	if problem != nil {
		problem.write(w, r)
	}
}
