package check

import (
	"bufio"
	"context"
	"io"
	"net/url"
	"time"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/sse"
)

// follow opens an answer without end.
func (p *probe) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	p.close = func() { cancel(nil) } // until there is more to end
	media, query := "text/event-stream", url.Values{"envelope": {"1"}}
	if p.Transport == client.Stream {
		media, query = "application/x-ndjson", url.Values{}
	}
	waiting := time.AfterFunc(p.c.Timeout, func() { cancel(errUnanswered) })
	defer waiting.Stop()
	resp, body, err := p.get(ctx, media, query)
	if err != nil {
		return err
	}
	if !waiting.Stop() {
		return errUnanswered
	}
	// Ends with the request. Joined by close.
	events := make(chan read)
	p.close = func() {
		cancel(nil)
		for range events {
		}
	}
	go func() {
		defer close(events)
		for r := range eventsOf(p.Transport, body) {
			select {
			case events <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	p.next = func(ctx context.Context) (string, error) {
		select {
		case r, ok := <-events:
			if !ok {
				return "", io.EOF
			}
			return r.event, r.err
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	first, stop := context.WithTimeoutCause(ctx, p.c.Timeout, errHeld)
	defer stop()
	_, err = p.next(first)
	p.signalled()
	if err == errHeld && resp.Header.Get("Content-Encoding") != "" {
		return &failure{Held, "something on the way compresses the answer (" + resp.Header.Get("Content-Encoding") + "), and does not flush it"}
	}
	return err
}

// read is what came.
type read struct {
	event string
	err   error
}

// eventsOf gives the types of what comes, and the error at the end.
func eventsOf(t client.Transport, body io.Reader) func(yield func(read) bool) {
	return func(yield func(read) bool) {
		if t == client.SSE {
			for event, err := range sse.Read(body, nil) {
				if !yield(read{event.Type, err}) {
					return
				}
			}
			return
		}
		lines := bufio.NewReader(body)
		for {
			line, err := lines.ReadBytes('\n')
			if !yield(read{typeOf(line), err}) || err != nil {
				return
			}
		}
	}
}
