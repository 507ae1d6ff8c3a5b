package websocket

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/duplexhq/duplex/websocket/wire"
)

// Handshake is what [CheckHandshake] found a request to ask for, and what is granted of it.
type Handshake struct {
	Subprotocol string // chosen, or ""
	Accept      string // the value of Sec-WebSocket-Accept, or "" if there was no key (HTTP/2, HTTP/3)

	extensions string // the value of Sec-WebSocket-Extensions, which Accept decides
}

// CheckHandshake judges an opening handshake (RFC 6455 §4.2, RFC 8441 §5) as [Accept] does, and
// answers nothing: for servers that have their own form of error, and for those that have to
// decide something between check and upgrade. Exactly one of the results is nil.
func CheckHandshake(r *http.Request, opts *AcceptOptions) (*Handshake, *HandshakeError) {
	if opts == nil {
		opts = &AcceptOptions{}
	}
	check := checkUpgrade
	if r.ProtoMajor > 1 {
		check = checkConnect
	}
	if refusal := check(r); refusal != nil {
		return nil, refusal
	}
	if refusal := checkOrigin(r, opts.AllowOrigins); refusal != nil {
		return nil, refusal
	}
	offered, ok := wire.Tokens(r.Header.Values("Sec-WebSocket-Protocol"))
	if !ok {
		return nil, badRequest("Sec-WebSocket-Protocol", "is not a list of tokens")
	}
	if _, ok := wire.Extensions(r.Header.Values(extensionsField)); !ok {
		return nil, badRequest(extensionsField, "is not a list of extensions") // §9.1
	}
	return &Handshake{
		Subprotocol: wire.ChooseSubprotocol(offered, opts.Subprotocols),
		Accept:      answerKey(r.Header.Get("Sec-WebSocket-Key")),
	}, nil
}

// answerKey gives "" if there is no key. HTTP/2 needs none (RFC 8441 §5), but some clients send one
// and want the answer.
func answerKey(key string) string {
	if key == "" {
		return ""
	}
	return wire.AcceptKey(strings.TrimSpace(key))
}

func badRequest(field, reason string) *HandshakeError {
	return &HandshakeError{Status: http.StatusBadRequest, Field: field, Reason: reason}
}

// checkUpgrade goes through the list of §4.2.1.
func checkUpgrade(r *http.Request) *HandshakeError {
	switch {
	case r.Method != http.MethodGet:
		return &HandshakeError{
			Status: http.StatusMethodNotAllowed,
			Field:  "method",
			Reason: "is not GET",
			Header: http.Header{"Allow": {http.MethodGet}},
		}
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		return badRequest("version", "of HTTP is not 1.1")
	case r.Host == "":
		return badRequest("Host", "is missing")
	case !wire.HasToken(r.Header.Values("Upgrade"), "websocket"):
		return missingOrWrong(r.Header, "Upgrade", "does not hold websocket")
	case !wire.HasToken(r.Header.Values("Connection"), "Upgrade"):
		return missingOrWrong(r.Header, "Connection", "does not hold Upgrade")
	case r.ContentLength != 0:
		// Bytes that are a body for one and frames for another would be a way around checks.
		return badRequest("Content-Length", "of a handshake is not 0")
	}
	versions := r.Header.Values("Sec-WebSocket-Version")
	if len(versions) == 0 {
		return badRequest("Sec-WebSocket-Version", "is missing")
	}
	if len(versions) > 1 || strings.TrimSpace(versions[0]) != wire.Version {
		// §4.4: the answer names the versions that the server understands.
		return &HandshakeError{
			Status: http.StatusUpgradeRequired,
			Field:  "Sec-WebSocket-Version",
			Reason: "is not 13",
			Header: http.Header{
				"Sec-Websocket-Version": {wire.Version},
				"Upgrade":               {"websocket"},
				"Connection":            {"Upgrade"}, // RFC 9110 §7.8
			},
		}
	}
	keys := r.Header.Values("Sec-WebSocket-Key")
	if len(keys) != 1 || !wire.ValidKey(strings.TrimSpace(keys[0])) {
		return missingOrWrong(r.Header, "Sec-WebSocket-Key", "is not one key of 16 bytes in base64")
	}
	return nil
}

func missingOrWrong(header http.Header, field, wrong string) *HandshakeError {
	if len(header.Values(field)) == 0 {
		return badRequest(field, "is missing")
	}
	return badRequest(field, wrong)
}

// checkOrigin keeps scripts of other origins out (§10.2). Who sends no Origin is no browser, and
// could send any.
func checkOrigin(r *http.Request, allowed []string) *HandshakeError {
	lines := r.Header.Values("Origin")
	if len(lines) == 0 || slices.Contains(allowed, "*") {
		return nil
	}
	refusal := &HandshakeError{
		Status: http.StatusForbidden,
		Field:  "Origin",
		Reason: "is not allowed",
	}
	if len(lines) > 1 {
		return refusal
	}
	if lines[0] == "null" && slices.Contains(allowed, "null") {
		return nil
	}
	origin, ok := parseOrigin(lines[0])
	if !ok {
		return refusal
	}
	own := "http://"
	if r.TLS != nil {
		own = "https://"
	}
	if same, ok := parseOrigin(own + r.Host); ok && origin == same {
		return nil
	}
	for _, text := range allowed {
		if listed, ok := parseOrigin(text); ok && origin == listed {
			return nil
		}
	}
	return refusal
}

// origin is the triple of RFC 6454 §4.
type origin struct{ scheme, host, port string }

func parseOrigin(text string) (origin, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil ||
		u.Path != "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#") {
		return origin{}, false
	}
	o := origin{scheme: u.Scheme, host: strings.ToLower(u.Hostname()), port: u.Port()}
	if ip, err := netip.ParseAddr(o.host); err == nil {
		o.host = ip.String() // one address has many spellings
	}
	if o.port == "" {
		o.port = defaultPort(o.scheme)
	}
	return o, o.host != ""
}

// defaultPort gives "" for a scheme that is not known.
func defaultPort(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	case "socks5", "socks5h":
		return "1080"
	}
	return ""
}
