package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/duplexhq/duplex/server"
	"github.com/duplexhq/duplex/topic"
)

type serveCommand struct {
	Listen           []string       `placeholder:"HOST:PORT" help:"Address to listen on (default 127.0.0.1:8080); repeatable. Port 0 is a free one. With a certificate it serves TLS, but http://HOST:PORT does not."`
	TLSCert          string         `name:"tls-cert" placeholder:"FILE" help:"Certificate in PEM, with those between it and its authority. It is read again when it changes."`
	TLSKey           string         `name:"tls-key" placeholder:"FILE" help:"Key of the certificate in PEM."`
	TLSDev           bool           `name:"tls-dev" help:"Serve TLS with a certificate of a local authority, for this machine only, and tell how to trust it."`
	TLSDevDir        string         `name:"tls-dev-dir" placeholder:"DIR" help:"Where the local authority is, or comes to be (default ${tls_dev_dir})."`
	TLSACME          []string       `name:"tls-acme" env:"DUPLEX_TLS_ACME" placeholder:"DOMAIN" help:"Get certificates for these domains from an authority by ACME, and renew them; separated by commas, or repeatable. Listens on :443 unless told otherwise. You agree to the terms of the authority."`
	TLSACMEEmail     string         `name:"tls-acme-email" env:"DUPLEX_TLS_ACME_EMAIL" placeholder:"ADDRESS" help:"Whom the authority tells of trouble."`
	TLSACMEDirectory string         `name:"tls-acme-directory" env:"DUPLEX_TLS_ACME_DIRECTORY" placeholder:"URL" help:"Which authority (default ${acme_directory})."`
	TLSACMEDir       string         `name:"tls-acme-dir" env:"DUPLEX_TLS_ACME_DIR" placeholder:"DIR" help:"Where account and certificates are kept (default acme in --data). Servers that share it share the certificates."`
	TLSACMEKeyID     string         `name:"tls-acme-key-id" env:"DUPLEX_TLS_ACME_KEY_ID" placeholder:"ID" help:"An account that the authority knows already (external account binding)."`
	TLSACMEMACKey    string         `name:"tls-acme-mac-key" env:"DUPLEX_TLS_ACME_MAC_KEY" placeholder:"KEY" help:"The key of that account, in base64url. Better in the environment or a file."`
	H2C              bool           `name:"h2c" env:"DUPLEX_H2C" help:"Serve HTTP/2 without TLS, too, to clients that begin with it. For those behind a proxy that does."`
	NoHTTP2WS        bool           `name:"no-http2-websocket" env:"DUPLEX_NO_HTTP2_WEBSOCKET" help:"Offer no WebSocket over HTTP/2: browsers then open each on a connection of its own, over HTTP/1.1."`
	HTTP3            bool           `name:"http3" env:"DUPLEX_HTTP3" help:"Serve HTTP/3 with WebTransport, too, on the UDP port with the number of the TCP port, and tell browsers of it. Needs TLS. It costs more memory and time than the others."`
	TrustProxy       []netip.Prefix `placeholder:"CIDR" help:"Addresses of proxies that begin each connection with a PROXY protocol header (version 1 or 2); repeatable."`

	Data            string   `default:"duplex-data" placeholder:"DIR" help:"Directory of the log; it is made if missing (default ./duplex-data)."`
	Memory          bool     `help:"Keep the log in memory only: it is gone with the process."`
	Durability      string   `default:"process" enum:"process,fsync" placeholder:"LEVEL" help:"What an acknowledged event outlives: process (also a killed one; synced every second), or fsync (a power loss, too: synced before it is acknowledged). Default process."`
	NATS            string   `name:"nats" env:"DUPLEX_NATS" placeholder:"URL" help:"Keep the log on this NATS server, or on the servers of a cluster, separated by commas, in place of --data. All servers on one NATS are one: whatever is published on one is read on all."`
	NATSCredentials string   `name:"nats-credentials" placeholder:"FILE" help:"Credentials for NATS: a user's JWT and key."`
	NATSStream      string   `name:"nats-stream" default:"duplex" placeholder:"NAME" help:"Stream on NATS; it is made if missing (default duplex)."`
	NATSReplicas    int      `name:"nats-replicas" default:"1" placeholder:"N" help:"Servers that have a copy of a stream that is made: 1, 3 or 5 (default 1)."`
	AllowOrigin     []string `placeholder:"ORIGIN" help:"Origin of other pages that may use the topics, as https://example.com; repeatable. * is all, without credentials."`
	AllowHost       []string `placeholder:"HOST" help:"Host that requests may ask for on a loopback address, besides localhost; repeatable."`

	RetainEvents int           `default:"100000" placeholder:"N" help:"Events kept of each topic (default 100000; 0 is no limit)."`
	RetainAge    time.Duration `default:"24h" placeholder:"TIME" help:"Age up to which events are kept (default 24h; 0 is no limit)."`
	RetainBytes  size          `default:"1GiB" placeholder:"SIZE" help:"Size of the whole log (default 1GiB; 0 is no limit)."`
	Rule         []rule        `sep:"\n" placeholder:"RULE" help:"What differs for the topics of a pattern, see above; repeatable, the first that matches counts."`
	MaxLagBytes  size          `default:"0" placeholder:"SIZE" help:"Data that a slow subscriber may lack before it is closed (default 0: no limit)."`
	MaxLagTime   time.Duration `default:"0" placeholder:"TIME" help:"Age of the events that a slow subscriber may lack before it is closed (default 0: no limit)."`

	Presence      []string      `sep:"\n" placeholder:"PATTERN" help:"Record who is on the topics of a pattern: /topics/$presence/TOPIC tells; repeatable."`
	PresenceGrace time.Duration `default:"5s" placeholder:"TIME" help:"Time that a member with a name stays when it has no connection (default 5s)."`
	MaxMembers    int           `default:"1000000" placeholder:"N" help:"Members of all topics together (default 1000000; 0 is no limit)."`

	MaxEventBytes     size          `default:"1MiB" placeholder:"SIZE" help:"Data of one event (default 1MiB)."`
	MaxBodyBytes      size          `default:"16MiB" placeholder:"SIZE" help:"Body of a batch or of a request to read (default 16MiB)."`
	MaxIncomingBytes  size          `default:"256MiB" placeholder:"SIZE" help:"All bodies together that are not whole yet (default 256MiB)."`
	MaxHeaderBytes    size          `default:"64KiB" placeholder:"SIZE" help:"Header of a request (default 64KiB)."`
	MaxWait           time.Duration `default:"55s" placeholder:"TIME" help:"Time that a long-poll is held (default 55s)."`
	Ping              time.Duration `default:"25s" placeholder:"TIME" help:"Interval of heartbeats (default 25s)."`
	WriteTimeout      time.Duration `default:"60s" placeholder:"TIME" help:"Time after which a write that does not move, or a body that does not come, is cut (default 60s)."`
	SendBuffer        size          `default:"128KiB" placeholder:"SIZE" help:"What the kernel keeps for a subscriber that is slow to read (default 128KiB)."`
	Compression       bool          `default:"true" negatable:"" help:"Compress messages of WebSocket clients that can (default true)."`
	MaxSubscriptions  int           `default:"1000" placeholder:"N" help:"Subscriptions of one connection or request (default 1000)."`
	MaxConnections    int           `default:"0" placeholder:"N" help:"Connections of the server (default 0: no limit)."`
	MaxStreams        int           `default:"250" placeholder:"N" help:"Requests at once on one connection of HTTP/2 or HTTP/3 (default 250)."`
	MaxTopics         int           `default:"1000000" placeholder:"N" help:"Topics (default 1000000; 0 is no limit)."`
	MaxKeys           int           `default:"1000000" placeholder:"N" help:"Idempotency keys remembered (default 1000000; 0 is no limit)."`
	IdempotencyWindow time.Duration `default:"2m" placeholder:"TIME" help:"Time that a key is remembered (default 2m)."`

	DrainTimeout time.Duration `default:"10s" placeholder:"TIME" help:"Time to tell everybody when the server stops (default 10s)."`
	LogLevel     slog.Level    `default:"info" placeholder:"LEVEL" help:"What to log: debug (every request), info, warn or error (default info)."`
}

