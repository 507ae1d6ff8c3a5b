package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"iter"
	"unicode/utf8"

	"github.com/duplexhq/duplex/internal/jsonscan"
)

const (
	// maxBatchEvents is what a server takes at once (PROTOCOL.md §7.3).
	maxBatchEvents = 1000

	// maxBatchBytes is when a batch is full enough: far below what servers
	// take, and larger ones are hardly faster.
	maxBatchBytes = 1 << 20
)

// An Event is what is to be published.
type Event struct {
	Type  string // "" is "message"
	Media string // Content-Type; see PublishOptions.Media
	Data  []byte
}

// PublishAll publishes the events of the channel to one topic until it is
// closed, in order, and yields the id of each as it is stored. An event goes
// out as soon as the one before it is stored; those that have come meanwhile
// go together, so a busy channel is published at a high rate, and a quiet one
// without delay. A buffered channel helps. They do not go through the outbox.
//
// Each request carries a key of its own and is repeated when its outcome is
// unknown, so that each event is stored once. An error is the last step. The
// events whose id was yielded are stored; what else was taken from the
// channel may be not, or may still be.
func (c *Client) PublishAll(ctx context.Context, topic string, events <-chan Event) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := checkName(topic); err != nil {
			yield("", err)
			return
		}
		q := queue{events: events}
		for {
			batch, err := q.take(ctx)
			if err == nil && len(batch) == 0 {
				return
			}
			var ids []string
			if err == nil {
				ids, err = c.post(ctx, publicationOf(topic, batch), always)
			}
			for _, id := range ids {
				if !yield(id, nil) {
					return
				}
			}
			if err != nil {
				yield("", err)
				return
			}
		}
	}
}

func always() bool { return true }

// A queue forms batches of what waits in a channel.
type queue struct {
	events <-chan Event
	held   *Event // taken, but it could not go with those before it
	batch  []Event
}

// take waits for an event, and adds those that wait behind it and can go with
// it. There is none once the channel is closed.
func (q *queue) take(ctx context.Context) ([]Event, error) {
	first := q.held
	q.held = nil
	if first == nil {
		select {
		case e, ok := <-q.events:
			if !ok {
				return nil, nil
			}
			first = &e
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	q.batch = append(q.batch[:0], *first)
	if !first.batchable() {
		return q.batch, nil
	}
	for size := len(first.Data); len(q.batch) < maxBatchEvents && size < maxBatchBytes; {
		select {
		case e, ok := <-q.events:
			if !ok {
				return q.batch, nil
			}
			if !e.batchable() {
				q.held = &e
				return q.batch, nil
			}
			q.batch = append(q.batch, e)
			size += len(e.Data)
		default:
			return q.batch, nil
		}
	}
	return q.batch, nil
}

// batchable reports whether a line of a batch can say the event: text, or a
// JSON value that is no string, because a string there stands for text
// (PROTOCOL.md §7.3). What is malformed goes alone, to be refused alone.
func (e *Event) batchable() bool {
	if !utf8.ValidString(e.Type) {
		return false
	}
	switch e.Media {
	case "", "text/plain":
		return utf8.Valid(e.Data)
	case "application/json":
		return jsonscan.Valid(e.Data) && bytes.TrimLeft(e.Data, " \t\r\n")[0] != '"'
	}
	return false
}

func publicationOf(topic string, batch []Event) publication {
	p := publication{topic: topic, key: rand.Text()}
	if len(batch) == 1 {
		p.typ, p.media, p.body = batch[0].Type, batch[0].Media, batch[0].Data
		return p
	}
	p.media, p.batch = "application/x-ndjson", len(batch)
	for i := range batch {
		p.body = batch[i].appendLine(p.body)
	}
	return p
}

// appendLine appends the event as a line of a batch.
func (e *Event) appendLine(dst []byte) []byte {
	dst = append(dst, '{')
	if e.Type != "" {
		dst = append(dst, `"event":`...)
		dst = appendString(dst, e.Type)
		dst = append(dst, ',')
	}
	dst = append(dst, `"data":`...)
	if e.Media == "application/json" {
		start := len(dst)
		dst = append(dst, e.Data...)
		for i, b := range dst[start:] {
			if b == '\n' || b == '\r' { // only between tokens, where a space is as good
				dst[start+i] = ' '
			}
		}
	} else {
		dst = appendString(dst, string(e.Data))
	}
	return append(dst, '}', '\n')
}

func appendString(dst []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // never fails for a string
	return append(dst, quoted...)
}
