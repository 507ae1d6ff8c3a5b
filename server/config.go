package server

import (
	"cmp"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/presence"
)

const (
	// DefaultListen is where a server listens unless told otherwise: for
	// programs on this machine only.
	DefaultListen = "127.0.0.1:8080"

	// DefaultACMEListen is the same for a server with Config.ACME: where the
	// authority looks for it.
	DefaultACMEListen = ":443"

	defaultMaxHeaderBytes = 64 << 10
	defaultWriteTimeout   = time.Minute
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
	// Listen holds the addresses to listen on, as HOST:PORT. If empty, and
	// there are no Listeners, DefaultListen or DefaultACMEListen. Port 0 is a free one: see
	// Server.Addrs. If there is a certificate, TLS is served there, but for
	// http://HOST:PORT.
	Listen []string

	// Listeners are open already; the server closes them. If there is a
	// certificate, TLS is served on them.
	Listeners []net.Listener

	// TLSCert and TLSKey are files in PEM: a certificate, with those between
	// it and its authority, and its key. They are read again when they change.
	TLSCert, TLSKey string

	// ACME, if not nil, has an authority sign the certificates. Until there is
	// one, handshakes fail, and the server is not ready.
	ACME *ACME

	// TLSDevDir, if not empty, is the directory of an authority that makes a
	// certificate for this machine; who has DevCAFile in it trusts the server.
	// The authority is made if there is none.
	TLSDevDir string

	// H2C allows HTTP/2 on plain connections, to clients that begin with it
	// (RFC 9113 §3.3).
	H2C bool

	// NoHTTP2WebSocket does not offer WebSockets over HTTP/2 (RFC 8441).
	NoHTTP2WebSocket bool

	// HTTP3 serves HTTP/3 with WebTransport, too, where TLS is served: on the UDP
	// port with the same number, of which browsers are told by Alt-Svc. A
	// connection costs far more memory there, and an event more time.
	HTTP3 bool

	// TrustProxy lists whose connections begin with a PROXY protocol header,
	// version 1 or 2: it says where they come from.
	TrustProxy []netip.Prefix

	// AllowOrigins lists the other origins whose pages may use the topics, as
	// "https://example.com"; "*" allows all, without credentials.
	AllowOrigins []string

	// AllowHosts lists the names that requests may have as Host on listeners
	// with a loopback address, beside those of this machine and of
	// AllowOrigins.
	AllowHosts []string

	MaxEventBytes    int64         // of the data of one event
	MaxBodyBytes     int64         // of a batch, or of a request to read
	MaxIncomingBytes int64         // of all bodies that are not whole yet
	MaxHeaderBytes   int           // of a request
	MaxSubscriptions int           // of one request or connection
	MaxConnections   int           // of the server, at most. If zero, what the limit of open files leaves room for
	MaxStreams       int           // requests at once of one connection of HTTP/2 or HTTP/3
	MaxGlitches      int           // frames of one HTTP/2 connection that bring nothing; a fifth of it is forgiven each second
	MaxWait          time.Duration // that a long-poll is held
	Ping             time.Duration // interval of $ping
	WriteTimeout     time.Duration // of a write that does not move
	SendBuffer       int           // bytes that the kernel keeps for a slow subscriber
	NoCompression    bool          // of WebSocket messages

	// Data is the directory of the log; it is made if missing. If empty, the log
	// is in memory, and gone with the process.
	Data string
	// Fsync has every event synced to the disk before it is acknowledged.
	Fsync bool
	// NATS, if not nil, has the log kept by a NATS server or cluster, in place of
	// Data: several servers share one log. Retention, Rules and
	// IdempotencyWindow must be the same for all of them.
	NATS *NATS

	RetainEvents      int             // kept of each topic. If negative, no limit
	RetainAge         time.Duration   // of the events kept. If negative, no limit
	RetainBytes       int64           // of the log. If negative, no limit
	Rules             []topic.Rule    // what differs for some topics; the first that matches counts
	Presence          []topic.Pattern // the topics of which it is recorded who is on them
	PresenceGrace     time.Duration   // for which a member stays when it has no connection. If negative, none
	MaxMembers        int             // of all topics. If negative, no limit
	MaxLagBytes       int64           // of data that a slow subscriber may lack before it is ended. If zero, no limit
	MaxLagTime        time.Duration   // how old the events may be that it lacks. If zero, no limit
	MaxTopics         int             // If negative, no limit
	MaxKeys           int             // idempotency keys remembered. If negative, no limit
	IdempotencyWindow time.Duration   // for which a key is remembered

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
	if len(d.Listen) == 0 && len(d.Listeners) == 0 {
		if d.Listen = []string{DefaultListen}; d.ACME != nil {
			d.Listen = []string{DefaultACMEListen}
		}
	}
	d.MaxHeaderBytes = cmp.Or(d.MaxHeaderBytes, defaultMaxHeaderBytes)
	d.MaxStreams = cmp.Or(d.MaxStreams, defaultMaxStreams)
	d.MaxGlitches = cmp.Or(d.MaxGlitches, defaultMaxGlitches)
	d.WriteTimeout = cmp.Or(d.WriteTimeout, defaultWriteTimeout)
	d.DrainTimeout = cmp.Or(d.DrainTimeout, defaultDrainTimeout)
	d.Logger = cmp.Or(d.Logger, slog.New(slog.DiscardHandler))
	return d
}

// rules are those of the topics, with our own.
func (c *Config) rules() []topic.Rule {
	if len(c.Presence) == 0 {
		return c.Rules
	}
	return presence.Rules(c.Rules)
}

// presence are the options of who records who is on the topics.
func (c *Config) presence() *presence.Options {
	return &presence.Options{
		Patterns:   c.Presence,
		Grace:      c.PresenceGrace,
		MaxMembers: c.MaxMembers,
		Shared:     c.NATS != nil,
		Logger:     c.Logger,
	}
}

// hosts are those that AllowHosts and AllowOrigins name, and those of
// certificates.
func (c *Config) hosts() []string {
	hosts := slices.Clone(c.AllowHosts)
	if c.ACME != nil {
		hosts = append(hosts, c.ACME.Domains...)
	}
	for _, origin := range c.AllowOrigins {
		if u, err := url.Parse(origin); err == nil && u.Host != "" {
			hosts = append(hosts, u.Host)
		}
	}
	return hosts
}