// Help is shown by duplex serve --help.
func (serveCommand) Help() string {
	return `Examples:

    duplex serve
    duplex serve --listen :80 --allow-origin https://example.com
    duplex serve --tls-dev --listen 127.0.0.1:8443
    duplex serve --tls-acme events.example.com --tls-acme-email ops@example.com
    duplex serve --tls-cert cert.pem --tls-key key.pem --listen :443 --listen http://127.0.0.1:8080
    duplex serve --rule 'quotes/**: retain-events=1, slow=conflate, batch=16ms' --rule 'game/**: retain-events=0'
    DUPLEX_RETAIN_AGE=1h duplex serve --config duplex.yaml

A rule sets, for the topics of its pattern:

    retain-events=N  keep N events of each; 1 is the last value, 0 none: those who are live get them
    retain-age=TIME  keep them for a shorter time
    slow=resume      who is slow gets all from the log, as long as it is there
    slow=conflate    who is slow gets the newest event of each topic (conflate-types: and event type)
    slow=drop        who is slow goes on with the present, and is told of a gap
    batch=TIME       after an event, a subscriber waits so long, then gets all that has come (up to 10s)

In a file, rules are a list:

    rule:
    - pattern: quotes/**
      retain-events: 1
      batch: 16ms

Sockets that systemd has opened for the service take the place of --listen.`
}

