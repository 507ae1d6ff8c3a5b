package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// checkConnect judges an extended CONNECT, the opening handshake of HTTP/2 (RFC 8441 §5) and
// HTTP/3 (RFC 9220 §3). Upgrade, Connection and Sec-WebSocket-Key have no part in it.
func checkConnect(r *http.Request) *HandshakeError {
	if r.Method != http.MethodConnect {
		return &HandshakeError{
			Status: http.StatusMethodNotAllowed,
			Field:  "method",
			Reason: "is not CONNECT",
			Header: http.Header{"Allow": {http.MethodConnect}},
		}
	}
	protocol := connectProtocol(r)
	switch {
	case protocol == "":
		return badRequest(":protocol", "is missing")
	case !strings.EqualFold(protocol, "websocket"):
		// RFC 9220 §3: to "a ":protocol" value that is unknown or is not supported, the server
		// SHOULD respond to the request with a 501 (Not Implemented) status code".
		return &HandshakeError{
			Status: http.StatusNotImplemented,
			Field:  ":protocol",
			Reason: "is not websocket",
		}
	case r.Host == "":
		return badRequest(":authority", "is missing")
	case r.ContentLength >= 0:
		return badRequest("Content-Length", "is given, or the stream has ended")
	}
	versions := r.Header.Values("Sec-WebSocket-Version")
	if len(versions) == 0 {
		return badRequest("Sec-WebSocket-Version", "is missing")
	}
	if len(versions) > 1 || strings.TrimSpace(versions[0]) != wire.Version {
		// Not 426, as the Upgrade field that has to go with it exists in HTTP/1.1 only.
		return &HandshakeError{
			Status: http.StatusBadRequest,
			Field:  "Sec-WebSocket-Version",
			Reason: "is not 13",
			Header: http.Header{"Sec-Websocket-Version": {wire.Version}},
		}
	}
	return nil
}

// connectProtocol gives the value of :protocol. net/http has it among the header fields, quic-go in
// place of the version of HTTP.
func connectProtocol(r *http.Request) string {
	if values := r.Header[":protocol"]; len(values) > 0 {
		return values[0]
	}
	if strings.HasPrefix(r.Proto, "HTTP/") {
		return ""
	}
	return r.Proto
}

// acceptConnect answers an extended CONNECT that was found good.
func acceptConnect(w http.ResponseWriter, r *http.Request, handshake *Handshake, opts *AcceptOptions) (net.Conn, error) {
	controller := http.NewResponseController(w)
	// Those of http.Server are not ours.
	err := errors.Join(controller.SetReadDeadline(time.Time{}), controller.SetWriteDeadline(time.Time{}))
	if err != nil {
		return nil, refuse(w, r, opts, &HandshakeError{
			Status: http.StatusInternalServerError,
			Reason: "the stream cannot be taken over: " + err.Error(),
		})
	}
	header := w.Header()
	for field := range header {
		if ownFields[http.CanonicalHeaderKey(field)] {
			delete(header, field)
		}
	}
	if handshake.Subprotocol != "" {
		header.Set("Sec-WebSocket-Protocol", handshake.Subprotocol)
	}
	if handshake.Accept != "" {
		header.Set("Sec-WebSocket-Accept", handshake.Accept)
	}
	if handshake.extensions != "" {
		header.Set(extensionsField, handshake.extensions)
	}
	w.WriteHeader(http.StatusOK)
	if err := controller.Flush(); err != nil {
		return nil, &lostError{err}
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		local = textAddr("")
	}
	t := &response{r.Context(), r.Body, w, controller}
	return newStream(t, local, textAddr(r.RemoteAddr)), nil
}

// response is the server's end of a stream: what comes is the request's body, what goes that of the
// response.
type response struct {
	ctx        context.Context // the request's: w must not be touched after it
	body       io.ReadCloser
	w          http.ResponseWriter
	controller *http.ResponseController
}

func (t *response) Read(p []byte) (int, error) { return t.body.Read(p) }

func (t *response) Write(p []byte) (int, error) {
	if t.ctx.Err() != nil {
		return 0, context.Cause(t.ctx)
	}
	n, err := t.w.Write(p)
	if err == nil {
		err = t.controller.Flush()
	}
	return n, err
}

func (t *response) SetWriteDeadline(past time.Time) error {
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	return t.controller.SetWriteDeadline(past)
}

// CloseWrite is for the handler, which does it when it returns.
func (t *response) CloseWrite() error { return errors.ErrUnsupported }

func (t *response) Close() error { return t.body.Close() }

// textAddr is an address in its textual form, as net/http has it.
type textAddr string

func (textAddr) Network() string  { return "tcp" }
func (a textAddr) String() string { return string(a) }
