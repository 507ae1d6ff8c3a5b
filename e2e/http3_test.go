//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// newTabOverHTTP3 opens a server's page in a Chromium of its own. It needs to be
// told of the port and of the certificate: it takes no hint by Alt-Svc from a
// certificate that it only puts up with.
func newTabOverHTTP3(t *testing.T, s *secureServer, path string) *tab {
	return newTabWithQUIC(t, s, path, chromedp.Flag("origin-to-force-quic-on", strings.TrimPrefix(s.secure, "https://")))
}

// newTabWithQUIC opens a server's page in a Chromium that has QUIC and trusts its
// certificate.
func newTabWithQUIC(t *testing.T, s *secureServer, path string, options ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	address := strings.TrimPrefix(s.secure, "https://")
	ctx, cancel := launch(t, append([]chromedp.ExecAllocatorOption{
		chromedp.Flag("disable-quic", false),
		chromedp.Flag("ignore-certificate-errors", false),
		chromedp.Flag("ignore-certificate-errors-spki-list", keyHash(t, address, s.authority)),
		chromedp.Flag("enable-features", "EnableWebsocketsOverHttp3"),
	}, options...)...)
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx}
	perform(p, "open", chromedp.Navigate(s.secure+path))
	return p
}

// Chromium over HTTP/3: event streams, fetch, and WebSockets by RFC 9220.
func TestBrowserOverHTTP3(t *testing.T) {
	s := serveSecure(t, "--http3")
	p := newTabOverHTTP3(t, s, "/topics/many?as=poll")
	p.run(sources)
	check(p, `version()`, "h3")
	p.until(`opened === 50`)
	p.run(`fetch(location.pathname, { method: "POST", headers: { "Content-Type": "text/plain" }, body: "for all" })`)
	p.until(`told === 50`)
	check(p, `performance.getEntriesByType("resource").some((e) => e.nextHopProtocol === "h3")`, true)
	check(p, `performance.getEntriesByType("resource").every((e) => e.nextHopProtocol === "h3" || e.nextHopProtocol === "")`, true)
	p.run(`heard = []; open = 0;
		sockets = Array.from({ length: 3 }, () => new WebSocket("wss://" + location.host + "/topics/socket"));
		for (const socket of sockets) {
			socket.onopen = () => open++;
			socket.onmessage = ({ data }) => heard.push(data);
		}`)
	p.until(`open === 3`)
	p.run(`sockets[0].send("grüße 🦫")`)
	p.until(`heard.length === 3`)
	check(p, `heard.every((data) => data === "grüße 🦫")`, true)
	p.run(`for (const socket of sockets) socket.close()`)
	until(t, "the log of three extended CONNECT", func() bool {
		return strings.Count(s.stderr.String(), "method=CONNECT path=/topics/socket status=200") == 3
	})
	if n := connections(t, strings.TrimPrefix(s.secure, "https://")); n != 0 {
		t.Errorf("%d TCP connections", n)
	}
}

// keyHash is the hash of the key that a server shows, as Chromium wants it.
func keyHash(t testing.TB, address, authority string) string {
	t.Helper()
	text, err := os.ReadFile(authority)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// The program's own commands over HTTP/3.
func TestCommandsOverHTTP3(t *testing.T) {
	s := serveSecure(t, "--http3")
	trusting := func(args ...string) *exec.Cmd {
		cmd := command(program, append(args, "--server", s.secure)...)
		cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+s.authority)
		return cmd
	}
	for i, args := range [][]string{
		{"--http3", "--verbose"},
		{"--http3", "--transport", "sse"},
		{"--http3", "--transport", "longpoll"},
		{"--transport", "webtransport"},
	} {
		room := fmt.Sprintf("room/%d", i)
		run(t, trusting("pub", room, "hello", "--http3"))
		if got := run(t, trusting(append([]string{"sub", room, "--after", "earliest", "--limit", "1"}, args...)...)); !strings.Contains(got, "hello") {
			t.Errorf("%q: %q", args, got)
		}
	}
	if n := strings.Count(s.stderr.String(), "method=CONNECT"); n != 2 {
		t.Errorf("%d sessions, want those of the first and the last", n)
	}
	if strings.Contains(s.stderr.String(), "version=HTTP/1.1") {
		t.Error("not everything came over HTTP/3")
	}
}