// Validate refuses values that would stand for the default, or for nothing.
func (c *serveCommand) Validate() error {
	if c.NATS != "" && (c.Memory || c.Durability == "fsync") {
		return errors.New("--nats: the servers of NATS keep the log; --memory and --durability are for a log here")
	}
	if c.Memory && c.Durability == "fsync" {
		return errors.New("--durability fsync: a log in --memory is on no disk")
	}
	if c.Data == "" && !c.Memory {
		return errors.New("--data: the directory has no name; --memory keeps the log in memory")
	}
	for name, value := range map[string]int64{
		"max-event-bytes":    int64(c.MaxEventBytes),
		"max-body-bytes":     int64(c.MaxBodyBytes),
		"max-incoming-bytes": int64(c.MaxIncomingBytes),
		"max-header-bytes":   int64(c.MaxHeaderBytes),
		"max-wait":           int64(c.MaxWait),
		"ping":               int64(c.Ping),
		"write-timeout":      int64(c.WriteTimeout),
		"send-buffer":        int64(c.SendBuffer),
		"max-subscriptions":  int64(c.MaxSubscriptions),
		"max-streams":        int64(c.MaxStreams),
		"idempotency-window": int64(c.IdempotencyWindow),
		"drain-timeout":      int64(c.DrainTimeout),
	} {
		if value <= 0 {
			return fmt.Errorf("--%s: must be more than 0", name)
		}
	}
	if c.MaxLagTime < 0 {
		return errors.New("--max-lag-time: must not be less than 0")
	}
	if c.PresenceGrace < 0 {
		return errors.New("--presence-grace: must not be less than 0")
	}
	if _, err := c.presence(); err != nil {
		return err
	}
	if err := c.checkTLS(); err != nil {
		return err
	}
	return c.checkRules()
}

// presence parses the patterns.
func (c *serveCommand) presence() ([]topic.Pattern, error) {
	patterns := make([]topic.Pattern, len(c.Presence))
	for i, text := range c.Presence {
		pattern, err := topic.ParsePattern(text)
		if err != nil {
			return nil, fmt.Errorf("--presence %q: %s", text, strings.TrimPrefix(err.Error(), "topic: "))
		}
		patterns[i] = pattern
	}
	return patterns, nil
}

