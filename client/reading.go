package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/duplexhq/duplex/topic"
)

var (
	errIdle     = errors.New("nothing received for too long")
	errNoAnswer = errors.New("no answer in time")
	errNoSignal = errors.New("no first signal in time: something on the way may hold bytes back")
	errNoUDP    = errors.New("no first signal in time: UDP may be blocked on the way")
	errEnded    = errors.New("connection ended")
)

// A reading is one connection, or the requests of one cursor, that read for one
// subscription.
type reading struct {
	*Client
	s     *subscription
	feed  *feed
	after string // where it begins

	// first is called with the first signal, and promotes the feed.
	first func(r *reading, place string) error
	begun bool // first has been called

	several  bool          // cursors of one $gap may pass events of other topics (PROTOCOL.md §8.6)
	interval time.Duration // of $ping; 0 if there is none
	retry    time.Duration // what the server wants before the next connection
	version  string        // of HTTP
}

// connects are the ways to read. Each returns why it is over.
var connects = map[Transport]func(*reading, context.Context) error{
	WebSocket:    (*reading).websocket,
	WebTransport: (*reading).webtransport,
	SSE:          (*reading).sse,
	Stream:       (*reading).stream,
	Longpoll:     (*reading).longpoll,
	Poll:         (*reading).poll,
}

// receive parses an event or a signal, and takes it.
func (r *reading) receive(ctx context.Context, line []byte) error {
	e, err := topic.ParseEnvelope(line)
	if err != nil {
		return final(err)
	}
	return r.take(ctx, e)
}

func (r *reading) take(ctx context.Context, e topic.Envelope) error {
	passesOthers := r.several && e.Type == topic.TypeGap
	if !r.begun {
		place := e.ID
		if passesOthers || e.Topic != "" {
			place = ""
		}
		if err := r.signalled(place); err != nil {
			return err
		}
	}
	if e.Type == topic.TypePing {
		r.interval = pingInterval(e.Data)
	}
	for {
		err := r.feed.take(e, passesOthers)
		if err != errFull {
			return err
		}
		if err := r.feed.waitRoom(ctx, len(e.Data)); err != nil {
			return err
		}
	}
}

// signalled notes the first signal, whose place is the cursor.
func (r *reading) signalled(place string) error {
	if r.begun {
		return nil
	}
	if err := r.first(r, place); err != nil {
		return err
	}
	r.begun = true
	return nil
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
func idleLimit(interval time.Duration) time.Duration { return interval + interval/2 }

// url is that of the subscription's topics.
func (r *reading) url(after string, query url.Values) *url.URL {
	query.Set("after", after)
	r.identify(query)
	return r.urlOf(r.s.topics, query)
}

// ended says that the only topic has nothing after the cursor, and will never.
func (r *reading) ended(ctx context.Context) error {
	if err := r.signalled(""); err != nil {
		return err
	}
	cursor, placed := r.feed.place()
	return r.take(ctx, endOf(r.s.only, cursor, placed))
}

// open sends a request. Its answer, and each read of its body, fail with
// errIdle after the limit. Closing the body ends everything.
func (r *reading) open(ctx context.Context, req *http.Request, limit func() time.Duration, good ...int) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	dog := &watchdog{ctx: ctx, cancel: cancel, limit: limit}
	dog.timer = time.AfterFunc(time.Hour, func() { cancel(errIdle) })
	dog.timer.Stop()

	dog.watch()
	resp, err := r.send(req.WithContext(ctx), good...)
	dog.timer.Stop()
	if err != nil {
		cancel(nil)
		return nil, err
	}
	r.version = resp.Proto
	dog.body = resp.Body
	resp.Body = dog
	return resp, nil
}
