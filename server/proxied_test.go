package server

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// binaryHeader is a PROXY header of version 2.
func binaryHeader(command, family byte, rest string) string {
	b := append([]byte(proxySignature), command, family)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(rest)))) + rest
}

const (
	ends4 = "\xcb\x00\x71\x07\xc6\x33\x64\x01\xd9\x03\x01\xbb" // 203.0.113.7:55555 to 198.51.100.1:443
	ends6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xd9\x03\x01\xbb"
)

var proxyHeaders = []struct {
	header string
	remote string // "" is the proxy's own
	faulty bool
}{
	{header: "PROXY TCP4 203.0.113.7 198.51.100.1 55555 443\r\n", remote: "203.0.113.7:55555"},
	{header: "PROXY TCP6 2001:db8::7 2001:db8::1 55555 443\r\n", remote: "[2001:db8::7]:55555"},
	{header: "PROXY TCP6 " + strings.Repeat("ffff:", 7) + "ffff " + strings.Repeat("ffff:", 7) + "ffff 65535 65535\r\n", remote: "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
	{header: "PROXY UNKNOWN\r\n"},
	{header: "PROXY UNKNOWN ffff:f::1 ffff::1 65535 65535\r\n"},
	{header: binaryHeader(0x21, 0x11, ends4), remote: "203.0.113.7:55555"},
	{header: binaryHeader(0x21, 0x11, ends4+"\x04\x00\x01x"), remote: "203.0.113.7:55555"}, // an extension
	{header: binaryHeader(0x21, 0x21, ends6), remote: "[2001:db8::7]:55555"},
	{header: binaryHeader(0x20, 0x00, "")},                       // LOCAL: the proxy asks for itself
	{header: binaryHeader(0x20, 0x11, ends4)},                    // "the receiver MUST accept this connection as valid and MUST use the real connection endpoints"
	{header: binaryHeader(0x21, 0x00, "")},                       // UNSPEC
	{header: binaryHeader(0x21, 0x31, strings.Repeat("x", 216))}, // Unix sockets

	{header: "GET / HTTP/1.1\r\nHost: a\r\n", faulty: true},
	{header: "PROXY TCP4 203.0.113.7 198.51.100.1 55555 443\n ", faulty: true},
	{header: "PROXY TCP4 203.0.113.7 198.51.100.1 55555 65536\r\n", faulty: true},
	{header: "PROXY TCP4 203.0.113.7 198.51.100.1 -1 443\r\n", faulty: true},
	{header: "PROXY TCP4 2001:db8::7 2001:db8::1 55555 443\r\n", faulty: true},
	{header: "PROXY TCP6 203.0.113.7 198.51.100.1 55555 443\r\n", faulty: true},
	{header: "PROXY TCP6 fe80::1%eth0 2001:db8::1 55555 443\r\n", faulty: true},
	{header: "PROXY TCP4 203.0.113.7 55555\r\n", faulty: true},
	{header: "PROXY  TCP4 203.0.113.7 198.51.100.1 55555 443\r\n", faulty: true},
	{header: "PROXY TCP4 203.0.113.7 198.51.100.1 55555 443 x\r\n", faulty: true},
	{header: "PROXY UDP4 203.0.113.7 198.51.100.1 55555 443\r\n", faulty: true},
	{header: "PROXY " + strings.Repeat("x", 200) + "\r\n", faulty: true},
	{header: binaryHeader(0x11, 0x11, ends4), faulty: true}, // version 1
	{header: binaryHeader(0x22, 0x11, ends4), faulty: true}, // no such command
	{header: binaryHeader(0x21, 0x11, ends4[:11]), faulty: true},
	{header: binaryHeader(0x21, 0x21, ends4), faulty: true},
	{header: binaryHeader(0x21, 0x11, ends4)[:20], faulty: true},
	{header: "", faulty: true},
}

func TestReadProxyHeader(t *testing.T) {
	for _, test := range proxyHeaders {
		after := strings.NewReader(test.header + "GET ")
		if test.faulty {
			after = strings.NewReader(test.header)
		}
		remote, err := readProxyHeader(after)
		if (err != nil) != test.faulty {
			t.Errorf("%q: %v", test.header, err)
			continue
		}
		if rest, _ := io.ReadAll(after); !test.faulty && string(rest) != "GET " {
			t.Errorf("%q: it leaves %q", test.header, rest)
		}
		if got := remote.String(); remote.IsValid() != (test.remote != "") || remote.IsValid() && got != test.remote {
			t.Errorf("%q: %v", test.header, got)
		}
	}
}

func FuzzReadProxyHeader(f *testing.F) {
	for _, test := range proxyHeaders {
		f.Add([]byte(test.header))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		r := bytes.NewReader(header)
		remote, err := readProxyHeader(r)
		read := len(header) - r.Len()
		switch {
		case err != nil && remote.IsValid():
			t.Errorf("%v, and %v", remote, err)
		case err == nil && bytes.HasPrefix(header, []byte("PROXY ")) && (read > maxProxyLine || !bytes.HasSuffix(header[:read], []byte("\r\n"))):
			t.Errorf("read %q", header[:read])
		}
	})
}

