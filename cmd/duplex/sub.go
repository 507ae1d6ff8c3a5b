package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/cmd/duplex/internal/stdio"
	"github.com/duplexhq/duplex/topic"
)

type subCommand struct {
	serverFlag
	Topics    []string `arg:"" name:"topic" help:"Topics and patterns: orders/eu/42, orders/*/42, orders/**."`
	Transport []string `aliases:"as" default:"auto" placeholder:"TRANSPORT" help:"websocket, webtransport, sse, stream, longpoll or poll, or several of them, the best first. The default is auto: the best that works."`
	After     string   `default:"now" placeholder:"ID" help:"Where to begin: after the event with this id, earliest, or now (the default)."`
	Member    string   `placeholder:"NAME" help:"Who subscribes, where the server records who is on a topic (--presence)."`
	JSON      bool     `name:"json" help:"Print events as lines of JSON, gaps and ends too."`
	Limit     int      `placeholder:"N" help:"Stop after so many events."`
	Quiet     bool     `short:"q" xor:"talk" help:"Say nothing about connections."`
	Verbose   bool     `short:"v" xor:"talk" help:"Tell each change of the connection, and why other transports do not work."`
}

// Help is shown by duplex sub --help.
func (subCommand) Help() string {
	return `Prints time, topic, type and data of each event, on one line. It finds the transport that the network lets through, moves to a better one when that works, connects again when the connection is lost, and goes on where it was.

Examples:

    duplex sub room
    duplex sub 'orders/**' news --after earliest --json
    duplex sub orders/eu/42 --transport sse --limit 1`
}

// errUnread is why a subscription ends whose output is a pipe that nobody reads any
// more, as when grep -m1 has found what it wanted.
var errUnread = errors.New("nobody reads the output")

// Run prints events until the limit, the topic's end or a signal, or until nobody
// reads them.
func (c *subCommand) Run(ctx context.Context, out *console) error {
	var reached atomic.Bool
	cl, err := c.client(&client.Options{
		Transports: transports(c.Transport),
		Member:     c.Member,
		Retry: func(cause error, wait time.Duration) bool {
			if reached.Load() && !c.Quiet {
				out.note("%v; connecting again in %v", cause, wait.Round(10*time.Millisecond))
			}
			return reached.Load() // a server that was never there will hardly come
		},
	})
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	defer func() { cancel(nil); watching.Wait() }()
	signal.Ignore(syscall.SIGPIPE) // a write fails
	// Ends with ctx. Joined above.
	watching.Go(func() {
		if stdio.AwaitUnread(ctx, out.out) {
			cancel(errUnread)
		}
	})
	if c.Verbose {
		ctx, cancel := context.WithCancel(ctx)
		var telling sync.WaitGroup
		defer func() { cancel(); telling.Wait() }()
		// Ends with ctx. Joined above.
		telling.Go(func() { tellChanges(ctx, cl, out) })
	}
	opts := &client.SubscribeOptions{
		After: c.After,
		Opened: func() {
			reached.Store(true)
			if !c.Quiet {
				out.note("subscribed (%s)", cl.Status().Transport)
			}
		},
	}
	printLine := humanLine
	if c.JSON {
		printLine = jsonLine
	}
	events := 0
	for e, err := range cl.Subscribe(ctx, c.Topics, opts) {
		if err != nil {
			if errors.Is(err, errUnread) {
				return nil
			}
			if _, text := explain(ctx, err); text == "" && c.Limit == 0 {
				return nil // without a limit, a signal is the way to end it
			}
			return err
		}
		if _, err := out.out.Write(printLine(&e)); errors.Is(err, syscall.EPIPE) {
			return nil
		} else if err != nil {
			return fmt.Errorf("print: %w", err)
		}
		if e.Type == topic.TypeGap || e.Type == topic.TypeEnd {
			continue
		}
		if events++; events == c.Limit {
			return nil
		}
	}
	return nil
}

// transports are those of --transport; none is all.
func transports(named []string) []client.Transport {
	if slices.Equal(named, []string{"auto"}) {
		return nil
	}
	var all []client.Transport
	for _, name := range named {
		all = append(all, client.Transport(name))
	}
	return all
}

// tellChanges says how the connection is, each time that it has changed.
func tellChanges(ctx context.Context, cl *client.Client, out *console) {
	told := make(map[client.Transport]string)
	for status := range cl.Changes(ctx) {
		for t, err := range status.Failed {
			if text := err.Error(); told[t] != text {
				told[t] = text
				out.note("%s does not work: %s", t, text)
			}
		}
		switch status.State {
		case client.Connected:
			out.note("connected (%s, %s, first signal after %v)", status.Transport, status.Version, status.Latency.Round(time.Millisecond))
		case client.Waiting, client.Closed, client.Idle:
		default:
			out.note("%s", status.State)
		}
	}
}
