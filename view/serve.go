package view

import (
	"net/http"
	"net/url"
	"strings"
)

// methodQuery is a GET whose query is its body.
const methodQuery = "QUERY"

// What "Allow" says (PROTOCOL.md §5.15).
const (
	allowedOnTopic = "DELETE, GET, HEAD, OPTIONS, POST"
	allowedOnList  = "GET, HEAD, OPTIONS, POST, QUERY"
)

// serve answers a request that its origin may send. A problem means that
// nothing was answered yet.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, t target) *Problem {
	if h.draining.Load() {
		return newProblem("shutting-down", "")
	}
	setCommon(w.Header())
	switch method := r.Method; {
	case method == http.MethodGet, method == http.MethodHead, isSession(r):
		return h.read(w, r, t, nil)
	case method == http.MethodOptions:
		w.Header().Set("Allow", t.allowed())
		w.WriteHeader(http.StatusNoContent)
		return nil
	case method == http.MethodPost && t.isTopic():
		return h.publish(w, r, t)
	case method == http.MethodDelete && t.isTopic():
		return h.end(w, r, t)
	case method == http.MethodPost, method == methodQuery && !t.isTopic():
		form, problem := h.readForm(w, r)
		if problem != nil {
			return problem
		}
		return h.read(w, r, t, form)
	}
	p := newProblem("method-not-allowed", "")
	p.Header = http.Header{"Allow": {t.allowed()}}
	return p
}

func (t target) allowed() string {
	if t.isTopic() {
		return allowedOnTopic
	}
	return allowedOnList
}

// read answers with the transport that the request wants. body has the
// parameters of a body, and is nil if there can be none.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, t target, body url.Values) *Problem {
	if isLostHandshake(r) {
		if !r.ProtoAtLeast(1, 1) {
			return newProblem("bad-handshake", "WebSocket needs HTTP/1.1")
		}
		return newProblem("bad-handshake", "Upgrade: does not hold websocket, or a proxy has dropped it")
	}
	rd, problem := h.parseReading(r, t, body)
	if problem != nil {
		return problem
	}
	if r.Method == http.MethodHead {
		return h.head(w, r, rd)
	}
	switch rd.transport {
	case asWebTransport:
		return h.webTransport(w, r, rd)
	case asWebSocket:
		if !isHandshake(r) {
			return upgradeRequired(r)
		}
		return h.websocket(w, r, rd)
	case asSSE:
		return h.sse(w, r, rd)
	case asStream:
		return h.stream(w, r, rd)
	case asMultipart, asMixed:
		return h.multipart(w, r, rd)
	case asIframe:
		return h.iframe(w, r, rd)
	case asLongpoll:
		return h.longpoll(w, r, rd)
	case asHTML:
		return h.html(w, r, rd)
	}
	if len(rd.patterns) == 0 {
		return h.topics(w, r, rd)
	}
	if name, ok := rd.attended(); ok {
		return h.attendance(w, r, rd, name)
	}
	return h.poll(w, r, rd)
}

// isHandshake reports whether the request asks for a WebSocket: by Upgrade in
// HTTP/1.1 (RFC 6455 §4.1), by extended CONNECT above (RFC 8441 §4, RFC 9220).
// Whether it does so well is not judged here.
func isHandshake(r *http.Request) bool {
	if r.ProtoMajor == 1 {
		return r.Method == http.MethodGet && r.ProtoMinor >= 1 && wantsWebSocket(r.Header["Upgrade"])
	}
	if r.Method != http.MethodConnect {
		return false
	}
	// net/http puts the protocol into the header, quic-go into Proto.
	protocol := r.Header[":protocol"]
	return len(protocol) == 1 && protocol[0] == "websocket" || strings.EqualFold(r.Proto, "websocket")
}

// WantsSession reports whether the request asks for a WebSocket or a session of
// WebTransport, whether it can have one or not.
func WantsSession(r *http.Request) bool { return isSession(r) || isLostHandshake(r) }

// isLostHandshake reports whether a client asks for a WebSocket by a request
// that cannot: there is no Upgrade, or the version is HTTP/1.0, which has none
// (PROTOCOL.md §5.16).
func isLostHandshake(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Sec-WebSocket-Key") != "" && !isHandshake(r)
}
