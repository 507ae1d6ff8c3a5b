package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/client/http3"
	"github.com/duplexhq/duplex/cmd/duplex/internal/stdio"
)

// A serverFlag says which server to talk to.
type serverFlag struct {
	Server string   `default:"http://127.0.0.1:8080" placeholder:"URL" help:"The server (default http://127.0.0.1:8080)."`
	Header []string `short:"H" sep:"none" placeholder:"'NAME: VALUE'" help:"Header field to send with every request; repeatable."`
	HTTP3  bool     `name:"http3" env:"-" help:"Talk to the server over HTTP/3, and over nothing else. It has to be an https URL."`
}

// client makes the client, with the header of the flags.
func (f *serverFlag) client(opts *client.Options) (*client.Client, error) {
	header, err := parseHeader(f.Header)
	if err != nil {
		return nil, err
	}
	opts.Header = header
	if err := f.http3(opts); err != nil {
		return nil, err
	}
	c, err := client.New(f.Server, opts)
	if err != nil {
		return nil, usageError(err.Error())
	}
	return c, nil
}

// overHTTP3 are the transports that HTTP/3 has, the best first.
var overHTTP3 = []client.Transport{client.WebTransport, client.SSE, client.Stream, client.Longpoll, client.Poll}

// http3 brings QUIC, if it is asked for. The client closes what is open.
func (f *serverFlag) http3(opts *client.Options) error {
	if !f.HTTP3 && !slices.Contains(opts.Transports, client.WebTransport) {
		return nil
	}
	transport := http3.New(nil)
	opts.WebTransport = transport.WebTransport
	if !f.HTTP3 {
		return nil
	}
	opts.HTTP = &http.Client{Transport: transport}
	switch {
	case !strings.HasPrefix(f.Server, "https:"):
		return usageError("--http3: --server has to be an https URL")
	case len(opts.Transports) == 0:
		opts.Transports = overHTTP3
	case slices.Contains(opts.Transports, client.WebSocket):
		return usageError("--http3: websocket is not among its transports here; webtransport is")
	}
	return nil
}

type pubCommand struct {
	serverFlag
	Topic       string  `arg:"" help:"The topic, such as orders/eu/42."`
	Data        *string `arg:"" optional:"" help:"The data of the event. - is one event for each line of standard input, as it comes. Nothing is one event: all of standard input."`
	Event       string  `placeholder:"TYPE" help:"Type of the event."`
	ContentType string  `placeholder:"TYPE" xor:"media" help:"Media type of the data."`
	JSON        bool    `name:"json" xor:"media" help:"The data is JSON: short for --content-type application/json."`
	Key         string  `placeholder:"KEY" help:"Idempotency key: the same publish with the same key is stored once."`
}

// Help is shown by duplex pub --help.
func (pubCommand) Help() string {
	return `Prints the id of the event.

Examples:

    duplex pub room hello
    duplex pub orders/eu/42 --event paid --json '{"total":12}'
    duplex pub pictures/1 --content-type image/png < cat.png
    tail -f /var/log/syslog | duplex pub log -`
}

// Run publishes.
func (c *pubCommand) Run(ctx context.Context, out *console) error {
	if c.JSON {
		c.ContentType = "application/json"
	}
	var data []byte
	switch {
	case c.Data == nil:
		var err error
		if data, err = io.ReadAll(out.in); err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
	case *c.Data == "-":
		return c.lines(ctx, out)
	default:
		data = []byte(*c.Data)
	}
	cl, err := c.client(&client.Options{Retry: func(error, time.Duration) bool { return false }})
	if err != nil {
		return err
	}
	defer cl.Close()
	id, err := cl.Publish(ctx, c.Topic, data, &client.PublishOptions{Type: c.Event, Media: c.ContentType, Key: c.Key})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out.out, id)
	return err
}

const (
	// linesAhead is how many lines may wait for those before them: a batch is
	// on its way, and another waits.
	linesAhead = 2000

	// outage is how long the server may be away: shorter than it remembers
	// keys (PROTOCOL.md §11).
	outage = time.Minute
)

// lines publishes standard input line by line, until its end.
func (c *pubCommand) lines(ctx context.Context, out *console) error {
	if c.Key != "" {
		return usageError("--key is for one event; each line has a key of its own")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan client.Event, linesAhead)
	var readErr error // to be read when events is closed
	// Ends with the input. It is not joined, because nothing can interrupt a
	// read of standard input; it holds up nothing else.
	go func() {
		defer close(events)
		readErr = c.read(ctx, out.in, events)
	}()

	meter := newMeter(out.err)
	defer meter.stop()
	var away time.Time // since when the server is
	cl, err := c.client(&client.Options{Retry: func(cause error, wait time.Duration) bool {
		if away.IsZero() {
			away = time.Now()
		}
		if meter.count.Load() == 0 || time.Since(away) > outage {
			return false // one that was never there will hardly come
		}
		out.note("%v; trying again in %v", cause, wait.Round(10*time.Millisecond))
		return true
	}})
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, err := range cl.PublishAll(ctx, c.Topic, events) {
		if err != nil {
			return fmt.Errorf("after %d events: %w", meter.count.Load(), err)
		}
		meter.count.Add(1)
		away = time.Time{}
	}
	return readErr
}

// read sends an event for each line, empty ones too unless they should be
// JSON. The last one needs no line end.
func (c *pubCommand) read(ctx context.Context, in io.Reader, events chan<- client.Event) error {
	for line, err := range stdio.Lines(in) {
		if err != nil {
			return err
		}
		if c.JSON && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		e := client.Event{Type: c.Event, Media: c.ContentType, Data: bytes.Clone(line)}
		select {
		case events <- e:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
