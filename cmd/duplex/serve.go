package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/duplexhq/duplex/server"
	"github.com/duplexhq/duplex/topic"
)

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
	if err := c.checkNATS(); err != nil {
		return err
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
		"max-glitches":       int64(c.MaxGlitches),
		"idempotency-window": int64(c.IdempotencyWindow),
		"drain-timeout":      int64(c.DrainTimeout),
	} {
		if value <= 0 {
			return fmt.Errorf("--%s: must be more than 0", name)
		}
	}
	for name, value := range map[string]int64{
		"retain-events":   int64(c.RetainEvents),
		"retain-age":      int64(c.RetainAge),
		"presence-grace":  int64(c.PresenceGrace),
		"max-lag-time":    int64(c.MaxLagTime),
		"max-connections": int64(c.MaxConnections),
		"max-topics":      int64(c.MaxTopics),
		"max-keys":        int64(c.MaxKeys),
		"max-members":     int64(c.MaxMembers),
	} {
		if value < 0 {
			return fmt.Errorf("--%s: must not be less than 0", name)
		}
	}
	for _, host := range c.AllowHost {
		if host == "" || strings.Contains(host, "/") {
			return fmt.Errorf("--allow-host %q: want a name, as events.example.com", host)
		}
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

// config is the server's, as the flags say.
func (c *serveCommand) config(logger *slog.Logger) (*server.Config, error) {
	listeners, err := inheritedListeners()
	if err != nil {
		return nil, err
	}
	presence, err := c.presence()
	if err != nil {
		return nil, err
	}
	nats, err := c.nats()
	if err != nil {
		return nil, err
	}
	return &server.Config{
		Listen:            c.Listen,
		Listeners:         listeners,
		TLSCert:           c.TLSCert,
		TLSKey:            c.TLSKey,
		TLSDevDir:         c.devDir(),
		ACME:              c.acme(),
		H2C:               c.H2C,
		NoHTTP2WebSocket:  c.NoHTTP2WS,
		HTTP3:             c.HTTP3,
		TrustProxy:        c.trustProxy(),
		AllowOrigins:      c.AllowOrigin,
		AllowHosts:        c.AllowHost,
		MaxEventBytes:     int64(c.MaxEventBytes),
		MaxBodyBytes:      int64(c.MaxBodyBytes),
		MaxIncomingBytes:  int64(c.MaxIncomingBytes),
		MaxHeaderBytes:    int(c.MaxHeaderBytes),
		MaxSubscriptions:  c.MaxSubscriptions,
		MaxConnections:    c.MaxConnections,
		MaxStreams:        c.MaxStreams,
		MaxGlitches:       c.MaxGlitches,
		MaxWait:           c.MaxWait,
		Ping:              c.Ping,
		WriteTimeout:      c.WriteTimeout,
		SendBuffer:        int(c.SendBuffer),
		NoCompression:     !c.Compression,
		Data:              c.data(),
		Fsync:             c.Durability == "fsync",
		NATS:              nats,
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
		Logger:            logger,
	}, nil
}

// Run serves until the context ends.
func (c *serveCommand) Run(ctx context.Context, out *console) error {
	logger := slog.New(slog.NewTextHandler(out.err, &slog.HandlerOptions{Level: c.LogLevel}))
	slog.SetDefault(logger)        // what libraries say goes there, too
	signal.Ignore(syscall.SIGPIPE) // who reads the log may go, and the server stays
	config, err := c.config(logger)
	if err != nil {
		return err
	}
	s, err := server.New(ctx, config)
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
