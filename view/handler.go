package view

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// Options configure a [Handler]. Zero fields have the defaults that they name.
type Options struct {
	// Prefix is the path below which topics live. Default "/topics".
	Prefix string
	// MaxEventBytes bounds the data of one event. Default 1 MiB.
	MaxEventBytes int64
	// MaxBodyBytes bounds a request body, which may be a batch. Default 16 MiB.
	MaxBodyBytes int64
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
	// AllowOrigins lists the other origins whose pages may use topics, as
	// "https://example.com"; "*" allows all, without credentials.
	AllowOrigins []string
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
	or(&c.MaxSubscriptions, 1000)
	or(&c.MaxWait, 55*time.Second)
	or(&c.WriteTimeout, time.Minute)
	or(&c.Ping, topic.DefaultPing)
	or(&c.Retry, 2*time.Second)
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

	draining    chan struct{} // closed by Shutdown: streams end, held polls answer
	drainOnce   sync.Once
	connections connections // WebSockets
}

// New returns a handler. opts may be nil. An error says what is wrong with the
// options.
func New(hub *topic.Hub, opts *Options) (*Handler, error) {
	o := opts.withDefaults()
	origins, err := newOriginPolicy(o.AllowOrigins)
	if err != nil {
		return nil, err
	}
	return &Handler{hub: hub, opts: o, origins: origins, draining: make(chan struct{})}, nil
}

// Shutdown ends all subscribers in order: WebSockets are closed with 1001,
// event streams end after "retry:", held polls are answered with their cursor.
// It returns when the connections that the handler took from net/http are
// gone, or with the context's cause. Requests that net/http still owns are
// waited for by http.Server.Shutdown.
func (h *Handler) Shutdown(ctx context.Context) error {
	gone := h.connections.drain()
	h.drainOnce.Do(func() { close(h.draining) })
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// problem is problemOf for what went wrong in a request; what is nobody's
// fault but ours is logged.
func (h *Handler) problem(r *http.Request, err error) *Problem {
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		h.opts.Logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	return p
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
