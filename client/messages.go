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

// A MessageConn carries the messages of duplex.v1 (PROTOCOL.md §8.3) over
// something else than a WebSocket: see [Options].WebTransport.
type MessageConn interface {
	// ReadMessage waits for the next message, which is valid until the next
	// call. It fails with [ErrIdle] when nothing at all was received for
	// idle, if that is not zero. One goroutine reads at a time.
	ReadMessage(ctx context.Context, idle time.Duration) ([]byte, error)

	// WriteMessage sends a message. One goroutine writes at a time.
	WriteMessage(ctx context.Context, message []byte) error

	// Close says goodbye, if there is still somebody, and frees everything.
	Close()
}

// ErrIdle is what MessageConn.ReadMessage returns when nothing was received.
var ErrIdle = errIdle

// dialMessages connects to a URL that speaks duplex.v1.
func (c *Client) dialMessages(ctx context.Context, t Transport, u *url.URL) (conn MessageConn, version string, err error) {
	header, err := c.header(ctx)
	if err != nil {
		return nil, "", err
	}
	if t == WebTransport {
		conn, err = c.opts.WebTransport(ctx, u, header)
		return conn, "HTTP/3.0", err
	}
	opts := c.dial
	opts.Header = header
	ws, resp, err := websocket.Dial(ctx, u.String(), &opts)
	if err != nil {
		return nil, "", dialError(resp, err)
	}
	if ws.Subprotocol() != subprotocol {
		ws.CloseNow()
		return nil, "", fmt.Errorf("server does not speak %s: is this a Duplex server?", subprotocol)
	}
	return &webSocketConn{conn: ws}, resp.Proto, nil
}

// dialOptions makes a WebSocket take the same way as the other requests.
func dialOptions(opts *Options) websocket.DialOptions {
	dial := websocket.DialOptions{
		Options:      websocket.Options{ReadLimit: int64(opts.MaxMessageBytes), CloseTimeout: closeTimeout},
		Subprotocols: []string{subprotocol},
		Jar:          opts.HTTP.Jar,
	}
	if t, ok := opts.HTTP.Transport.(*http.Transport); ok {
		t = t.Clone() // the original may change with its first request
		dial.TLS, dial.NetDial, dial.Proxy = t.TLSClientConfig, t.DialContext, t.Proxy
		if dial.TLS != nil {
			dial.TLS.NextProtos = []string{"http/1.1"} // HTTP/2 has another handshake
		}
		if dial.Proxy == nil {
			dial.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
		}
	}
	return dial
}

type webSocketConn struct {
	conn    *websocket.Conn
	message []byte
	silent  bool
}

func (w *webSocketConn) ReadMessage(ctx context.Context, idle time.Duration) ([]byte, error) {
	w.conn.SetReadIdle(idle)
	_, message, err := w.conn.ReadAppend(ctx, w.message[:0])
	w.message = message
	if errors.Is(err, websocket.ErrIdle) {
		err, w.silent = errIdle, true
	}
	return message, err
}

func (w *webSocketConn) WriteMessage(ctx context.Context, message []byte) error {
	return w.conn.Write(ctx, websocket.Text, message)
}

func (w *webSocketConn) Close() {
	if !w.silent {
		_ = w.conn.Close(websocket.CloseNormal, "") // if nobody is there any more, that is as good
	}
	w.conn.CloseNow()
}

// dialError tells a refusal from a failure.
func dialError(resp *http.Response, err error) error {
	refusal, ok := errors.AsType[*websocket.HandshakeError](err)
	if !ok || resp == nil {
		return err
	}
	if resp.StatusCode < 300 {
		return refusal
	}
	body, _ := io.ReadAll(resp.Body) // it is in memory
	return parseProblem(resp.StatusCode, resp.Header, body)
}

// messages reads a connection that starts with the subscriptions of its URL.
// They share one place in the log, so one cursor is enough (PROTOCOL.md §8.5).
func (r *reading) messages(ctx context.Context, t Transport) error {
	conn, version, err := r.dialMessages(ctx, t, r.url(r.after, url.Values{}))
	if err != nil {
		return err
	}
	defer conn.Close()
	r.several, r.version = len(r.s.topics) > 1, version
	for {
		message, err := conn.ReadMessage(ctx, idleLimit(r.interval))
		if err == nil {
			err = r.receive(ctx, message)
		}
		if err != nil {
			r.retry = closeWait(err)
			return closeError(err)
		}
	}
}

func (r *reading) websocket(ctx context.Context) error    { return r.messages(ctx, WebSocket) }
func (r *reading) webtransport(ctx context.Context) error { return r.messages(ctx, WebTransport) }

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
