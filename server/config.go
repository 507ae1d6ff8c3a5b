package server

import (
	"cmp"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/duplexhq/duplex/topic"
)

const (
	// DefaultListen is where a server listens unless told otherwise: for
	// programs on this machine only.
	DefaultListen = "127.0.0.1:8080"

	defaultMaxHeaderBytes = 64 << 10
	defaultDrainTimeout   = 10 * time.Second

	// readHeaderTimeout cuts connections that do not send a request.
	readHeaderTimeout = 10 * time.Second

	// idleTimeout is for connections between requests: longer than the 60 s
	// of most proxies, so that it is them who close first.
	idleTimeout = 2 * time.Minute

	// lastAnswers is for the answers that are on their way when the server
	// has stopped. What is left then are connections that asked for nothing:
	// browsers like to open some.
	lastAnswers = time.Second
)

// A Config says what a server is like. Zero fields have the defaults of
// PROTOCOL.md §11.
type Config struct {
	// Listen holds the addresses to listen on, as HOST:PORT. If empty,
	// DefaultListen. Port 0 is a free one: see Server.Addrs.
	Listen []string

	// AllowOrigins lists the other origins whose pages may use the topics, as
	// "https://example.com"; "*" allows all, without credentials.
	AllowOrigins []string

	// AllowHosts lists the names that requests may have as Host on listeners
	// with a loopback address, beside those of this machine and of
	// AllowOrigins.
	AllowHosts []string

	MaxEventBytes    int64         // of the data of one event
	MaxBodyBytes     int64         // of a batch, or of a request to read
	MaxHeaderBytes   int           // of a request
	MaxSubscriptions int           // of one request or connection
	MaxConnections   int           // of the server. If zero, no limit
	MaxWait          time.Duration // that a long-poll is held
	Ping             time.Duration // interval of $ping
	WriteTimeout     time.Duration // of a write that does not move
	SendBuffer       int           // bytes that the kernel keeps for a slow subscriber
	NoCompression    bool          // of WebSocket messages

	RetainEvents      int           // kept of each topic. If negative, no limit
	RetainAge         time.Duration // of the events kept. If negative, no limit
	RetainBytes       int64         // of the log. If negative, no limit
	Rules             []topic.Rule  // what differs for some topics; the first that matches counts
	MaxLagBytes       int64         // of data that a slow subscriber may lack before it is ended. If zero, no limit
	MaxLagTime        time.Duration // how old the events may be that it lacks. If zero, no limit
	MaxTopics         int           // If negative, no limit
	MaxKeys           int           // idempotency keys remembered. If negative, no limit
	IdempotencyWindow time.Duration // for which a key is remembered

	// DrainTimeout bounds how long Run takes to stop. If zero, 10 s.
	DrainTimeout time.Duration

	// Logger takes one line for each request, and what the server does
	// itself. If nil, silent.
	Logger *slog.Logger
}

// withDefaults returns a copy with the fields filled in that are the server's
// own; the parts that it is made of know theirs.
func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	if len(d.Listen) == 0 {
		d.Listen = []string{DefaultListen}
	}
	d.MaxHeaderBytes = cmp.Or(d.MaxHeaderBytes, defaultMaxHeaderBytes)
	d.DrainTimeout = cmp.Or(d.DrainTimeout, defaultDrainTimeout)
	d.Logger = cmp.Or(d.Logger, slog.New(slog.DiscardHandler))
	return d
}

// hosts are those that AllowHosts and AllowOrigins name.
func (c *Config) hosts() []string {
	hosts := slices.Clone(c.AllowHosts)
	for _, origin := range c.AllowOrigins {
		if u, err := url.Parse(origin); err == nil && u.Host != "" {
			hosts = append(hosts, u.Host)
		}
	}
	return hosts
}
