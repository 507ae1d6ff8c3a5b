package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/websocket"
)

const (
	defaultMaxMessageBytes = 64 << 20
	defaultBackoff         = 1500 * time.Millisecond
	defaultMaxBackoff      = 30 * time.Second
	defaultPollInterval    = time.Second
	defaultOutbox          = 1000

	// pingAfter and pingFor are how a connection of HTTP/2 that many requests
	// share is found to be dead.
	pingAfter = 15 * time.Second
	pingFor   = 10 * time.Second
)

// Options adjust a [Client]. Nil is all defaults.
type Options struct {
	// HTTP sends the requests. If nil, the client has one of its own, with the
	// settings of http.DefaultTransport. Its Timeout would end every subscription
	// at that age. WebSockets use the TLSClientConfig, DialContext and Proxy of an
	// *http.Transport.
	HTTP *http.Client

	// Header is sent with every request, handshakes of WebSockets too. It is not
	// changed.
	Header http.Header

	// Member, unless empty, is who subscribes, where the server records who is on
	// a topic (PROTOCOL.md §14.1).
	Member string

	// Token, if not nil, is asked before each connection and request for a token,
	// which is sent as "Authorization: Bearer TOKEN"; none if it is empty. An error
	// counts as one of the network. It is called from goroutines of the client,
	// also at the same time.
	Token func(ctx context.Context) (string, error)

	// Transports that may be used, in order of preference. If empty, all are,
	// in the order of their constants.
	Transports []Transport

	// WebTransport, if not nil, connects to a URL that speaks duplex.v1 over
	// WebTransport, and makes that a transport. It returns when it is connected.
	WebTransport func(ctx context.Context, u *url.URL, header http.Header) (MessageConn, error)

	// Memory knows which transport worked last. If nil, all clients of the
	// process share one.
	Memory *Memory

	// MaxMessageBytes bounds what one event, or one page of events, may take
	// on the wire. More is an error. If zero, 64 MiB are used.
	MaxMessageBytes int

	// PollInterval is the time between polls that find nothing. If zero, 1 s is
	// used.
	PollInterval time.Duration

	// Backoff bounds the wait after the first failure, which is any time below
	// it. The bound doubles with each failure in a row, up to MaxBackoff, and the
	// wait is half of it at least. If the server names a time, that is waited for.
	// If zero, 1.5 s and 30 s are used.
	Backoff, MaxBackoff time.Duration

	// Retry, if not nil, is asked whether to try again, after wait, what
	// failed for a cause that may pass: a connection, or a publish. It is called
	// from the client's goroutines, and must not block. If nil, subscriptions go on
	// for ever, and publishes as long as they may: see Publish.
	Retry func(cause error, wait time.Duration) bool

	// Outbox is how many publishes may wait. If zero, 1,000 may.
	Outbox int
}

// A Client talks to one server. Its methods may be called at the same time.
type Client struct {
	base *url.URL
	opts Options
	dial websocket.DialOptions // of WebSockets, but for the header

	keeper keeper
	links  atomic.Int64 // that were opened
	outbox outbox

	ctx     context.Context // of everything that the client has begun, until Close
	cancel  context.CancelCauseFunc
	running sync.WaitGroup // all goroutines

	statusMu sync.Mutex // guards what follows
	status   Status
	changed  chan struct{} // closed when status changes
}

// New returns a client of the server at baseURL, such as
// "https://example.com" or, behind a proxy, "https://example.com/live".
// opts may be nil. It does not connect: that comes with the first subscription
// or publish, and nothing runs without one. Close ends what does.
func New(baseURL string, opts *Options) (*Client, error) {
	base, err := url.Parse(baseURL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("server %q: want http://HOST or https://HOST", baseURL)
	}
	if base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("server %q: has a query or a fragment", baseURL)
	}
	c := &Client{base: base, status: Status{State: Idle}, changed: make(chan struct{})}
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.HTTP == nil {
		c.opts.HTTP = &http.Client{Transport: newTransport()}
	}
	c.opts.MaxMessageBytes = cmp.Or(c.opts.MaxMessageBytes, defaultMaxMessageBytes)
	c.opts.Backoff = cmp.Or(c.opts.Backoff, defaultBackoff)
	c.opts.MaxBackoff = cmp.Or(c.opts.MaxBackoff, defaultMaxBackoff)
	c.opts.PollInterval = cmp.Or(c.opts.PollInterval, defaultPollInterval)
	c.opts.Outbox = cmp.Or(c.opts.Outbox, defaultOutbox)
	c.dial = dialOptions(&c.opts)
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.keeper = keeper{c: c, wake: make(chan struct{}, 1), backoff: c.newBackoff()}
	c.outbox.c = c
	if c.keeper.allowed, err = c.allow(c.opts.Transports); err != nil {
		return nil, err
	}
	c.keeper.all = len(c.opts.Transports) == 0
	return c, nil
}

