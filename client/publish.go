package client

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// PublishOptions describe an event beside its data. Nil is all defaults.
type PublishOptions struct {
	// Type of the event. If empty, it is "message".
	Type string

	// Media is the Content-Type. If empty, the server takes text/plain for
	// what is UTF-8, else application/octet-stream.
	Media string

	// Key is the idempotency key (PROTOCOL.md §7.4): the same publish with the same
	// key is stored once, whoever sends it. 1 to 255 printable ASCII characters. If
	// empty, the client makes one.
	Key string

	// End ends the topic with this event.
	End bool
}

// Publish appends an event to the topic and returns its id, once it is stored
// as durably as the server's log promises. A refusal is a *[ProblemError].
//
// It goes through the outbox: events are stored in the order of the calls, each
// once, and those that wait go together. While the server cannot be reached
// they wait, until ctx is done; an event that may be stored already is repeated
// with its key for a minute, and then given up with an error that matches
// [ErrUnknown]. When ctx is done, an event that is under way may still be
// stored. More than [Options].Outbox is [ErrOutboxFull]. Data must not be changed
// before Publish has returned, or, if ctx was done, ever.
func (c *Client) Publish(ctx context.Context, topic string, data []byte, opts *PublishOptions) (id string, err error) {
	if opts == nil {
		opts = new(PublishOptions)
	}
	return c.deliver(ctx, &letter{
		publication: publication{topic: topic, typ: opts.Type, media: opts.Media, key: opts.Key, body: data, end: opts.End},
		event:       Event{Type: opts.Type, Media: opts.Media, Data: data},
	})
}

// End ends the topic (PROTOCOL.md §7.5), after everything that was published
// before. Ending it again does nothing.
func (c *Client) End(ctx context.Context, topic string) error {
	_, err := c.deliver(ctx, &letter{publication: publication{method: http.MethodDelete, topic: topic}})
	return err
}

func (c *Client) deliver(ctx context.Context, l *letter) (id string, err error) {
	if err := checkName(l.publication.topic); err != nil {
		return "", err
	}
	l.done = make(chan outcome, 1)
	if err := c.outbox.put(l); err != nil {
		return "", err
	}
	return c.outbox.wait(ctx, l)
}

// A publication is one POST of one event or of a batch, or the DELETE of a topic.
type publication struct {
	method                 string // "" is POST
	topic, typ, media, key string
	body                   []byte
	batch                  int // number of events; 0 is one that is no batch
	end                    bool
}

func (c *Client) postOnce(ctx context.Context, p publication) ([]string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerWithin, errNoAnswer)
	defer cancel()
	if p.method == http.MethodDelete {
		return c.deleteOnce(ctx, p)
	}
	query := make(url.Values)
	if p.typ != "" {
		query.Set("event", p.typ)
	}
	if p.batch > 0 {
		query.Set("batch", "1")
	}
	if p.end {
		query.Set("end", "1")
	}
	req, err := c.request(ctx, http.MethodPost, c.url(p.topic, query), bytes.NewReader(p.body))
	if err != nil {
		return nil, err
	}
	if p.media != "" {
		req.Header.Set("Content-Type", p.media)
	}
	req.Header.Set("Idempotency-Key", quoteKey(p.key))
	resp, err := c.send(req, http.StatusCreated)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var stored struct {
		ID  string
		IDs []string
	}
	if err := c.readJSON(resp.Body, &stored); err != nil {
		return nil, err
	}
	if stored.ID != "" {
		stored.IDs = []string{stored.ID}
	}
	if want := max(1, p.batch); len(stored.IDs) != want {
		return nil, final(fmt.Errorf("answer to a publish: %d ids for %d events", len(stored.IDs), want))
	}
	return stored.IDs, nil
}

func (c *Client) deleteOnce(ctx context.Context, p publication) ([]string, error) {
	req, err := c.request(ctx, http.MethodDelete, c.url(p.topic, nil), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.send(req, http.StatusNoContent)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	return []string{""}, nil
}

// quoteKey writes a key as the string that the draft of the Idempotency-Key
// field wants. The bare form, which is the same key, needs no escapes.
func quoteKey(key string) string {
	if strings.ContainsAny(key, `"\`) {
		return key
	}
	return `"` + key + `"`
}
