package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"
)

var (
	// ErrOutboxFull says that as many publishes wait as [Options].Outbox allows.
	ErrOutboxFull = errors.New("client: the outbox is full")

	// ErrUnknown says that nobody knows whether an event was stored: it was sent,
	// there was no answer, and the server may have forgotten its key.
	ErrUnknown = errors.New("client: no answer, and the event may be stored or not")
)

// An outbox publishes what waits, one publication after the other, in order
// (PROTOCOL.md §15.7).
type outbox struct {
	c *Client

	mu      sync.Mutex // guards what follows
	letters []*letter  // the first ones may be under way
	running bool
	closed  bool
}

// A letter is an event in the outbox.
type letter struct {
	publication publication
	event       Event
	done        chan outcome // gets one; it has room for it
	left        bool         // nobody waits for it any more
	alone       bool         // a batch that it was part of was refused
}

type outcome struct {
	id  string
	err error
}

// put adds a letter.
func (o *outbox) put(l *letter) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return ErrClosed
	case len(o.letters) >= o.c.opts.Outbox:
		return ErrOutboxFull
	}
	o.letters = append(o.letters, l)
	if !o.running {
		o.running = true
		// Ends when the outbox is empty. Joined by Client.Close.
		o.c.running.Go(o.run)
	}
	return nil
}

// wait waits for the outcome of a letter.
func (o *outbox) wait(ctx context.Context, l *letter) (string, error) {
	select {
	case out := <-l.done:
		return out.id, out.err
	case <-ctx.Done():
	}
	o.mu.Lock()
	l.left = true
	o.mu.Unlock()
	select {
	case out := <-l.done:
		return out.id, out.err
	default:
		return "", context.Cause(ctx)
	}
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
}

func (o *outbox) run() {
	for {
		batch := o.next()
		if batch == nil {
			return
		}
		p := batch[0].publication
		if len(batch) > 1 {
			events := make([]Event, len(batch))
			for i, l := range batch {
				events[i] = l.event
			}
			p = publicationOf(p.topic, events)
		}
		p.key = cmp.Or(p.key, rand.Text())
		ids, err := o.c.post(o.c.ctx, p, func() bool { return o.wanted(batch) })
		if len(batch) > 1 && refused(err) { // it may be for one of them only
			for _, l := range batch {
				l.alone = true
			}
			continue
		}
		o.mu.Lock()
		o.letters = o.letters[len(batch):]
		o.mu.Unlock()
		for i, l := range batch {
			out := outcome{err: err}
			if err == nil {
				out.id = ids[i]
			}
			l.done <- out
		}
	}
}

// next gives the letters that go together; none if there are none.
func (o *outbox) next() []*letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.letters) > 0 && o.letters[0].left {
		o.letters = o.letters[1:]
	}
	if len(o.letters) == 0 {
		o.letters, o.running = nil, false
		return nil
	}
	first, n, size := o.letters[0], 1, 0
	if first.joins(first.publication.topic) {
		for _, l := range o.letters[1:] {
			if size += len(l.event.Data); l.left || !l.joins(first.publication.topic) || n == maxBatchEvents || size > maxBatchBytes {
				break
			}
			n++
		}
	}
	return o.letters[:n:n]
}

// joins reports whether the letter can be part of a batch for the topic.
func (l *letter) joins(topic string) bool {
	p := &l.publication
	return !l.alone && p.topic == topic && p.key == "" && !p.end && p.method == "" && l.event.batchable()
}

// wanted reports whether anybody still waits for one of the letters.
func (o *outbox) wanted(batch []*letter) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range batch {
		if !l.left {
			return true
		}
	}
	return false
}

// Unsent is how many publishes wait in the outbox, with the one under way.
func (c *Client) Unsent() int {
	c.outbox.mu.Lock()
	defer c.outbox.mu.Unlock()
	return len(c.outbox.letters)
}

const (
	// unknownFor is how long a publish is repeated that may be stored. Servers
	// remember keys for 2 minutes unless told otherwise (PROTOCOL.md §11).
	unknownFor = time.Minute

	// answerWithin bounds one try of a publish. A server holds one for 5 s,
	// while the first with its key is still in progress.
	answerWithin = 30 * time.Second
)

// post sends the publication, again and again if that may help. wanted says whether
// it still does.
func (c *Client) post(ctx context.Context, p publication, wanted func() bool) (ids []string, err error) {
	backoff := c.newBackoff()
	var sent time.Time // when it may first have been stored
	asked := false     // for another token
	for {
		began := time.Now()
		ids, err = c.postOnce(ctx, p)
		if unauthorized(err) && c.opts.Token != nil && !asked {
			asked = true
			continue
		}
		if err == nil || !temporary(err) {
			return ids, err
		}
		if sent.IsZero() && !unreached(err) {
			sent = began
		}
		wait, again := c.waitFor(&backoff, err, 0)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !again || !wanted():
			return nil, err
		case !sent.IsZero() && time.Since(sent)+wait > unknownFor:
			return nil, errors.Join(ErrUnknown, err)
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}
