package client

import (
	"context"
	"errors"
	"net/url"

	"github.com/duplexhq/duplex/sse"
)

// sse reads an event stream, in which the data of everything is its JSON
// (PROTOCOL.md §5.9).
func (r *reading) sse(ctx context.Context) error {
	resp, err := r.follow(ctx, "text/event-stream", url.Values{"envelope": {"1"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	parser := &sse.Parser{MaxEventBytes: r.opts.MaxMessageBytes}
	defer func() { r.retry = parser.Retry }()
	for event, err := range sse.Read(resp.Body, parser) {
		if _, tooBig := errors.AsType[*sse.TooBigError](err); tooBig {
			return final(err)
		}
		if err != nil {
			return err
		}
		if err := r.receive(ctx, event.Data); err != nil {
			return err
		}
	}
	return errEnded
}
