//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// The two printed exchanges: of RFC 6455 §1.3, and of an article that many
// have read. Literally, but for the path.
func TestPrintedHandshakes(t *testing.T) {
	s := serve(t, "--allow-host", "server.example.com", "--allow-origin", "http://example.com")
	for key, accept := range map[string]string{
		"dGhlIHNhbXBsZSBub25jZQ==": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
		"x3JJHMbDL1EzLkh9GBhXDw==": "HSmrc0sMlYUkAGmm5OPpG2HaGWk=",
	} {
		// In order and case the requests differ, as those of the printed ones do.
		for name, request := range map[string]string{
			"RFC 6455 §1.2": "GET /topics/chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
				"Sec-WebSocket-Key: " + key + "\r\nOrigin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n",
			"other order": "GET /topics/chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
				"Sec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\nOrigin: http://example.com\r\n\r\n",
			"other case": "GET /topics/chat HTTP/1.1\r\nsec-websocket-version: 13\r\nSEC-WEBSOCKET-KEY: " + key + "\r\n" +
				"connection: upgrade\r\nupgrade: WebSocket\r\nhost: server.example.com\r\norigin: http://example.com\r\n\r\n",
			"Connection with keep-alive": "GET /topics/chat HTTP/1.1\r\nHost: server.example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
				"Sec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Version: 13\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\r\n",
			"Connection in two lines": "GET /topics/chat HTTP/1.1\r\nHost: server.example.com\r\nConnection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
				"Sec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
		} {
			c := dialRaw(t, s.addr)
			c.send(request)
			response, body := c.answer()
			header := response.Header
			if response.StatusCode != http.StatusSwitchingProtocols || header.Get("Sec-WebSocket-Accept") != accept ||
				!strings.EqualFold(header.Get("Upgrade"), "websocket") || !strings.EqualFold(header.Get("Connection"), "Upgrade") {
				t.Errorf("%s: %s %v %s", name, response.Status, header, body)
			}
			if _, chosen := header["Sec-Websocket-Protocol"]; chosen {
				t.Errorf("%s: \"duplex.v1 is chosen if it is offered [...], else none is\" (§8.1): %v", name, header)
			}
			c.Close()
		}
	}
}

// RFC 6455 §5.7: "a single-frame masked text message", "Hello".
const maskedHello = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"

func upgrade(host string) string {
	return "GET /topics/room HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
}

// After the handshake there are only frames, also in its own segment.
func TestFrameWithHandshake(t *testing.T) {
	s := serve(t)
	c := dialRaw(t, s.addr)
	c.send(upgrade(s.addr) + maskedHello + maskedHello)
	if response, body := c.answer(); response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s %s", response.Status, body)
	}
	for range 2 {
		if opcode, payload := c.frame(); opcode != 1 || payload != "Hello" {
			t.Errorf("opcode %d, %q", opcode, payload)
		}
	}
	if p := s.page(t, "room", ""); len(p.Events) != 2 || p.Events[0].text() != "Hello" {
		t.Errorf("published: %v", p.Events)
	}

	// A frame that comes byte by byte, in as many segments, is one message.
	for i := range len(maskedHello) {
		c.send(maskedHello[i : i+1])
	}
	if opcode, payload := c.frame(); opcode != 1 || payload != "Hello" {
		t.Errorf("opcode %d, %q", opcode, payload)
	}

	// An unmasked frame is a fault of the client (RFC 6455 §5.1).
	c.send("\x81\x05Hello")
	if opcode, payload := c.frame(); opcode != 8 || !strings.HasPrefix(payload, "\x03\xea") {
		t.Errorf("opcode %d, %q, not a close with 1002", opcode, payload)
	}
}

// frame reads a frame of a server, short and in one piece as all here are.
// Pings, with which a server begins (PROTOCOL.md §8.7), are passed over.
func (c *rawConn) frame() (opcode byte, payload string) {
	c.t.Helper()
	for {
		var header [2]byte
		if _, err := io.ReadFull(c.in, header[:]); err != nil {
			c.t.Fatal(err)
		}
		if header[0]&0xf0 != 0x80 || header[1] > 125 {
			c.t.Fatalf("frame header % x", header)
		}
		data := make([]byte, header[1])
		if _, err := io.ReadFull(c.in, data); err != nil {
			c.t.Fatal(err)
		}
		if opcode := header[0] & 0xf; opcode != 9 {
			return opcode, string(data)
		}
	}
}