// testnet's clients have addresses of this network.
var clients = netip.MustParsePrefix("192.0.2.0/24")

func TestTrustedProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		s, network := startPiped(t, &Config{Logger: logger, TrustProxy: []netip.Prefix{clients}})
		p := connect(t, network.Dial, DefaultListen)
		p.say("PROXY TCP4 203.0.113.7 198.51.100.1 55555 443\n")
		p.say("GET /healthz HTTP/1.1\n" + host + "\n")
		p.wantAnswer(200)
		p.say("GET /topics/a HTTP/1.1\n" + host + "\n")
		p.wantAnswer(200)

		// One that says nothing holds up nobody, but not for long.
		silent := connect(t, network.Dial, DefaultListen)
		began := time.Now()
		other := connect(t, network.Dial, DefaultListen)
		_, _ = io.WriteString(other.Conn, "GET /healthz HTTP/1.1\r\n\r\n") // is not read to its end
		other.wantEnd()
		own := connect(t, network.Dial, DefaultListen)
		own.say("PROXY UNKNOWN\n")
		own.say("DELETE /topics/own HTTP/1.1\n" + host + "\n")
		own.wantAnswer(204)
		silent.wantEnd()
		if took := time.Since(began); took != proxyHeaderTimeout {
			t.Errorf("cut after %v", took)
		}

		waiting := connect(t, network.Dial, DefaultListen)
		synctest.Wait()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		waiting.wantEnd()
		if open := network.Open(); open != 0 {
			t.Errorf("%d connections are open after the end", open)
		}
		text := log.String()
		if strings.Count(text, "remote=203.0.113.7:55555") != 2 || strings.Count(text, "remote=192.0.2.1:") != 1 || strings.Count(text, "without a good PROXY header") != 2 {
			t.Error(text)
		}
	})
}

// The header comes before TLS, and who is not trusted may not send one.
func TestProxyOverTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		for _, trusted := range []string{"192.0.2.0/24", "198.51.100.0/24"} {
			s, network := startPiped(t, &Config{Logger: logger, TLSDevDir: t.TempDir() + "/ca", TrustProxy: []netip.Prefix{netip.MustParsePrefix(trusted)}})
			p := connect(t, network.Dial, DefaultListen)
			if trusted == clients.String() {
				if _, err := p.Conn.Write([]byte(binaryHeader(0x21, 0x11, ends4))); err != nil {
					t.Fatal(err)
				}
			}
			secure := connectTLS(t, s, p)
			secure.say("GET /healthz HTTP/1.1\n" + host + "\n")
			secure.wantAnswer(200)
			if trusted != clients.String() {
				p := connect(t, network.Dial, DefaultListen)
				p.say("PROXY TCP4 203.0.113.7 198.51.100.1 55555 443\n")
				if rest, _ := io.ReadAll(p.Reader); bytes.Contains(rest, []byte("HTTP")) {
					t.Errorf("answered %q", rest)
				}
			}
			secure.Close() // a pipe would hold up the alert of the server's end of it
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if text := log.String(); strings.Count(text, "remote=203.0.113.7:55555") != 1 || strings.Count(text, "remote=192.0.2.1:") != 1 {
			t.Error(text)
		}
	})
}

// connectTLS speaks HTTP/1.1 over TLS.
func connectTLS(t *testing.T, s *Server, p *peer) *peer {
	t.Helper()
	config := trusting(t, s)
	config.NextProtos = []string{"http/1.1"}
	return connected(t, tls.Client(p.Conn, config))
}
