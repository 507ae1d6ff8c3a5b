package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/duplexhq/duplex/server"
)

type serveCommand struct {
	Listen      []string `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address to listen on; repeatable. Port 0 is a free one."`
	Memory      bool     `default:"true" negatable:"" help:"Keep the log in memory. So far there is no other."`
	AllowOrigin []string `placeholder:"ORIGIN" help:"Origin of other pages that may use the topics, as https://example.com; repeatable. * is all, without credentials."`
	AllowHost   []string `placeholder:"HOST" help:"Host that requests may ask for on a loopback address, besides localhost; repeatable."`

	RetainEvents int           `default:"100000" placeholder:"N" help:"Events kept of each topic (default 100000; 0 is no limit)."`
	RetainAge    time.Duration `default:"24h" placeholder:"TIME" help:"Age up to which events are kept (default 24h; 0 is no limit)."`
	RetainBytes  size          `default:"1GiB" placeholder:"SIZE" help:"Size of the whole log (default 1GiB; 0 is no limit)."`
	Rule         []rule        `sep:"\n" placeholder:"RULE" help:"What differs for the topics of a pattern, see above; repeatable, the first that matches counts."`
	MaxLagBytes  size          `default:"0" placeholder:"SIZE" help:"Data that a slow subscriber may lack before it is closed (default 0: no limit)."`
	MaxLagTime   time.Duration `default:"0" placeholder:"TIME" help:"Age of the events that a slow subscriber may lack before it is closed (default 0: no limit)."`

	MaxEventBytes     size          `default:"1MiB" placeholder:"SIZE" help:"Data of one event (default 1MiB)."`
	MaxBodyBytes      size          `default:"16MiB" placeholder:"SIZE" help:"Body of a batch or of a request to read (default 16MiB)."`
	MaxHeaderBytes    size          `default:"64KiB" placeholder:"SIZE" help:"Header of a request (default 64KiB)."`
	MaxWait           time.Duration `default:"55s" placeholder:"TIME" help:"Time that a long-poll is held (default 55s)."`
	Ping              time.Duration `default:"25s" placeholder:"TIME" help:"Interval of heartbeats (default 25s)."`
	WriteTimeout      time.Duration `default:"60s" placeholder:"TIME" help:"Time after which a write that does not move is cut (default 60s)."`
	SendBuffer        size          `default:"128KiB" placeholder:"SIZE" help:"What the kernel keeps for a subscriber that is slow to read (default 128KiB)."`
	Compression       bool          `default:"true" negatable:"" help:"Compress messages of WebSocket clients that can (default true)."`
	MaxSubscriptions  int           `default:"1000" placeholder:"N" help:"Subscriptions of one connection or request (default 1000)."`
	MaxConnections    int           `default:"0" placeholder:"N" help:"Connections of the server (default 0: no limit)."`
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
      batch: 16ms`
}

// Validate refuses values that would stand for the default, or for nothing.
func (c *serveCommand) Validate() error {
	if !c.Memory {
		return errors.New("--no-memory: there is no other log yet")
	}
	for name, value := range map[string]int64{
		"max-event-bytes":    int64(c.MaxEventBytes),
		"max-body-bytes":     int64(c.MaxBodyBytes),
		"max-header-bytes":   int64(c.MaxHeaderBytes),
		"max-wait":           int64(c.MaxWait),
		"ping":               int64(c.Ping),
		"write-timeout":      int64(c.WriteTimeout),
		"send-buffer":        int64(c.SendBuffer),
		"max-subscriptions":  int64(c.MaxSubscriptions),
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
	return c.checkRules()
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
	s, err := server.New(&server.Config{
		Listen:            c.Listen,
		AllowOrigins:      c.AllowOrigin,
		AllowHosts:        c.AllowHost,
		MaxEventBytes:     int64(c.MaxEventBytes),
		MaxBodyBytes:      int64(c.MaxBodyBytes),
		MaxHeaderBytes:    int(c.MaxHeaderBytes),
		MaxSubscriptions:  c.MaxSubscriptions,
		MaxConnections:    c.MaxConnections,
		MaxWait:           c.MaxWait,
		Ping:              c.Ping,
		WriteTimeout:      c.WriteTimeout,
		SendBuffer:        int(c.SendBuffer),
		NoCompression:     !c.Compression,
		RetainEvents:      unlimited(c.RetainEvents),
		RetainAge:         unlimited(c.RetainAge),
		RetainBytes:       int64(unlimited(c.RetainBytes)),
		Rules:             c.rules(),
		MaxLagBytes:       int64(c.MaxLagBytes),
		MaxLagTime:        c.MaxLagTime,
		MaxTopics:         unlimited(c.MaxTopics),
		MaxKeys:           unlimited(c.MaxKeys),
		IdempotencyWindow: c.IdempotencyWindow,
		DrainTimeout:      c.DrainTimeout,
		Logger:            slog.New(slog.NewTextHandler(out.err, &slog.HandlerOptions{Level: c.LogLevel})),
	})
	if err != nil {
		return usageError(err.Error())
	}
	if err := s.Start(); err != nil {
		err = listenError(err)
		return errors.Join(err, s.Shutdown(ctx))
	}
	fmt.Fprint(out.err, banner(s.Addrs()))
	go tidy(ctx) // ends with ctx, and so with the process
	err = s.Run(ctx)
	if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		out.note("%v", err) // a subscriber that takes nothing is no failure of a stop
		return nil
	}
	return err
}

// listenError says what to do about an address that cannot be had.
func listenError(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; another program listens there: choose another address with --listen", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w; ports below 1024 need a permission: choose another with --listen", err)
	}
	return err
}

// banner tells where the server is, and what to try.
func banner(addrs []net.Addr) string {
	var b strings.Builder
	for _, addr := range addrs {
		fmt.Fprintf(&b, "Duplex listens on %s (log in memory)\n", baseURL(addr))
	}
	base := baseURL(addrs[0])
	flag := ""
	if addrs[0].String() != server.DefaultListen {
		flag = " --server " + base
	}
	fmt.Fprintf(&b, `
  watch      %[1]s/topics/demo  in a browser
  subscribe  curl -N -H 'Accept: text/event-stream' %[1]s/topics/demo
             duplex sub demo%[2]s
  publish    curl -d 'hello' %[1]s/topics/demo
             duplex pub demo hello%[2]s
  poll       curl '%[1]s/topics/demo?after=earliest'

`, base, flag)
	return b.String()
}

// baseURL is where somebody on this machine reaches the address.
func baseURL(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "http://" + addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
