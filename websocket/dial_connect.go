package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errProtocols = errors.New("DialOptions.HTTP2 must have the Protocols HTTP2 for wss or UnencryptedHTTP2 for ws, and not HTTP1")
	errNotHTTP2  = errors.New("the connection does not speak HTTP/2")
	errNotHTTP3  = errors.New("DialOptions.HTTP3 has answered over another version of HTTP")
	errPlain     = errors.New("HTTP/3 is for wss")
)

// endTimeout bounds how long the two ends of a stream wait for each other.
const endTimeout = time.Second

// openConnect sends the request as an extended CONNECT over HTTP/2 (RFC 8441 §5) or HTTP/3 (RFC 9220
// §3).
func (d *dialer) openConnect(ctx context.Context, request *http.Request) (net.Conn, *http.Response, []byte, error) {
	failed := func(err error) (net.Conn, *http.Response, []byte, error) {
		return nil, nil, nil, fmt.Errorf("websocket: dial %s: %w", request.URL.Redacted(), err)
	}
	transport, err := d.connectTransport(request.URL.Scheme)
	if err != nil {
		return failed(err)
	}
	// The request lives on as the connection, which ctx does not bound.
	lasting, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	h := &clientHalves{cancel: cancel}
	var below net.Conn
	lasting = httptrace.WithClientTrace(lasting, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		below = got.Conn
		switch {
		case d.HTTP3 != nil:
		case request.URL.Scheme == "https" && !negotiatedHTTP2(below):
			cancel(errNotHTTP2)
			h.send.CloseWithError(errNotHTTP2)
		case request.Header[":protocol"] == nil: // else the request is sent again
			// net/http's HTTP/2 sends this field as the pseudo-header, but http.Transport refuses
			// requests that have it at the outset. Here it has the request behind it.
			request.Header[":protocol"] = []string{"websocket"}
		}
	}})
	request = request.WithContext(lasting)
	request.Method = http.MethodConnect
	if d.HTTP3 != nil {
		request.Proto = "websocket" // becomes :protocol
	}
	for _, field := range []string{"Upgrade", "Connection", "Sec-WebSocket-Key"} {
		delete(request.Header, field)
	}
	if request.Header.Get("Accept-Encoding") == "" {
		request.Header.Set("Accept-Encoding", "identity") // else the transport adds gzip
	}
	request.GetBody = h.newBody
	request.Body, _ = h.newBody()
	response, err := transport.RoundTrip(request)
	if !stop() && err == nil {
		response.Body.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		defer cancel(nil)
		if lasting.Err() != nil {
			return failed(context.Cause(lasting))
		}
		return failed(notOffered(err))
	}
	h.response = response.Body
	if d.HTTP3 != nil && response.ProtoMajor != 3 {
		h.Close()
		return failed(errNotHTTP3)
	}
	if response.StatusCode/100 != 2 {
		return nil, response, nil, h.refused(ctx, response)
	}
	response.Body = http.NoBody
	var local, remote net.Addr = textAddr(""), textAddr(request.URL.Host)
	if below != nil { // not all transports tell
		local, remote = below.LocalAddr(), below.RemoteAddr()
	}
	return newStream(h, local, remote), response, nil, nil
}

// connectTransport is what the options have the request sent by.
func (d *dialer) connectTransport(scheme string) (http.RoundTripper, error) {
	switch {
	case d.HTTP3 != nil && scheme != "https":
		return nil, errPlain
	case d.HTTP3 != nil:
		return d.HTTP3, nil
	case !speaksOnlyHTTP2(d.HTTP2.Protocols, scheme):
		return nil, errProtocols
	}
	return d.HTTP2, nil
}

// notOffered names the error of a transport that says that the server has no
// extended CONNECT. Neither net/http nor quic-go exports a value for it.
func notOffered(err error) error {
	text := err.Error()
	if strings.Contains(text, "extended connect not supported") || strings.Contains(text, "didn't enable Extended CONNECT") {
		return &HandshakeError{Field: ":protocol", Reason: "is not offered by the server"}
	}
	return err
}

func speaksOnlyHTTP2(protocols *http.Protocols, scheme string) bool {
	switch {
	case protocols == nil || protocols.HTTP1():
		return false
	case scheme == "https":
		return protocols.HTTP2()
	}
	return protocols.UnencryptedHTTP2()
}

func negotiatedHTTP2(conn net.Conn) bool {
	secure, ok := conn.(*tls.Conn)
	return ok && secure.ConnectionState().NegotiatedProtocol == "h2"
}

// clientHalves are those of a client: what it sends is the request's body, what comes is that of the
// response.
type clientHalves struct {
	request  *requestBody
	send     *io.PipeWriter
	response io.ReadCloser
	ended    atomic.Bool // the response
	cancel   context.CancelCauseFunc
}

// requestBody tells when the transport is done with it.
type requestBody struct {
	*io.PipeReader
	done  chan struct{}
	close func() error
}

func (b *requestBody) Close() error { return b.close() }

// newBody makes the request's body. A request that the server did not look at is sent again with
// another one.
func (h *clientHalves) newBody() (io.ReadCloser, error) {
	reader, writer := io.Pipe()
	done := make(chan struct{})
	h.send = writer
	h.request = &requestBody{reader, done, sync.OnceValue(func() error {
		defer close(done)
		return reader.Close()
	})}
	return h.request, nil
}

// refused takes a bit of a response that is not a handshake's.
func (h *clientHalves) refused(ctx context.Context, response *http.Response) error {
	stop := context.AfterFunc(ctx, func() { h.cancel(context.Cause(ctx)) })
	defer stop()
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxResponseBody))
	h.Close()
	response.Body = io.NopCloser(bytes.NewReader(body))
	return &HandshakeError{
		Status: response.StatusCode,
		Field:  "status",
		Reason: "is not 2xx",
		Body:   body,
	}
}

func (h *clientHalves) Read(p []byte) (int, error) {
	n, err := h.response.Read(p)
	if err == io.EOF {
		h.ended.Store(true)
	}
	return n, err
}

func (h *clientHalves) Write(p []byte) (int, error) { return h.send.Write(p) }

func (h *clientHalves) SetWriteDeadline(time.Time) error { return h.send.CloseWithError(net.ErrClosed) }

func (h *clientHalves) CloseWrite() error { return h.send.Close() }

func (h *clientHalves) Close() error {
	defer h.cancel(nil)
	if !h.ended.Load() {
		// RFC 8441 §5: "RST exceptions are represented with the RST_STREAM frame with a CANCEL
		// error code". Over HTTP/3 it is H3_REQUEST_CANCELLED (RFC 9220 §3), of each side by itself.
		defer h.send.CloseWithError(net.ErrClosed)
		return h.response.Close()
	}
	h.send.Close()
	select {
	case <-h.request.done:
	case <-time.After(endTimeout):
	}
	return nil
}
