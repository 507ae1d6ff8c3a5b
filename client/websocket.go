package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// subprotocol is that of PROTOCOL.md §8.3.
const subprotocol = "duplex.v1"

// closeTimeout bounds the farewell: nothing depends on it.
const closeTimeout = time.Second

// websocket reads a connection that starts with the subscriptions of its URL.
// They share one place in the log, so one cursor is enough (PROTOCOL.md §8.5).
func (s *subscription) websocket(ctx context.Context) error {
	conn, resp, err := websocket.Dial(ctx, s.url(url.Values{}).String(), s.dialOptions())
	if err != nil {
		return dialError(resp, err)
	}
	defer conn.CloseNow()
	if conn.Subprotocol() != subprotocol {
		return final(fmt.Errorf("server does not speak %s: is this a Duplex server?", subprotocol))
	}
	var message []byte
	for {
		conn.SetReadIdle(s.idleLimit())
		_, message, err = conn.ReadAppend(ctx, message[:0])
		if err == nil {
			err = s.receive(message)
		}
		if err != nil {
			// Says goodbye, if there is still somebody.
			_ = conn.Close(websocket.CloseNormal, "")
			return closeError(err)
		}
	}
}

// dialOptions makes a WebSocket take the same way as the other requests.
func (c *Client) dialOptions() *websocket.DialOptions {
	opts := &websocket.DialOptions{
		Options:      websocket.Options{ReadLimit: int64(c.opts.MaxMessageBytes), CloseTimeout: closeTimeout},
		Subprotocols: []string{subprotocol},
		Header:       c.opts.Header,
		Jar:          c.opts.HTTP.Jar,
	}
	if t, ok := c.opts.HTTP.Transport.(*http.Transport); ok {
		opts.TLS, opts.NetDial, opts.Proxy = t.TLSClientConfig, t.DialContext, t.Proxy
		if opts.Proxy == nil {
			opts.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
		}
	}
	return opts
}

// dialError tells a refusal from a failure.
func dialError(resp *http.Response, err error) error {
	refusal, ok := errors.AsType[*websocket.HandshakeError](err)
	if !ok || resp == nil {
		return err
	}
	if resp.StatusCode < 300 {
		return final(refusal)
	}
	body, _ := io.ReadAll(resp.Body) // it is in memory
	return parseProblem(resp.StatusCode, resp.Header, body)
}

// closeError tells which ends should not be repeated (PROTOCOL.md §8.8).
func closeError(err error) error {
	e, ok := errors.AsType[*websocket.CloseError](err)
	if !ok {
		return err
	}
	switch e.Code {
	case websocket.CloseProtocolError, websocket.CloseUnsupportedData, websocket.CloseInvalidPayload,
		websocket.ClosePolicyViolation, websocket.CloseTooBig, websocket.CloseMissingExtension:
		return final(err)
	}
	return err
}
