package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// retryFor is how long a publish is repeated. Servers remember keys for 2
	// minutes unless told otherwise (PROTOCOL.md §11).
	retryFor = time.Minute

	// answerWithin bounds one try of a publish that can be repeated. A server
	// holds one for 55 s, while the first with its key is still in progress.
	answerWithin = time.Minute
)

// PublishOptions describe an event beside its data. Nil is all defaults.
type PublishOptions struct {
	// Type of the event. If empty, it is "message".
	Type string

	// Media is the Content-Type. If empty, the server takes text/plain for
	// what is UTF-8, else application/octet-stream.
	Media string

	// Key makes the publish harmless to repeat (PROTOCOL.md §7.4), so that it
	// is repeated when its outcome is unknown or the server is busy. 1 to 255
	// printable ASCII characters. If empty, there is one try.
	Key string
}

// Publish appends an event to the topic and returns its id, once it is stored
// as durably as the server's log promises. A refusal is a *[ProblemError].
// Without a key, an error of the network leaves open whether the event was
// stored.
func (c *Client) Publish(ctx context.Context, topic string, data []byte, opts *PublishOptions) (id string, err error) {
	if opts == nil {
		opts = new(PublishOptions)
	}
	ids, err := c.post(ctx, posting{topic: topic, typ: opts.Type, media: opts.Media, key: opts.Key, body: data})
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// A posting is one POST of one event or of a batch.
type posting struct {
	topic, typ, media, key string
	body                   []byte
	batch                  int // number of events; 0 is one that is no batch
}

// post sends the posting, again and again if it has a key and that may help.
func (c *Client) post(ctx context.Context, p posting) (ids []string, err error) {
	if err := checkName(p.topic); err != nil {
		return nil, err
	}
	backoff := c.newBackoff()
	until := time.Now().Add(retryFor)
	for {
		ids, err = c.postOnce(ctx, p)
		if err == nil || p.key == "" || c.opts.Retry == nil && time.Now().After(until) {
			return ids, err
		}
		if err := c.pause(ctx, &backoff, err, 0); err != nil {
			return nil, err
		}
	}
}

func (c *Client) postOnce(ctx context.Context, p posting) ([]string, error) {
	if p.key != "" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, answerWithin, errNoAnswer)
		defer cancel()
	}
	query := make(url.Values)
	if p.typ != "" {
		query.Set("event", p.typ)
	}
	if p.batch > 0 {
		query.Set("batch", "1")
	}
	req, err := c.request(ctx, http.MethodPost, c.url(p.topic, query), bytes.NewReader(p.body))
	if err != nil {
		return nil, err
	}
	if p.media != "" {
		req.Header.Set("Content-Type", p.media)
	}
	if p.key != "" {
		req.Header.Set("Idempotency-Key", quoteKey(p.key))
	}
	resp, err := c.send(req, http.StatusCreated)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := c.readAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return parseIDs(body, max(1, p.batch))
}

// parseIDs reads {"id":"..."} and {"ids":[...]} of that many events.
func parseIDs(body []byte, want int) ([]string, error) {
	var stored struct {
		ID  string
		IDs []string
	}
	if err := json.Unmarshal(body, &stored); err != nil {
		return nil, final(fmt.Errorf("answer to a publish: %w", err))
	}
	if stored.ID != "" {
		stored.IDs = []string{stored.ID}
	}
	if len(stored.IDs) != want {
		return nil, final(fmt.Errorf("answer to a publish: %d ids for %d events", len(stored.IDs), want))
	}
	return stored.IDs, nil
}

// quoteKey writes a key as the string that the draft of the Idempotency-Key
// field wants. The bare form, which is the same key, needs no escapes.
func quoteKey(key string) string {
	if strings.ContainsAny(key, `"\`) {
		return key
	}
	return `"` + key + `"`
}
