package main

import (
	"context"
	"fmt"
	"time"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/topic"
)

type subCommand struct {
	serverFlag
	Topics []string `arg:"" name:"topic" help:"Topics and patterns: orders/eu/42, orders/*/42, orders/**."`
	As     string   `enum:"websocket,sse,stream,longpoll,poll" default:"websocket" placeholder:"TRANSPORT" help:"websocket (the default), sse, stream, longpoll or poll."`
	After  string   `default:"now" placeholder:"ID" help:"Where to begin: after the event with this id, earliest, or now (the default)."`
	JSON   bool     `name:"json" help:"Print events as lines of JSON, gaps and ends too."`
	Limit  int      `placeholder:"N" help:"Stop after so many events."`
	Quiet  bool     `short:"q" help:"Say nothing about connections."`
}

// Help is shown by duplex sub --help.
func (subCommand) Help() string {
	return `Prints time, topic, type and data of each event, on one line. Connects again when the connection is lost, and goes on where it was.

Examples:

    duplex sub room
    duplex sub 'orders/**' news --after earliest --json
    duplex sub orders/eu/42 --as sse --limit 1`
}

// Run prints events until the limit, the topic's end or a signal.
func (c *subCommand) Run(ctx context.Context, out *console) error {
	reached := false
	cl, err := c.client(func(cause error, wait time.Duration) bool {
		if reached && !c.Quiet {
			out.note("%v; connecting again in %v", cause, wait.Round(10*time.Millisecond))
		}
		return reached // a server that was never there will hardly come
	})
	if err != nil {
		return err
	}
	opts := &client.SubscribeOptions{
		Transport: client.Transport(c.As),
		After:     c.After,
		Opened: func() {
			reached = true
			if !c.Quiet {
				out.note("subscribed (%s)", c.As)
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
			if _, text := explain(ctx, err); text == "" && c.Limit == 0 {
				return nil // without a limit, a signal is the way to end it
			}
			return err
		}
		if _, err := out.out.Write(printLine(&e)); err != nil {
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
