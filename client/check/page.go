package check

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/duplexhq/duplex/client"
)

// page asks for a first page, and then for one event after the other.
func (p *probe) page(ctx context.Context) error {
	cursor, _, err := p.ask(ctx, url.Values{"after": {"now"}}, errUnanswered)
	if err != nil {
		return err
	}
	p.signalled()
	var waiting []string
	p.next = func(ctx context.Context) (string, error) {
		if len(waiting) == 0 {
			if cursor, waiting, err = p.ask(ctx, url.Values{"after": {cursor}, "limit": {"1"}}, errLost); err != nil {
				return "", err
			}
			if len(waiting) == 0 {
				return "", nil
			}
		}
		event := waiting[0]
		waiting = waiting[1:]
		return event, nil
	}
	if p.Transport == client.Longpoll {
		_, _, err = p.ask(ctx, url.Values{"after": {cursor}, "wait": {"1"}}, errHeldPoll)
	}
	return err
}

// ask gets a page: its cursor, and the types of its events.
func (p *probe) ask(ctx context.Context, query url.Values, late error) (cursor string, events []string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.c.Timeout, late)
	defer cancel()
	if p.Transport == client.Longpoll && query.Get("wait") == "" {
		query.Set("wait", "0")
	}
	resp, body, err := p.get(ctx, "application/json", query)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	var page struct {
		Events []message
		Cursor string
	}
	if err := json.NewDecoder(body).Decode(&page); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", nil, err
	}
	for _, e := range page.Events {
		events = append(events, e.Event)
	}
	return page.Cursor, events, nil
}
