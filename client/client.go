package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/topic"
)

const (
	defaultMaxMessageBytes = 64 << 20
	defaultBackoff         = 500 * time.Millisecond
	defaultMaxBackoff      = 30 * time.Second
)

// Options adjust a [Client]. Nil is all defaults.
type Options struct {
	// HTTP sends the requests. If nil, http.DefaultClient is used. Its Timeout
	// would end every subscription at that age.
	HTTP *http.Client

	// Header is sent with every request, handshakes of WebSockets too: for a
	// token. It is not changed.
	Header http.Header

	// MaxMessageBytes bounds what one event, or one page of events, may take
	// on the wire. More is an error. If zero, 64 MiB are used.
	MaxMessageBytes int

	// Backoff is about how long to wait after the first failure. The wait
	// doubles with each failure in a row, up to MaxBackoff, and a random part
	// keeps many clients from coming back in step. The server may ask for
	// more. If zero, 500 ms and 30 s are used.
	Backoff, MaxBackoff time.Duration

	// Retry, if not nil, is asked whether to try again, after wait, what
	// failed for a cause that may pass: a connection of a subscription, or a
	// publish with a key. It is called from the goroutine that waits. If nil,
	// a subscription goes on for ever, and a publish for a minute.
	Retry func(cause error, wait time.Duration) bool
}

// A Client talks to one server. Its methods may be called at the same time.
type Client struct {
	base *url.URL
	opts Options
}

// New returns a client of the server at baseURL, such as
// "https://example.com" or, behind a proxy, "https://example.com/live".
// opts may be nil. It does not connect.
func New(baseURL string, opts *Options) (*Client, error) {
	base, err := url.Parse(baseURL)
	if err != nil {
		return nil, err
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("server %q: want http://HOST or https://HOST", baseURL)
	}
	if base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("server %q: has a query or a fragment", baseURL)
	}
	c := &Client{base: base}
	if opts != nil {
		c.opts = *opts
	}
	c.opts.HTTP = cmp.Or(c.opts.HTTP, http.DefaultClient)
	c.opts.MaxMessageBytes = cmp.Or(c.opts.MaxMessageBytes, defaultMaxMessageBytes)
	c.opts.Backoff = cmp.Or(c.opts.Backoff, defaultBackoff)
	c.opts.MaxBackoff = cmp.Or(c.opts.MaxBackoff, defaultMaxBackoff)
	return c, nil
}

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

// request makes a request with the client's header.
func (c *Client) request(ctx context.Context, method string, u *url.URL, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, c.opts.Header)
	return req, nil
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

// readAll reads a body of bounded size.
func (c *Client) readAll(body io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, int64(c.opts.MaxMessageBytes)+1))
	if err == nil && len(data) > c.opts.MaxMessageBytes {
		err = final(fmt.Errorf("answer is larger than %d bytes", c.opts.MaxMessageBytes))
	}
	return data, err
}

// checkName refuses what is neither a topic nor a pattern, so that it cannot
// become another URL. The rest is the server's to judge.
func checkName(name string) error {
	_, err := topic.ParsePattern(name)
	return err
}
