package check

import (
	"context"
	"net/url"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

func (p *probe) websocket(ctx context.Context) error {
	dialing, cancel := context.WithTimeoutCause(ctx, p.c.Timeout, errUnanswered)
	defer cancel()
	opts := p.way.dial
	opts.Header = p.c.Header
	opts.Subprotocols = []string{"duplex.v1"}
	opts.CloseTimeout = time.Second
	// as tells a handshake whose Upgrade was lost on the way from another request.
	conn, resp, err := websocket.Dial(dialing, p.way.url(p.c.Topic, url.Values{"as": {"websocket"}}), &opts)
	if err != nil {
		return p.handshake(resp, err)
	}
	p.close = conn.CloseNow
	if conn.Subprotocol() == "" {
		return &failure{NotDuplex, "the server does not speak duplex.v1"}
	}
	p.next = func(ctx context.Context) (string, error) {
		_, text, err := conn.Read(ctx)
		return typeOf(text), err
	}
	first, cancel := context.WithTimeoutCause(ctx, p.c.Timeout, errSilent)
	defer cancel()
	_, err = p.next(first)
	if first.Err() != nil {
		return errSilent
	}
	p.signalled()
	return err
}

func (p *probe) webtransport(ctx context.Context) error {
	dialing, cancel := context.WithTimeoutCause(ctx, p.c.Timeout, errUnanswered)
	defer cancel()
	u, err := url.Parse(p.way.url(p.c.Topic, nil))
	if err != nil {
		return err
	}
	conn, err := p.way.webTransport(dialing, u, p.c.Header)
	if err != nil {
		if dialing.Err() != nil {
			err = context.Cause(dialing)
		}
		return err
	}
	p.close = conn.Close
	p.next = func(ctx context.Context) (string, error) {
		text, err := conn.ReadMessage(ctx, 0)
		return typeOf(text), err
	}
	first, cancel := context.WithTimeoutCause(ctx, p.c.Timeout, errSilent)
	defer cancel()
	_, err = p.next(first)
	p.signalled()
	return err
}
