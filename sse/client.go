package sse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	defaultRetry      = 3 * time.Second
	defaultMaxBackoff = time.Minute
	defaultJitter     = 0.5
)

// ErrIdle is the cause of a reconnection after ClientOptions.IdleLimit.
var ErrIdle = errors.New("sse: nothing received for too long")

// ClientOptions adjusts [Events]. Nil is all defaults. The funcs are called
// from the loop that iterates, so they may block it.
type ClientOptions struct {
	// HTTP sends the requests. If nil, http.DefaultClient is used. Its Timeout
	// would end every stream at that age.
	HTTP *http.Client

	// LastEventID is where the first connection goes on. If empty, the server
	// decides.
	LastEventID string

	// Prepare, if not nil, is called with each request before it is sent, at
	// reconnections too: for a token that is fresh, other headers, or another
	// method with a body. An error ends the iteration.
	//
	// A request whose method is not safe (RFC 9110 §9.2.1), such as POST, is
	// never repeated: the end of its stream ends the iteration.
	Prepare func(*http.Request) error

	// Opened, if not nil, is called with each answer that is an event stream,
	// before its events. The body is not to be touched.
	Opened func(*http.Response)

	// Reconnect, if not nil, decides after each connection whether there will
	// be another, after wait. The cause is io.EOF if the server ended the
	// stream, ErrIdle, a *ResponseError, a *TooBigError or an error of the
	// network. If nil, [Temporary] decides.
	Reconnect func(cause error, wait time.Duration) bool

	// Comment, if not nil, is called with each comment, valid during the call.
	Comment func(text []byte)

	// MaxEventBytes is that of Parser.
	MaxEventBytes int

	// IdleLimit is how long the server may send nothing at all, before its
	// answer or within it, until the connection is given up for another one.
	// Twice the server's heartbeat suits. If zero or negative, no limit.
	IdleLimit time.Duration

	// Retry is the reconnection time until the stream sets one. If zero, 3
	// seconds are used.
	Retry time.Duration

	// MaxBackoff bounds the wait, which doubles from the reconnection time
	// each time a connection brings nothing. If zero, one minute is used. If
	// negative, the wait does not grow. The server may ask for more: by a
	// retry field, or by Retry-After with 429 or 503; at most a day.
	MaxBackoff time.Duration

	// Jitter lengthens each wait by a random part of itself up to this one, to
	// keep many clients from coming back in step. If zero, 0.5 is used. If
	// negative, none.
	Jitter float64
}

// Temporary reports whether the standard, or the server, wants another
// connection after the given end of one (HTML §9.2.2). It does after the end of
// a stream and errors of the network. It does not after an answer that is no
// stream, except 429 and 503, nor after an event that would be too big again.
func Temporary(cause error) bool {
	if e, ok := errors.AsType[*ResponseError](cause); ok {
		return e.StatusCode == http.StatusTooManyRequests || e.StatusCode == http.StatusServiceUnavailable
	}
	_, tooBig := errors.AsType[*TooBigError](cause)
	return !tooBig
}

// Events connects to an event stream and returns its events, across as many
// connections as it takes: each goes on after the last event (Last-Event-ID).
// It does what an EventSource does (HTML §9.2.3), and waits longer while the
// server cannot be reached. opts may be nil.
//
// The loop ends without an error when the server says so with status 204. The
// other ends are an error as the last step: the context's cause once ctx is
// done, or that of the last connection if there is no other (see
// ClientOptions.Reconnect). Leaving the loop closes the connection. The events
// are the caller's to keep.
func Events(ctx context.Context, url string, opts *ClientOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		newClient(url, opts).run(ctx, yield)
	}
}

// client is one iteration of Events.
type client struct {
	ClientOptions
	url     string
	backoff backoff
}

func newClient(url string, opts *ClientOptions) *client {
	c := &client{url: url}
	if opts != nil {
		c.ClientOptions = *opts
	}
	c.HTTP = cmp.Or(c.HTTP, http.DefaultClient)
	c.Retry = cmp.Or(c.Retry, defaultRetry)
	if c.Reconnect == nil {
		c.Reconnect = func(cause error, _ time.Duration) bool { return Temporary(cause) }
	}
	c.backoff = backoff{
		max:    max(0, cmp.Or(c.MaxBackoff, defaultMaxBackoff)),
		jitter: max(0, cmp.Or(c.Jitter, defaultJitter)),
	}
	return c
}

