package client

import (
	"context"
	"errors"
	"net/url"

	"github.com/duplexhq/duplex/sse"
)

// sse reads an event stream, in which the data of everything is its JSON
// (PROTOCOL.md §5.9).
func (s *subscription) sse(ctx context.Context) error {
	resp, err := s.follow(ctx, "text/event-stream", url.Values{"envelope": {"1"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	parser := &sse.Parser{MaxEventBytes: s.opts.MaxMessageBytes}
	defer func() { s.retry = parser.Retry }()
	for event, err := range sse.Read(resp.Body, parser) {
		if _, tooBig := errors.AsType[*sse.TooBigError](err); tooBig {
			return final(err)
		}
		if err != nil {
			return err
		}
		if err := s.receive([]byte(event.Data)); err != nil {
			return err
		}
	}
	return errEnded
}