// session opens a session of WebTransport and reads its lines into heard.
const session = `async function session(address, options) {
	const transport = new WebTransport(address, options);
	await transport.ready;
	const stream = await transport.createBidirectionalStream();
	const writer = stream.writable.getWriter();
	const s = { transport, writer, heard: [], datagrams: [], say: (op) => writer.write(new TextEncoder().encode(JSON.stringify(op) + "\n")) };
	(async () => {
		let rest = "";
		for await (const text of stream.readable.pipeThrough(new TextDecoderStream())) {
			const lines = (rest + text).split("\n");
			rest = lines.pop();
			s.heard.push(...lines.map((line) => JSON.parse(line)));
		}
	})().catch((error) => { s.lost = String(error); });
	(async () => {
		for await (const datagram of transport.datagrams.readable) s.datagrams.push(JSON.parse(new TextDecoder().decode(datagram)));
	})().catch(() => {});
	s.publishLossy = (op) => (s.lossy ??= transport.datagrams.writable.getWriter()).write(new TextEncoder().encode(JSON.stringify(op)));
	return s;
}`

// A page uses a session as PROTOCOL.md §16 says.
func TestBrowserWebTransport(t *testing.T) {
	s := serveSecure(t, "--http3", "--rule", "cursors/**: retain-events=0", "--ping", "2s")
	p := newTabOverHTTP3(t, s, "/topics/room?as=poll")
	p.run(session)
	p.run(`(async () => {
		a = await session("https://" + location.host + "/topics");
		await a.say({ op: "subscribe", topic: "room", ref: 1 });
		await a.say({ op: "publish", topic: "room", data: { n: 1 }, ref: 2 });
	})()`)
	p.until(`a.heard.some((m) => m.op === "ok" && m.ref === 2) && a.heard.some((m) => m.topic === "room" && m.data.n === 1)`)
	check(p, `a.heard[0].event`, "$ping")
	check(p, `a.heard.findIndex((m) => m.ref === 1) < a.heard.findIndex((m) => m.topic === "room")`, true)
	p.until(`a.heard.filter((m) => m.event === "$ping").length >= 2`)

	// Cut off, it goes on where it was.
	p.run(`last = a.heard.findLast((m) => m.topic === "room").id; a.transport.close({ closeCode: 1000, reason: "cut" })`)
	until(t, "the session has ended", func() bool {
		return strings.Contains(s.stderr.String(), "method=CONNECT path=/topics status=200")
	})
	s.publish(t, "room", "", "application/json", `{"n":2}`)
	s.publish(t, "room", "", "application/json", `{"n":3}`)
	p.run(`(async () => {
		b = await session("https://" + location.host + "/topics");
		await b.say({ op: "subscribe", topic: "room", after: last, ref: 1 });
	})()`)
	p.until(`b.heard.filter((m) => m.topic === "room").length === 2`)
	check(p, `b.heard.filter((m) => m.topic === "room").map((m) => m.data.n).join()`, "2,3")

	// What is kept by nobody comes and goes as datagrams.
	p.run(`b.say({ op: "subscribe", topic: "cursors/**", datagrams: true, ref: 2 })`)
	p.until(`b.heard.some((m) => m.ref === 2)`)
	p.run(`moving = setInterval(() => {
		b.publishLossy({ op: "publish", topic: "cursors/ada", data: [17, 4] }); // some may be lost
		b.say({ op: "publish", topic: "cursors/bob", data: "x".repeat(5000) });
	}, 100)`)
	p.until(`b.datagrams.length > 0`)
	check(p, `b.datagrams[0].topic + b.datagrams[0].data.join()`, "cursors/ada17,4")
	p.until(`b.heard.some((m) => m.topic === "cursors/bob" && m.data.length === 5000)`)
	p.run(`clearInterval(moving)`)
	p.run(`asking = setInterval(() => b.publishLossy({ op: "publish", topic: "room", data: 4, ref: 3 }), 100)`)
	p.until(`b.heard.some((m) => m.op === "error" && m.ref === 3 && m.status === 400)`)
	p.run(`clearInterval(asking)`)

	// At the end of the server it is told so.
	p.run(`void b.transport.closed.then(({ closeCode, reason }) => { ending = closeCode + reason; }, (error) => { ending = String(error); })`)
	s.stop(t)
	p.until(`typeof ending === "string"`)
	check(p, `ending`, "1001shutting-down")
}

