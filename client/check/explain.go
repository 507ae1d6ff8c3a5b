package check

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/client/http3"
	"github.com/duplexhq/duplex/websocket"
)

// A failure is why a probe does not work.
type failure struct {
	cause Cause
	text  string
}

func (f *failure) Error() string { return f.text }

var (
	errUnanswered error = &failure{Unanswered, "there was no answer in time: something on the way swallows it, or is very slow"}
	errSilent     error = &failure{Silent, "the handshake was answered, and then nothing came through: a black hole"}
	errHeld       error = &failure{Held, "the answer began, and nothing followed: something on the way holds it back until its end"}
	errHeldPoll   error = &failure{Cut, "an answer that is held for a second does not come"}
	errLost       error = &failure{Lost, "events did not come in time"}
)

var errNoUDP = &failure{UDPBlocked, "nobody answers by UDP: it is blocked on the way, or the port is not open"}

// noApplicationProtocol is an alert (RFC 7301 §3.2).
const noApplicationProtocol tls.AlertError = 120

// explain tells why something failed.
func (p *probe) explain(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		if p.Version == HTTP3 && f.cause == Unanswered {
			return errNoUDP
		}
		return f
	}
	if errors.Is(err, http3.ErrNotOffered) {
		return &failure{NotOffered, "the server has HTTP/3 without WebTransport"}
	}
	if e, ok := errors.AsType[*client.ProblemError](err); ok { // of WebTransport
		if e.Name == "bad-handshake" {
			return &failure{NotOffered, strings.TrimSpace(status(e.Status) + " " + e.Name + ": " + e.Detail)}
		}
		return refusal(e.Status, e.Name, "")
	}
	if p.Version == HTTP3 && errors.Is(err, syscall.ECONNREFUSED) {
		return &failure{UDPBlocked, "the UDP port is refused: nobody listens there, or a firewall refuses it"}
	}
	if isDial(err) {
		if e, ok := errors.AsType[*net.OpError](err); ok {
			err = e // without the URL
		}
		return &failure{Unreached, err.Error()}
	}
	if p.Version == HTTP3 && !p.Works && isTimeout(err) {
		return errNoUDP
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &failure{Untrusted, "the certificate is not trusted: " + e.Err.Error()}
	}
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		if alert == noApplicationProtocol {
			return &failure{NotOffered, "the server does not speak " + p.Version + " (ALPN)"}
		}
		return &failure{Untrusted, "TLS: " + shorten(err)}
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return &failure{Untrusted, "the server does not speak TLS there"}
	}
	if isTimeout(err) {
		return errUnanswered.(*failure)
	}
	return &failure{Cut, "the connection was cut: " + shorten(err)}
}

// handshake tells why a WebSocket was not opened.
func (p *probe) handshake(resp *http.Response, err error) error {
	e, ok := errors.AsType[*websocket.HandshakeError](err)
	switch {
	case !ok:
		return err
	case e.Field == ":protocol":
		return &failure{NotOffered, p.Version + " is there, without WebSocket over it (RFC 8441)"}
	case resp == nil:
		return &failure{NotDuplex, e.Error()}
	}
	refusal := refused(resp.StatusCode, resp.Header, e.Body)
	problem := problemOf(e.Body)
	switch {
	case problem == "upgrade-required", resp.StatusCode == http.StatusUpgradeRequired, resp.StatusCode < 300:
		return &failure{Stripped, fmt.Sprintf("the handshake arrives as a plain request (answered %d): something on the way drops Upgrade", resp.StatusCode)}
	case problem == "bad-handshake":
		return &failure{Stripped, "the handshake arrives incomplete: something on the way speaks HTTP/1.0, or drops fields of it"}
	case problem == "" && refusal.cause == Other:
		return &failure{Refused, fmt.Sprintf("something on the way refuses handshakes (%s)", status(resp.StatusCode))}
	}
	return refusal
}

// refused tells what an answer means that is not the wanted one.
func refused(code int, header http.Header, body []byte) *failure {
	return refusal(code, problemOf(body), header.Get("Location"))
}

