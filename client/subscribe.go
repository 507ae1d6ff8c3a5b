package client

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/duplexhq/duplex/topic"
)

// Where a subscription may begin besides at an id.
const (
	Earliest = "earliest" // before the oldest event that is kept
	Now      = "now"      // only what comes
)

// SubscribeOptions adjust a subscription. Nil is all defaults.
type SubscribeOptions struct {
	// After is where to begin: an id, Earliest or Now. If empty, Now.
	After string

	// Opened, if not nil, is called from the loop when the subscription has got
	// its place in the log, and again after each loss of the connection: whatever
	// is published afterwards is delivered.
	Opened func()
}

var (
	// ErrClosed is the end of what a client was doing when it was closed.
	ErrClosed = errors.New("client: closed")

	errNoTopics = errors.New("subscribe: no topics")
)

// Subscribe yields the events of topics and patterns, whatever becomes of
// connections and transports: each goes on after the last event. Subscriptions
// of a client share one connection where the transport can (PROTOCOL.md §15.1);
// one to several topics or patterns has one of its own, and its events come in
// the order of the log, so that the id of the last is a place in all of them. Its
// names go into the URL, so they have to fit into the header that the server
// takes (§11).
//
// Besides events, two signals are yielded (§6). $gap: events are gone; delivery
// goes on with what is left. On longpoll and poll its data is the gap member of
// the page, and it has no id. $end: a topic has ended.
//
// The loop ends with its only topic, when that has ended. Every other end is
// an error as the last step: the context's cause, a *[ProblemError] if the
// server refuses, what [Options].Retry did not want to try again, or ErrClosed.
// A loop that is slower than its events holds up no other: what does not fit
// into a buffer of 256 events stays with the server. Leaving the loop ends the
// subscription.
func (c *Client) Subscribe(ctx context.Context, topics []string, opts *SubscribeOptions) iter.Seq2[topic.Envelope, error] {
	return func(yield func(topic.Envelope, error) bool) {
		s, err := newSubscription(topics, opts)
		if err == nil {
			err = c.keeper.add(s)
		}
		if err != nil {
			yield(topic.Envelope{}, err)
			return
		}
		defer c.keeper.remove(s)
		for {
			event, err := s.next(ctx)
			switch {
			case err == errOver:
				return
			case err != nil:
				yield(topic.Envelope{}, err)
				return
			case !yield(event, nil):
				return
			}
		}
	}
}

// overlap reports whether a topic may match both patterns.
func overlap(a, b topic.Pattern) bool {
	return overlaps(strings.Split(a.String(), "/"), strings.Split(b.String(), "/"))
}

func overlaps(a, b []string) bool {
	switch {
	case len(a) == 0 || len(b) == 0:
		return len(a) == len(b)
	case a[0] == "**" || b[0] == "**":
		return true // one or more segments; system topics are not told apart
	case a[0] == "*" || b[0] == "*" || a[0] == b[0]:
		return overlaps(a[1:], b[1:])
	}
	return false
}