// nats says where a shared log is; nil if it is not shared.
func (c *serveCommand) nats() *server.NATS {
	if c.NATS == "" {
		return nil
	}
	return &server.NATS{URL: c.NATS, Credentials: c.NATSCredentials, Stream: c.NATSStream, Replicas: c.NATSReplicas}
}

// place is where the log is, for people. The URL of NATS may hold a password.
func (c *serveCommand) place() string {
	if c.NATS != "" {
		return "the stream " + c.NATSStream + " on NATS"
	}
	return cmp.Or(c.data(), "memory")
}

// data is the log's directory, or "" for memory.
func (c *serveCommand) data() string {
	if c.Memory {
		return ""
	}
	return c.Data
}

// unlimited makes of 0 what the server takes for no limit.
func unlimited[N int | int64 | size | time.Duration](n N) N {
	if n <= 0 {
		return -1
	}
	return n
}

// Run serves until the context ends.
func (c *serveCommand) Run(ctx context.Context, out *console) error {
	listeners, err := inheritedListeners()
	if err != nil {
		return err
	}
	presence, err := c.presence()
	if err != nil {
		return err
	}
	s, err := server.New(&server.Config{
		Listen:            c.Listen,
		Listeners:         listeners,
		TLSCert:           c.TLSCert,
		TLSKey:            c.TLSKey,
		TLSDevDir:         c.devDir(),
		ACME:              c.acme(),
		H2C:               c.H2C,
		NoHTTP2WebSocket:  c.NoHTTP2WS,
		HTTP3:             c.HTTP3,
		TrustProxy:        c.TrustProxy,
		AllowOrigins:      c.AllowOrigin,
		AllowHosts:        c.AllowHost,
		MaxEventBytes:     int64(c.MaxEventBytes),
		MaxBodyBytes:      int64(c.MaxBodyBytes),
		MaxIncomingBytes:  int64(c.MaxIncomingBytes),
		MaxHeaderBytes:    int(c.MaxHeaderBytes),
		MaxSubscriptions:  c.MaxSubscriptions,
		MaxConnections:    c.MaxConnections,
		MaxStreams:        c.MaxStreams,
		MaxWait:           c.MaxWait,
		Ping:              c.Ping,
		WriteTimeout:      c.WriteTimeout,
		SendBuffer:        int(c.SendBuffer),
		NoCompression:     !c.Compression,
		Data:              c.data(),
		Fsync:             c.Durability == "fsync",
		NATS:              c.nats(),
		RetainEvents:      unlimited(c.RetainEvents),
		RetainAge:         unlimited(c.RetainAge),
		RetainBytes:       int64(unlimited(c.RetainBytes)),
		Rules:             c.rules(),
		Presence:          presence,
		PresenceGrace:     unlimited(c.PresenceGrace),
		MaxMembers:        unlimited(c.MaxMembers),
		MaxLagBytes:       int64(c.MaxLagBytes),
		MaxLagTime:        c.MaxLagTime,
		MaxTopics:         unlimited(c.MaxTopics),
		MaxKeys:           unlimited(c.MaxKeys),
		IdempotencyWindow: c.IdempotencyWindow,
		DrainTimeout:      c.DrainTimeout,
		Logger:            slog.New(slog.NewTextHandler(out.err, &slog.HandlerOptions{Level: c.LogLevel})),
	})
	if err != nil {
		if _, ok := errors.AsType[*server.LogError](err); ok {
			return err
		}
		return usageError(err.Error())
	}
	if err := s.Start(); err != nil {
		err = listenError(err)
		return errors.Join(err, s.Shutdown(ctx))
	}
	fmt.Fprint(out.err, c.banner(s.Endpoints()))
	go tidy(ctx) // ends with ctx, and so with the process
	err = s.Run(ctx)
	if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		out.note("%v", err) // a subscriber that takes nothing is no failure of a stop
		return nil
	}
	return err
}