// A page of another origin, which knows the certificate by its hash, is let in if
// it is allowed.
func TestBrowserWebTransportByHash(t *testing.T) {
	certificate, key, hash := shortCertificate(t)
	allowed := serveSecure(t, "--http3") // for its page, and its Chromium
	s := serve(t, "--tls-cert", certificate, "--tls-key", key, "--http3", "--listen", "http://127.0.0.1:0", "--allow-origin", allowed.secure, "--log-level", "debug")
	var found []string
	until(t, "the secure address", func() bool {
		found = bannerSecure.FindStringSubmatch(s.stderr.String())
		return found != nil
	})
	p := newTabOverHTTP3(t, allowed, "/topics/room?as=poll")
	p.run(session)
	p.run(`options = { serverCertificateHashes: [{ algorithm: "sha-256", value: Uint8Array.from(atob(` + quote(hash) + `), (c) => c.charCodeAt(0)) }] };
		(async () => {
			a = await session(` + quote(found[1]+"/topics/room") + `, options);
			await a.say({ op: "publish", topic: "room", data: "hello" });
		})()`)
	p.until(`a.heard.some((m) => m.data === "hello")`)

	// Others are not.
	foreign := newTabOverHTTP3(t, serveSecure(t, "--http3"), "/topics/room?as=poll")
	foreign.run(`options = { serverCertificateHashes: [{ algorithm: "sha-256", value: Uint8Array.from(atob(` + quote(hash) + `), (c) => c.charCodeAt(0)) }] };
		void new WebTransport(` + quote(found[1]+"/topics/room") + `, options).ready.then(() => { outcome = "let in"; }, (error) => { outcome = String(error); })`)
	foreign.until(`typeof outcome === "string"`)
	check(foreign, `outcome !== "let in"`, true)
	until(t, "the log of the refusal", func() bool { return strings.Contains(s.stderr.String(), "path=/topics/room status=403") })
}

// shortCertificate makes a certificate as serverCertificateHashes wants it: with
// a key of ECDSA, for 14 days at most. It gives two files and its hash.
func shortCertificate(t *testing.T) (certificate, key, hash string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(10 * 24 * time.Hour),
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256(der)
	return certificate, key, base64.StdEncoding.EncodeToString(sum[:])
}

// Known attacks on HTTP/3 and WebTransport, against the program: headers that
// grow when they are unpacked (CVE-2025-64702, CVE-2026-40898), lengths that are
// only announced, streams that are reset at once (CVE-2023-44487) or are of no
// session (CVE-2026-21434). It answers others all along, and keeps nothing of it.
func TestAttacksOverHTTP3(t *testing.T) {
	s := serveSecure(t, "--http3")
	roots := x509.NewCertPool()
	text, err := os.ReadFile(s.authority)
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(text)
	address := strings.TrimPrefix(s.secure, "https://")
	dial := func() *quic.Conn {
		t.Helper()
		conn, err := quic.DialAddr(t.Context(), address, http3.ConfigureTLSConfig(&tls.Config{RootCAs: roots}), &quic.Config{EnableDatagrams: true, HandshakeIdleTimeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		control, err := conn.OpenUniStream()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := control.Write([]byte{0, 4, 2, 0x33, 1}); err != nil { // SETTINGS_H3_DATAGRAM = 1
			t.Fatal(err)
		}
		return conn
	}
	frame := func(kind uint64, payload string) []byte {
		b := quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(payload)))
		return append(b, payload...)
	}
	// QPACK: :method GET, :scheme https, :authority localhost, :path /healthz
	const get = "\x00\x00\xd1\xd7\x50\x09localhost\x51\x08/healthz"
	attacks := map[string]struct {
		sent  []byte
		reset bool
	}{
		"expansion":  {frame(1, get+strings.Repeat("\xff\x22", 30_000)), false}, // 1.5 MB of fields
		"announced":  {append(quicvarint.Append([]byte{1}, 1<<40), "abc"...), false},
		"resets":     {frame(1, get), true},
		"early":      {[]byte{1}, true},
		"no session": {append(quicvarint.Append(quicvarint.Append(nil, 0x41), 4000), "x"...), false},
	}
	healthy := func() {
		t.Helper()
		transport := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, QUICConfig: &quic.Config{HandshakeIdleTimeout: patience}}
		defer transport.Close()
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.secure+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if response.Body.Close(); response.StatusCode != 200 {
			t.Errorf("answered %s", response.Status)
		}
	}
	healthy()
	before := memory(t, s)
	for name, attack := range attacks {
		conn := dial()
		for range 500 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			stream, err := conn.OpenStreamSync(ctx) // as fast as the server lets us
			cancel()
			if err != nil {
				break
			}
			_, _ = stream.Write(attack.sent) // it may be refused already
			if attack.reset {
				stream.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
			}
			stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
		}
		healthy()
		if grown := memory(t, s) - before; grown > 200<<20 {
			t.Errorf("%s: %d MiB more", name, grown>>20)
		}
		conn.CloseWithError(0, "")
	}
	s.stop(t)
}