// newTransport is http.DefaultTransport, which may be anything, but for pings.
func newTransport() *http.Transport {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		t = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	}
	t = t.Clone()
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingFor}
	return t
}

// Close ends all subscriptions and publishes with [ErrClosed], and waits until
// nothing runs any more. Loops over subscriptions still get what was received.
func (c *Client) Close() {
	c.keeper.close()
	c.outbox.close()
	c.cancel(ErrClosed)
	c.running.Wait()
	c.setStatus(Status{State: Closed})
	c.opts.HTTP.CloseIdleConnections()
}

// Use changes the transports that may be used, in order of preference; none is
// all. Subscriptions are taken over to the first of them that works, and lose
// and double nothing (PROTOCOL.md §15.5).
func (c *Client) Use(transports ...Transport) error {
	allowed, err := c.allow(transports)
	if err == nil {
		c.keeper.allow(allowed, len(transports) == 0)
	}
	return err
}

// Check has the connection prove that it lives, within 2 s; if it is waiting to
// connect again, it does so at once. It is for who learns that the device was
// asleep or that the network has changed (PROTOCOL.md §15.6).
func (c *Client) Check() { c.keeper.check() }

func (c *Client) memory() *Memory { return cmp.Or(c.opts.Memory, &everybodys) }

// url is that of a topic or pattern, or of all topics if name is empty.
func (c *Client) url(name string, query url.Values) *url.URL {
	u := *c.base
	prefix := strings.TrimSuffix(c.base.EscapedPath(), "/") + "/topics"
	u.Path, u.RawPath = strings.TrimSuffix(c.base.Path, "/")+"/topics", prefix
	if name != "" {
		escaped := make([]string, 0, 8)
		for segment := range strings.SplitSeq(name, "/") {
			escaped = append(escaped, url.PathEscape(segment))
		}
		u.Path += "/" + name
		u.RawPath += "/" + strings.Join(escaped, "/")
	}
	u.RawQuery = query.Encode()
	return &u
}

// identify says who subscribes.
func (c *Client) identify(query url.Values) url.Values {
	if c.opts.Member != "" {
		query.Set("member", c.opts.Member)
	}
	return query
}

// urlOf is that of topics and patterns.
func (c *Client) urlOf(topics []string, query url.Values) *url.URL {
	if len(topics) == 1 {
		return c.url(topics[0], query)
	}
	query["topic"] = topics
	return c.url("", query)
}

// header is what every request has.
func (c *Client) header(ctx context.Context) (http.Header, error) {
	header := make(http.Header)
	for name, values := range c.opts.Header {
		header[name] = slices.Clone(values)
	}
	if c.opts.Token != nil {
		token, err := c.opts.Token(ctx)
		if err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
		if token != "" {
			header.Set("Authorization", "Bearer "+token)
		}
	}
	return header, nil
}

// request makes a request with the client's header.
func (c *Client) request(ctx context.Context, method string, u *url.URL, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, final(err)
	}
	req.Header, err = c.header(ctx)
	return req, err
}

// send sends a request. An answer that is none of the good ones is a
// *ProblemError.
func (c *Client) send(req *http.Request, good ...int) (*http.Response, error) {
	resp, err := c.opts.HTTP.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // it repeats the URL, query and all
		}
		if req.Context().Err() != nil {
			err = context.Cause(req.Context())
		}
		return nil, err
	}
	if slices.Contains(good, resp.StatusCode) {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, problemOf(resp)
}

// readJSON reads a body of bounded size.
func (c *Client) readJSON(body io.Reader, v any) error {
	data, err := io.ReadAll(io.LimitReader(body, int64(c.opts.MaxMessageBytes)+1))
	switch {
	case err != nil:
		return err
	case len(data) > c.opts.MaxMessageBytes:
		return final(fmt.Errorf("answer is larger than %d bytes", c.opts.MaxMessageBytes))
	}
	if err := json.Unmarshal(data, v); err != nil {
		return final(fmt.Errorf("answer of the server: %w", err))
	}
	return nil
}

// checkName refuses what is neither a topic nor a pattern, so that it cannot
// become another URL. The rest is the server's to judge.
func checkName(name string) error {
	_, err := topic.ParsePattern(name)
	return err
}