// Faulty handshakes are refused in clear words, and before the 101 (PROTOCOL.md
// §8.1, §10.1).
func TestRefusedHandshakes(t *testing.T) {
	s := serve(t)
	without := func(field string) string {
		var kept []string
		for line := range strings.SplitSeq(upgrade(s.addr), "\r\n") {
			if !strings.HasPrefix(line, field+":") {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "\r\n")
	}
	with := func(line string) string {
		name, _, _ := strings.Cut(line, ":")
		return strings.TrimSuffix(without(name), "\r\n") + line + "\r\n\r\n"
	}
	for name, test := range map[string]struct {
		request string
		status  int
		problem string
		names   string // what the problem must name
	}{
		"no Key":                  {without("Sec-WebSocket-Key"), 400, "bad-handshake", "Sec-WebSocket-Key"},
		"no Version":              {without("Sec-WebSocket-Version"), 400, "bad-handshake", "Sec-WebSocket-Version"},
		"no Upgrade":              {without("Upgrade"), 400, "bad-handshake", "Upgrade"},
		"no Connection":           {without("Connection"), 400, "bad-handshake", "Connection"},
		"neither Key nor Version": {"GET /topics/room HTTP/1.1\r\nHost: " + s.addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 400, "bad-handshake", "Sec-WebSocket-"},
		"Connection without it":   {with("Connection: keep-alive"), 400, "bad-handshake", "Connection"},
		"version 8":               {with("Sec-WebSocket-Version: 8"), 426, "upgrade-required", "Sec-WebSocket-Version"},
		"version 14":              {with("Sec-WebSocket-Version: 14"), 426, "upgrade-required", "Sec-WebSocket-Version"},
		"key of 15 bytes":         {with("Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1"), 400, "bad-handshake", "Sec-WebSocket-Key"},
		"key that is not base64":  {with("Sec-WebSocket-Key: ????????????????????????"), 400, "bad-handshake", "Sec-WebSocket-Key"},
		"foreign origin":          {with("Origin: https://evil.example.com"), 403, "origin-refused", ""},
		"origin null":             {with("Origin: null"), 403, "origin-refused", ""},
		"origin with our name in": {with("Origin: http://" + s.addr + ".evil.example.com"), 403, "origin-refused", ""},
		"topics without protocol": {strings.Replace(upgrade(s.addr), "/topics/room", "/topics", 1), 400, "bad-handshake", "duplex.v1"},
		"bad pattern":             {strings.Replace(upgrade(s.addr), "/topics/room", "/topics/a*b", 1), 400, "bad-pattern", ""},
		"as=websocket alone": {"GET /topics/room?as=websocket HTTP/1.1\r\nHost: " + s.addr + "\r\n\r\n",
			426, "upgrade-required", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialRaw(t, s.addr)
			c.send(test.request)
			response, body := c.answer()
			if response.StatusCode != test.status || response.Header.Get("Content-Type") != "application/problem+json" ||
				!strings.Contains(body, `"urn:duplex:problem:`+test.problem+`"`) || !strings.Contains(body, test.names) {
				t.Errorf("%s %s, want %d %s that names %q", response.Status, body, test.status, test.problem, test.names)
			}
			// "426 upgrade-required with Sec-WebSocket-Version: 13 and, over HTTP/1.1, Upgrade: websocket" (§8.1).
			if test.status == 426 && (response.Header.Get("Sec-WebSocket-Version") != "13" || response.Header.Get("Upgrade") != "websocket") {
				t.Errorf("426 with %v", response.Header)
			}
		})
	}
	own := dialRaw(t, s.addr)
	own.send(with("Origin: http://" + s.addr))
	if response, body := own.answer(); response.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("own origin: %s %s", response.Status, body)
	}
}
