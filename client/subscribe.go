package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// A Transport is a way for events to reach a subscriber (PROTOCOL.md §5.1).
type Transport string

const (
	WebSocket Transport = "websocket" // the subprotocol duplex.v1
	SSE       Transport = "sse"
	Stream    Transport = "stream"
	Longpoll  Transport = "longpoll"
	Poll      Transport = "poll"
)

// Where a subscription may begin besides at an id.
const (
	Earliest = "earliest" // before the oldest event that is kept
	Now      = "now"      // only what comes
)

// SubscribeOptions adjust a subscription. Nil is all defaults.
type SubscribeOptions struct {
	// Transport of the events. If empty, WebSocket.
	Transport Transport

	// After is where to begin: an id, Earliest or Now. If empty, Now.
	After string

	// Wait is how long the server may hold a long-poll; it may take less. If
	// zero, 55 s are used.
	Wait time.Duration

	// Interval is the time between polls that find nothing. If zero, 1 s is
	// used.
	Interval time.Duration

	// Opened, if not nil, is called from the loop each time a connection has
	// been made and the server has said where it goes on. Whatever is
	// published afterwards is delivered.
	Opened func()
}

// Subscribe yields the events of topics and patterns, across as many
// connections as it takes: each goes on after the last event. The names go
// into the URL, so they have to fit into the header that the server takes
// (PROTOCOL.md §11).
//
// Besides events, two signals are yielded (PROTOCOL.md §6). $gap: events are
// gone; delivery goes on with what is left. On longpoll and poll its data is
// the gap member of the page, and it has no id. $end: a topic has ended.
//
// The loop ends with its only topic, when that has ended. Every other end is
// an error as the last step: the context's cause, a *[ProblemError] if the
// server refuses, or what [Options].Retry did not want to try again. Leaving
// the loop closes the connection.
func (c *Client) Subscribe(ctx context.Context, topics []string, opts *SubscribeOptions) iter.Seq2[topic.Envelope, error] {
	return func(yield func(topic.Envelope, error) bool) {
		s, err := c.newSubscription(topics, opts)
		if err == nil {
			s.yield = yield
			err = s.run(ctx)
		}
		if err != nil {
			yield(topic.Envelope{}, err)
		}
	}
}

// A subscription is the state of one loop over its connections.
type subscription struct {
	*Client
	SubscribeOptions
	topics  []string
	only    string // the topic, if there is one and no pattern
	connect func(context.Context) error
	yield   func(topic.Envelope, error) bool

	cursor   string        // where to go on
	placed   bool          // the cursor is one of the server, neither Earliest nor Now
	opened   bool          // this connection works
	interval time.Duration // of $ping; 0 if there is none
	retry    time.Duration // what the server wants before the next connection
	backoff  backoff
}

func (c *Client) newSubscription(topics []string, opts *SubscribeOptions) (*subscription, error) {
	s := &subscription{Client: c, topics: topics, interval: topic.DefaultPing, backoff: c.newBackoff()}
	if opts != nil {
		s.SubscribeOptions = *opts
	}
	if len(topics) == 0 {
		return nil, errors.New("subscribe: no topics")
	}
	for _, name := range topics {
		pattern, err := topic.ParsePattern(name)
		if err != nil {
			return nil, err
		}
		if len(topics) == 1 && pattern.Literal() {
			s.only = name
		}
	}
	s.cursor = cmp.Or(s.After, Now)
	s.placed = s.cursor != Now && s.cursor != Earliest
	s.Wait = cmp.Or(s.Wait, 55*time.Second)
	s.Interval = cmp.Or(s.Interval, time.Second)
	switch cmp.Or(s.Transport, WebSocket) {
	case WebSocket:
		s.connect = s.websocket
	case SSE:
		s.connect = s.sse
	case Stream:
		s.connect = s.stream
	case Longpoll:
		s.connect = s.longpoll
	case Poll:
		s.connect = s.poll
	default:
		return nil, fmt.Errorf("subscribe: no transport %q", s.Transport)
	}
	return s, nil
}

var (
	// errOver ends a subscription without an error: its topic has ended, or
	// the loop was left.
	errOver = errors.New("over")

	errIdle     = errors.New("nothing received for too long")
	errNoAnswer = errors.New("no answer in time")
	errEnded    = errors.New("connection ended")
)

// run makes connections, one after the other. Each returns why it is over.
func (s *subscription) run(ctx context.Context) error {
	for {
		s.opened, s.retry = false, 0
		cause := s.connect(ctx)
		if cause == errOver {
			return nil
		}
		if err := s.pause(ctx, &s.backoff, cause, s.retry); err != nil {
			return err
		}
	}
}

// receive parses an event or a signal, and takes it.
func (s *subscription) receive(line []byte) error {
	e, err := topic.ParseEnvelope(line)
	if err != nil {
		return final(err)
	}
	return s.take(e)
}

// take moves the cursor and yields what is for the caller.
func (s *subscription) take(e topic.Envelope) error {
	if e.ID != "" && !s.passesOthers(e) {
		s.cursor, s.placed = e.ID, true
	}
	s.wasOpened()
	switch {
	case e.Type == topic.TypePing:
		s.interval = pingInterval(e.Data)
		return nil
	case e.Type == topic.TypeEnd:
		if !s.yield(e, nil) || s.only != "" {
			return errOver
		}
		return nil
	case e.Type != topic.TypeGap && strings.HasPrefix(e.Type, "$"):
		return nil // PROTOCOL.md §6.1: "MUST ignore signals that they do not know"
	}
	if !s.yield(e, nil) {
		return errOver
	}
	return nil
}

// passesOthers reports whether the signal's id may lie beyond events of another
// topic that are still to come (PROTOCOL.md §8.6).
func (s *subscription) passesOthers(e topic.Envelope) bool {
	return e.Type == topic.TypeGap && s.Transport == WebSocket && len(s.topics) > 1
}

// wasOpened notes that the connection works.
func (s *subscription) wasOpened() {
	s.backoff.succeeded()
	if !s.opened {
		s.opened = true
		if s.Opened != nil {
			s.Opened()
		}
	}
}

// ended yields the $end of a topic that has nothing after the cursor.
func (s *subscription) ended() error {
	data, err := json.Marshal(struct {
		Topic string `json:"topic"`
	}{s.only})
	if err != nil {
		return err
	}
	e := topic.Envelope{Type: topic.TypeEnd, Data: data, Kind: topic.JSON}
	if s.placed {
		e.ID = s.cursor
	}
	return s.take(e)
}

// pingInterval is what a $ping says.
func pingInterval(data []byte) time.Duration {
	var ping struct{ Interval float64 } // seconds
	if json.Unmarshal(data, &ping) != nil {
		return 0
	}
	return time.Duration(ping.Interval * float64(time.Second))
}

// idleLimit is when a connection counts as dead (PROTOCOL.md §6.3): nothing
// was received for 1.5 intervals. 0 is never.
func (s *subscription) idleLimit() time.Duration { return s.interval + s.interval/2 }

// url is where to go on.
func (s *subscription) url(query url.Values) *url.URL {
	query.Set("after", s.cursor)
	if len(s.topics) == 1 {
		return s.Client.url(s.topics[0], query)
	}
	query["topic"] = s.topics
	return s.Client.url("", query)
}
