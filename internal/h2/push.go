package h2

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/duplexhq/duplex/internal/h2/wire"
)

// Push has a handler answer a request that the client will make (RFC 9113
// §8.4). Most browsers do not want that: then the error is
// http.ErrNotSupported, and 103 Early Hints says the same.
func (w *responseWriter) Push(target string, opts *http.PushOptions) error {
	if opts == nil {
		opts = new(http.PushOptions)
	}
	x, c := w.x, w.x.stream.conn
	parent := x.request
	scheme := "http"
	if c.tls != nil {
		scheme = "https"
	}
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return err
	case u.Scheme == "" && u.Host == "" && strings.HasPrefix(target, "/"):
		u.Host = parent.Host
	case u.Scheme != scheme || u.Host != parent.Host:
		return fmt.Errorf("h2: push of %q: it is not of this server", target)
	}
	method := opts.Method
	if method == "" {
		method = http.MethodGet
	}
	if method != http.MethodGet && method != http.MethodHead { // "safe and cacheable"
		return fmt.Errorf("h2: push of %q: %s", target, method)
	}
	for key := range opts.Header {
		switch strings.ToLower(key) {
		case "content-length", "content-encoding", "trailer", "te", "expect", "host", "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			return fmt.Errorf("h2: push of %q: it cannot have %s", target, key)
		}
		if strings.HasPrefix(key, ":") {
			return fmt.Errorf("h2: push of %q: it cannot have %s", target, key)
		}
	}
	c.mu.Lock()
	defer c.unlock()
	if err := x.writable(); err != nil {
		return err
	}
	if x.stream.wire.ID()%2 == 0 || x.stream.wire.Over() || !c.m.CanPush() || c.draining {
		return http.ErrNotSupported
	}
	head := &wire.Head{Method: method, Scheme: scheme, Authority: u.Host, Path: u.RequestURI(), Ends: true}
	c.m.Field(":method", method, false)
	c.m.Field(":scheme", scheme, false)
	c.m.Field(":authority", u.Host, false)
	c.m.Field(":path", head.Path, false)
	for key, values := range opts.Header {
		for _, value := range values {
			c.m.Field(strings.ToLower(key), value, false)
		}
	}
	ws := c.m.Push(x.stream.wire)
	s := &stream{wire: ws, conn: c}
	ws.Owner = s
	pushed := newExchange(s, head)
	for key, values := range opts.Header {
		pushed.request.Header[http.CanonicalHeaderKey(key)] = values
	}
	c.launch(pushed)
	c.flush()
	return nil
}