// errLeft is the end of a connection whose events are no longer wanted.
var errLeft = errors.New("loop left")

func (c *client) run(ctx context.Context, yield func(Event, error) bool) {
	for {
		req, err := c.request(ctx)
		if err != nil {
			yield(Event{}, err)
			return
		}
		cause := c.connect(req, yield)
		if cause == errLeft || cause == nil {
			return
		}
		if ctx.Err() != nil {
			yield(Event{}, context.Cause(ctx))
			return
		}
		wait := c.backoff.next(c.Retry, retryAfter(cause), rand.Float64())
		if !safe(req.Method) || !c.Reconnect(cause, wait) {
			// The end of a stream that is not to be continued is no error.
			if cause != io.EOF {
				yield(Event{}, cause)
			}
			return
		}
		select {
		case <-ctx.Done():
			yield(Event{}, context.Cause(ctx))
			return
		case <-time.After(wait):
		}
	}
}

func (c *client) request(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return nil, err
	}
	if req.URL.Host == "" || req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		// It would look like a network that is down, for ever.
		return nil, fmt.Errorf("%q is not an http or https URL", c.url)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Cache-Control", "no-store")
	if c.LastEventID != "" {
		if !validHeaderValue(c.LastEventID) {
			return nil, fmt.Errorf("cannot go on after event id %q: no header can hold it", c.LastEventID)
		}
		req.Header.Set("Last-Event-ID", c.LastEventID)
	}
	if c.Prepare != nil {
		if err := c.Prepare(req); err != nil {
			return nil, fmt.Errorf("prepare request: %w", err)
		}
	}
	return req, nil
}

// connect sends the request and yields the events of its answer. It returns why
// there are no more: nil if there never will be.
func (c *client) connect(req *http.Request, yield func(Event, error) bool) error {
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	idle := newWatch(c.IdleLimit, func() { cancel(ErrIdle) })
	defer idle.stop()

	idle.start()
	resp, err := c.HTTP.Do(req.WithContext(ctx))
	idle.stop()
	if err != nil {
		return causeOf(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return nil // "a client can be told to stop reconnecting" (§9.2.1)
	}
	if resp.StatusCode != http.StatusOK || !isEventStream(resp.Header) {
		giveUp := time.AfterFunc(errorBodyWait, func() { cancel(nil) })
		defer giveUp.Stop()
		return responseError(resp)
	}
	if c.Opened != nil {
		c.Opened(resp)
	}
	return c.receive(ctx, resp, idle, yield)
}

// receive yields the events of an answer that is a stream.
func (c *client) receive(ctx context.Context, resp *http.Response, idle *watch, yield func(Event, error) bool) error {
	parser := &Parser{
		MaxEventBytes: c.MaxEventBytes,
		Comment:       c.Comment,
		LastEventID:   c.LastEventID,
		Retry:         c.Retry,
	}
	// What the stream said last holds for the next connection.
	defer func() { c.LastEventID, c.Retry = parser.LastEventID, parser.Retry }()

	from := origin(resp.Request.URL)
	body := readerFunc(func(p []byte) (int, error) {
		idle.start()
		n, err := resp.Body.Read(p)
		idle.stop()
		if n > 0 {
			c.backoff.tries = 0
		}
		return n, err
	})
	for event, err := range Read(body, parser) {
		if err != nil {
			return causeOf(ctx, err)
		}
		event.Origin = from
		if !yield(event, nil) {
			return errLeft
		}
	}
	return io.EOF
}

// causeOf is err, or the reason why we made it happen.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// safe reports whether a request may be repeated without asking.
func safe(method string) bool {
	return method == http.MethodGet || method == "QUERY"
}

// validHeaderValue reports whether net/http sends the value (RFC 9110 §5.5).
func validHeaderValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// watch calls a func when something takes longer than its limit.
type watch struct {
	limit time.Duration
	timer *time.Timer // nil if there is no limit
}

func newWatch(limit time.Duration, expired func()) *watch {
	w := &watch{limit: limit}
	if limit > 0 {
		w.timer = time.AfterFunc(limit, expired)
		w.timer.Stop()
	}
	return w
}

func (w *watch) start() {
	if w.timer != nil {
		w.timer.Reset(w.limit)
	}
}

func (w *watch) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// readerFunc is a func as an io.Reader.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