func refusal(code int, problem, location string) *failure {
	text := status(code)
	if problem != "" {
		text += " " + problem
	}
	switch {
	case problem == "origin-refused":
		return &failure{Origin, text + ": the server takes no requests of this Origin (--allow-origin)"}
	case code == http.StatusMisdirectedRequest:
		return &failure{Host, text + ": the server does not know itself by this Host (--allow-host)"}
	case code == http.StatusUnauthorized:
		return &failure{Unauthorized, text + ": a token is needed, or another one"}
	case code >= 300 && code < 400:
		return &failure{Redirected, text + " to " + location}
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		return &failure{Busy, text}
	}
	return &failure{Other, text}
}

func status(code int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))
}

// problemOf is the NAME of PROTOCOL.md §9.2, if the body has one.
func problemOf(body []byte) string {
	var said struct{ Type string }
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	name, ok := strings.CutPrefix(said.Type, "urn:duplex:problem:")
	if !ok {
		return ""
	}
	return name
}

func isDial(err error) bool {
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return true
	}
	_, noName := errors.AsType[*net.DNSError](err)
	return noName
}

func isTimeout(err error) bool {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return true
	}
	return errors.Is(err, context.DeadlineExceeded)
}

// shorten leaves out what the row says already.
func shorten(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "it ended early"
	}
	text := err.Error()
	for _, prefix := range []string{"websocket: ", "http2: ", "tls: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// advise says what to make of the results.
func (r *Report) advise() {
	byTransport := make(map[client.Transport]*Result) // the one that works, else that of HTTP/1.1
	for i := range r.Results {
		row := &r.Results[i]
		if known := byTransport[row.Transport]; known == nil || !known.Works && (row.Works || known.Cause == NotOffered) {
			byTransport[row.Transport] = row
		}
	}
	for _, t := range []client.Transport{client.WebSocket, client.SSE, client.Stream, client.Longpoll, client.Poll} {
		if row := byTransport[t]; row != nil && row.Works {
			r.Best = t
			break
		}
	}
	ws, events, poll := byTransport[client.WebSocket], byTransport[client.SSE], byTransport[client.Poll]
	if r.Best == "" {
		r.Advice = fmt.Sprintf("Nothing gets through: %s.", poll.Why)
		switch poll.Cause {
		case Unanswered:
			r.Advice += " Clients wait up to 30 s for a slow network: --timeout 30s tells whether they would get through."
		case NotDuplex:
			r.Advice += " Another server is at this URL, or a page on the way wants somebody to log in."
		}
		return
	}
	var advice []string
	if r.Best == client.WebSocket {
		advice = append(advice, "Clients will use WebSockets.")
	} else {
		advice = append(advice, fmt.Sprintf("Clients will use %s, because WebSockets do not get through: %s.", r.Best, ws.Why))
	}
	switch wt := byTransport[client.WebTransport]; {
	case wt.Works && r.Best != client.WebSocket:
		advice = append(advice, fmt.Sprintf("WebTransport gets through, over one connection for both directions: clients take it that name it before %s.", r.Best))
	case wt.Works:
		advice = append(advice, "WebTransport works, too.")
	case wt.Cause == UDPBlocked:
		advice = append(advice, "UDP does not get through, which HTTP/3 and WebTransport need: let it pass to the port with the number of the TCP port.")
	}
	switch ws.Cause {
	case Stripped:
		advice = append(advice, "To have them, let the proxy pass Upgrade and Connection over HTTP/1.1 (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";).")
	case Refused, Silent, Unanswered:
		advice = append(advice, "Over TLS (https), what is on the way can often not tell WebSockets apart.")
	}
	if events.Cause == Held {
		advice = append(advice, "Streams are held back: switch off buffering and compression for them (nginx: proxy_buffering off; gzip off;).")
	}
	if row := byTransport[Publishing]; row != nil && !row.Works {
		advice = append(advice, fmt.Sprintf("Publishing does not work: %s.", row.Why))
	}
	r.Advice = strings.Join(advice, " ")
}
