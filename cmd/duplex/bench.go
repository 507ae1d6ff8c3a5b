//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/internal/load"
)

type benchCommand struct {
	Work []string `arg:"" optional:"" placeholder:"WORK" help:"What to measure: fanout, single, paced, publish, idle, resume, slow, topics (default all)."`

	URL    string `name:"url" placeholder:"URL" help:"Measure the server that runs there, as http://127.0.0.1:8080, in place of one that is started for each run."`
	PID    int    `name:"pid" placeholder:"N" help:"Process of the server of --url, to measure its CPU and memory."`
	Remote bool   `help:"Allow a --url on another machine. Only do so if its owner agrees."`
	Pin    bool   `help:"Bind the server to one core and the load to another: figures for one core."`

	As          []string      `default:"websocket,duplex.v1,sse,stream,longpoll" placeholder:"TRANSPORT" help:"How to subscribe, each in a run of its own; sse+websocket is a mix, and h2-sse event streams over HTTP/2 (default websocket,duplex.v1,sse,stream,longpoll)."`
	Subscribers int           `default:"1000" placeholder:"N" help:"Subscribers (default 1000)."`
	Streams     int           `default:"100" placeholder:"N" help:"Subscribers that share a connection with h2-sse (default 100)."`
	Publishers  int           `default:"4" placeholder:"N" help:"Connections that publish (default 4)."`
	Window      int           `default:"16" placeholder:"N" help:"Events under way in fanout and topics; the publishers wait until earlier ones have arrived everywhere (default 16)."`
	Bytes       size          `default:"128" placeholder:"SIZE" help:"Data of an event; at least 16 (default 128). In slow it is 1KiB at least."`
	Rate        float64       `default:"10" placeholder:"N" help:"Events per second in paced (default 10)."`
	SlowRate    float64       `default:"300" placeholder:"N" help:"Events per second in slow (default 300)."`
	Batch       int           `default:"100" placeholder:"N" help:"Events of a request when publishing in batches (default 100)."`
	Missed      int           `default:"100" placeholder:"N" help:"Events that each subscriber catches up with in resume (default 100)."`
	Topics      int           `default:"100" placeholder:"N" help:"Topics of each connection in topics (default 100)."`
	Duration    time.Duration `default:"500ms" placeholder:"TIME" help:"Measured time of a run; paced takes three of it, slow six and four around (default 500ms)."`

	JSON bool   `name:"json" help:"Print a line of JSON for each run."`
	SVG  string `name:"svg" placeholder:"FILE" help:"Write a chart into this file."`
}

// Help is shown by duplex bench --help.
func (benchCommand) Help() string {
	return `Puts a server on this machine under load, and checks every event: each subscriber has to get each one once, in order. Exit code 1 if one did not.

    fanout     everybody gets every event, as fast as the server can
    single     the same, but an event is published when the one before has arrived everywhere
    paced      the same, at a fixed rate: latency from when an event is due until it is there
    publish    one by one over 10 connections, in batches, over one WebSocket; with no subscriber and with one
    idle       memory of the server for each subscriber, before the first event and after some
    resume     all subscribers are cut, miss some events, and reconnect at once: time until the last one has them
    slow       every second subscriber stops reading: memory of the server, and what the others notice of it
    topics     duplex.v1 connections with many topics each, published to at random

Server CPU is the user and system time of the server's process, divided by the events that were delivered.
Memory is its resident memory. Both are missing with --url but without --pid.

Examples:

    duplex bench
    duplex bench fanout paced --as sse,websocket+sse --subscribers 10000 --pin
    duplex bench single idle --as sse,h2-sse --streams 100
    duplex bench --url http://127.0.0.1:8080 --pid 4711 --json
    duplex bench fanout --svg fanout.svg`
}

const (
	maxBenchSubscribers = 1_000_000
	maxBenchPublishers  = 1000
	maxBenchStreams     = 250 // a server of Duplex takes no more unless told
	maxBenchDuration    = 5 * time.Minute
	maxBenchBytes       = 1 << 20
)

// Validate refuses what could not be run, or not be ended.
func (c *benchCommand) Validate() error {
	for _, name := range c.Work {
		if !slices.Contains(benchNames(), name) {
			return fmt.Errorf("no work is called %q: there are %s", name, strings.Join(benchNames(), ", "))
		}
	}
	for _, text := range c.As {
		if _, err := load.ParseTransports(text); err != nil {
			return fmt.Errorf("--as: %w", err)
		}
	}
	for _, b := range []struct {
		name             string
		value, min, most int64
	}{
		{"subscribers", int64(c.Subscribers), 2, maxBenchSubscribers},
		{"streams", int64(c.Streams), 1, maxBenchStreams},
		{"publishers", int64(c.Publishers), 1, maxBenchPublishers},
		{"window", int64(c.Window), 1, 1 << 16},
		{"bytes", int64(c.Bytes), load.MinBytes, maxBenchBytes},
		{"batch", int64(c.Batch), 1, 1000},
		{"missed", int64(c.Missed), 1, 50_000},
		{"topics", int64(c.Topics), 1, 1000},
		{"duration", int64(c.Duration), int64(10 * time.Millisecond), int64(maxBenchDuration)},
	} {
		if b.value < b.min || b.value > b.most {
			if b.name == "duration" {
				return fmt.Errorf("--duration %v: from %v to %v", c.Duration, 10*time.Millisecond, maxBenchDuration)
			}
			return fmt.Errorf("--%s %d: from %d to %d", b.name, b.value, b.min, b.most)
		}
	}
	if c.Rate <= 0 || c.SlowRate <= 0 || c.Rate > 1e6 || c.SlowRate > 1e6 {
		return errors.New("--rate and --slow-rate: more than 0, and at most 1000000")
	}
	if c.URL == "" && (c.PID != 0 || c.Remote) {
		return errors.New("--pid and --remote are about the server of --url")
	}
	_, err := c.address()
	return err
}

// address gives the host and port of --url, or "" if there is none.
func (c *benchCommand) address() (string, error) {
	if c.URL == "" {
		return "", nil
	}
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return "", fmt.Errorf("--url: %w", err)
	case u.Scheme != "http" || u.Host == "":
		return "", fmt.Errorf("--url %s: the load goes over plain HTTP, as http://127.0.0.1:8080", c.URL)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil:
		return "", fmt.Errorf("--url %s: want only a host and a port, as http://127.0.0.1:8080", c.URL)
	case u.Port() == "":
		return u.Host + ":80", nil
	}
	return u.Host, nil
}
