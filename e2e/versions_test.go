//go:build e2e

package e2e

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/websocket"
)

// A secureServer serves every version of HTTP: over TLS, and without.
type secureServer struct {
	*server
	secure    string // https://HOST:PORT
	authority string // the file
}

var bannerSecure = regexp.MustCompile(`(?m)^Duplex listens on (https://\S+) \(HTTP/1.1, HTTP/2(, HTTP/3)?,`)

func serveSecure(t testing.TB, flags ...string) *secureServer {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	s := serve(t, append([]string{"--tls-dev", "--tls-dev-dir", dir, "--listen", "http://127.0.0.1:0", "--h2c"}, flags...)...)
	var found []string
	until(t, "the secure address", func() bool {
		found = bannerSecure.FindStringSubmatch(s.stderr.String())
		return found != nil
	})
	return &secureServer{s, found[1], filepath.Join(dir, "ca.pem")}
}

// address is the HOST:PORT of TLS.
func (s *secureServer) address() string { return strings.TrimPrefix(s.secure, "https://") }

// connections is how many TCP connections to an address are open, by what the
// kernel says of the server's side.
func connections(t testing.TB, address string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(table)) {
		// sl, local address, remote address, state: 01 is ESTABLISHED
		if fields := strings.Fields(line); strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", n)) && fields[3] == "01" {
			count++
		}
	}
	return count
}

// remotes are the clients' addresses of those requests in the log that have all
// words. Each connection has its own: that of a browser may have others beside
// it, which it opens in case the first one is slow.
func (s *server) remotes(words ...string) (found []string) {
	for line := range strings.Lines(s.stderr.String()) {
		if slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			continue
		}
		if _, remote, ok := strings.Cut(strings.TrimSpace(line), "remote="); ok {
			found = append(found, remote)
		}
	}
	return found
}

func TestCurlVersions(t *testing.T) {
	curl := tool(t, "curl", "curl")
	s := serveSecure(t)
	for name, test := range map[string]struct {
		base, version string
		flags         []string
	}{
		"HTTP/1.1":           {s.url, "1.1", []string{"--http1.1"}},
		"HTTP/1.1 over TLS":  {s.secure, "1.1", []string{"--http1.1", "--cacert", s.authority}},
		"HTTP/2":             {s.secure, "2", []string{"--cacert", s.authority}},
		"HTTP/2 without TLS": {s.url, "2", []string{"--http2-prior-knowledge"}},
	} {
		t.Run(name, func(t *testing.T) {
			scheme, _, _ := strings.Cut(test.base, ":")
			name := "curl/" + scheme + "/" + test.version
			fetch := func(args ...string) string {
				t.Helper()
				return run(t, command(curl, append(append(test.flags, "-sSN", "--max-time", curlPatience, "-w", "\n%{http_code} %{http_version}"), args...)...))
			}
			address := topicURL(test.base, name)
			if got := fetch("-d", "hello", address); !strings.HasSuffix(got, "\n201 "+test.version) {
				t.Errorf("publish: %q", got)
			}
			fetch("-d", "bye", address+"?end")
			for _, media := range []string{"text/event-stream", "application/x-ndjson", "application/json"} {
				got := fetch("-H", "Accept: "+media, address+"?after=earliest")
				if !strings.HasSuffix(got, "\n200 "+test.version) || !strings.Contains(got, "hello") || !strings.Contains(got, "bye") {
					t.Errorf("%s: %q", media, got)
				}
			}
		})
	}
}

// The program's own commands trust an authority as the banner says.
func TestCommandsOverTLS(t *testing.T) {
	s := serveSecure(t)
	trusting := func(args ...string) *exec.Cmd {
		cmd := command(program, append(args, "--server", s.secure)...)
		cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+s.authority)
		return cmd
	}
	for _, transport := range []string{"websocket", "sse", "stream", "longpoll", "poll"} {
		run(t, trusting("pub", transport, "hello"))
		if got := run(t, trusting("sub", transport, "--as", transport, "--after", "earliest", "--limit", "1")); !strings.Contains(got, "hello") {
			t.Errorf("%s: %q", transport, got)
		}
	}
	// Who cannot trust the server, or speaks TLS to a plain port, has not reached it.
	for _, test := range []struct{ server, says string }{
		{s.secure, "SSL_CERT_FILE"},
		{"https" + strings.TrimPrefix(s.url, "http"), "without TLS"},
	} {
		for _, args := range [][]string{{"pub", "a", "x"}, {"sub", "a"}, {"sub", "a", "--as", "sse"}} {
			stranger := start(t, command(program, append(args, "--server", test.server)...))
			if code := stranger.exitCode(t); code != 4 || !strings.Contains(stranger.stderr.String(), test.says) {
				t.Errorf("%v: exit code %d, %s", args, code, stranger.stderr.String())
			}
		}
	}
}

// Our own client opens WebSockets over HTTP/2, as many as it likes on one
// connection.
func TestWebSocketsShareAConnection(t *testing.T) {
	s := serveSecure(t)
	text, err := os.ReadFile(s.authority)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP2(true)
	defer transport.CloseIdleConnections()
	var conns []*websocket.Conn
	for range 100 {
		conn, _, err := websocket.Dial(t.Context(), "wss"+strings.TrimPrefix(s.secure, "https")+"/topics/shared", &websocket.DialOptions{HTTP2: transport})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		conns = append(conns, conn)
	}
	s.publish(t, "shared", "", "text/plain", "for all")
	for _, conn := range conns {
		if _, data, err := conn.Read(t.Context()); err != nil || string(data) != "for all" {
			t.Fatalf("%q, %v", data, err)
		}
	}
	if n := connections(t, strings.TrimPrefix(s.secure, "https://")); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// sources opens event streams, and counts who hears an event.
const sources = `opened = 0; told = 0; all = [];
for (let i = 0; i < 50; i++) {
	const source = new EventSource(location.pathname + "?as=sse");
	all.push(source);
	source.onopen = () => opened++;
	source.onmessage = ({ data }) => { if (data === "for all") told++; };
}
version = () => performance.getEntriesByType("navigation")[0].nextHopProtocol;`

// The case for HTTP/2: a page's event streams share one connection. Over
// HTTP/1.1 a browser opens six, and the rest of them never begins.
func TestBrowserEventSourcesOverHTTP2(t *testing.T) {
	s := serveSecure(t)
	p := newTab(t, s.secure+"/topics/many?as=poll")
	p.run(sources)
	check(p, `version()`, "h2")
	p.until(`opened === 50`)
	s.publish(t, "many", "", "text/plain", "for all")
	p.until(`told === 50`)
	p.run(`for (const source of all) source.close()`)
	var remotes []string
	until(t, "the log of 50 streams", func() bool {
		remotes = s.remotes("path=/topics/many ", "version=HTTP/2 ")
		return len(remotes) >= 50
	})
	if n := len(slices.Compact(slices.Sorted(slices.Values(remotes)))); n != 1 {
		t.Errorf("%d TCP connections for 50 event streams", n)
	}
	check(p, `performance.getEntriesByType("resource").every((e) => e.nextHopProtocol === "h2" || e.nextHopProtocol === "")`, true)

	old := newTab(t, s.url+"/topics/few?as=poll")
	old.run(sources)
	check(old, `version()`, "http/1.1")
	old.until(`opened === 6`)
	s.publish(t, "few", "", "text/plain", "for all")
	old.until(`told === 6`)
	check(old, `opened`, 6)
}

// Chromium opens WebSockets over the HTTP/2 connection of its page.
func TestBrowserWebSocketOverHTTP2(t *testing.T) {
	s := serveSecure(t, "--log-level", "debug")
	p := newTab(t, s.secure+"/topics/socket?as=poll")
	p.run(`heard = []; opened = 0;
		sockets = Array.from({ length: 3 }, () => new WebSocket("wss://" + location.host + location.pathname));
		for (const socket of sockets) {
			socket.onopen = () => opened++;
			socket.onmessage = ({ data }) => heard.push(data);
		}`)
	p.until(`opened === 3`)
	p.run(`sockets[0].send("grüße 🦫")`)
	p.until(`heard.length === 3`)
	check(p, `heard.every((data) => data === "grüße 🦫")`, true)
	p.run(`for (const socket of sockets) socket.close()`)
	until(t, "the log of three extended CONNECT", func() bool {
		return len(s.remotes("method=CONNECT path=/topics/socket status=200")) == 3
	})
	remotes := append(s.remotes("method=CONNECT "), s.remotes("method=GET path=/topics/socket status=200 version=HTTP/2")...)
	if n := len(slices.Compact(slices.Sorted(slices.Values(remotes)))); n != 1 || len(remotes) != 4 {
		t.Errorf("%d TCP connections for a page and its WebSockets: %v", n, remotes)
	}
	p.run(socketClient)
	p.until(`client.status.version === "h2"`)
}

// socketClient begins a client, which learns from the server what it is connected by.
const socketClient = `import("/client.js").then(({ Duplex }) => {
	client = new Duplex("/", { transports: ["websocket"] });
	client.subscribe("socket", () => {});
})`

// Whoever runs the server can say no to WebSockets over HTTP/2.
func TestNoWebSocketOverHTTP2(t *testing.T) {
	s := serveSecure(t, "--no-http2-websocket", "--log-level", "debug")
	p := newTab(t, s.secure+"/topics/socket?as=poll")
	p.run(`opened = 0; socket = new WebSocket("wss://" + location.host + location.pathname); socket.onopen = () => opened++`)
	p.until(`opened === 1`)
	p.run(`socket.close()`)
	p.run(socketClient)
	p.until(`client.status.version === "http/1.1"`)
	p.run(`client.close()`)
	until(t, "the log of a page over HTTP/2 and a WebSocket over HTTP/1.1", func() bool {
		return len(s.remotes("method=GET path=/topics/socket status=200 version=HTTP/2")) == 1 && len(s.remotes("method=GET path=/topics/socket status=101 version=HTTP/1.1")) == 2
	})
}

// undici opens WebSockets over HTTP/2, and sends a key though none is needed.
func TestUndiciOverHTTP2(t *testing.T) {
	node := tool(t, "node", "nodejs")
	s := serveSecure(t)
	script := filepath.Join(nodePackages(t), "undici_topic.mjs")
	cmd := command(node, script, "wss"+strings.TrimPrefix(s.secure, "https")+"/topics/undici")
	cmd.Env = append(cmd.Env, "NODE_EXTRA_CA_CERTS="+s.authority)
	if out := run(t, cmd); !strings.HasSuffix(out, "done\n") {
		t.Errorf("the script did not come to its end: %s", out)
	}
	until(t, "the log of an extended CONNECT", func() bool {
		return strings.Contains(s.stderr.String(), "method=CONNECT path=/topics/undici status=200")
	})
}

// A service manager opens the socket, and the server takes it: sd_listen_fds(3).
func TestSocketActivation(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" serve --memory`, program)
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = []*os.File{file}
	p := start(t, cmd)
	s := &server{process: p, url: "http://" + l.Addr().String(), addr: l.Addr().String()}
	until(t, "the banner", func() bool { return strings.Contains(p.stderr.String(), "Duplex listens on "+s.url+" ") })
	s.publish(t, "a", "", "text/plain", "hello")
	if n := strings.Count(p.stderr.String(), "Duplex listens on "); n != 1 {
		t.Errorf("%d addresses", n)
	}
	s.stop(t)
}

// What is in front of the server says who asks, for as long as the connection
// lasts. Others are who they are.
func TestProxyProtocol(t *testing.T) {
	s := serve(t, "--trust-proxy", "127.0.0.2/32", "--log-level", "debug")
	proxy := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := proxy.DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	header, err := hex.DecodeString("0d0a0d0a000d0a515549540a" + "2111000c" + "cb007107" + "c6336401" + "d903" + "01bb")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "%sGET /topics/a?as=stream HTTP/1.1\r\nHost: localhost\r\n\r\n", header); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	stream, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.publish(t, "a", "?end", "text/plain", "the last") // from 127.0.0.1
	if lines, err := io.ReadAll(stream.Body); err != nil || !strings.Contains(string(lines), "the last") {
		t.Errorf("%q, %v", lines, err)
	}
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(answers, nil); err != nil || response.StatusCode != 200 {
		t.Fatalf("%v, %v", response, err)
	}
	until(t, "the log of who asked", func() bool {
		log := s.stderr.String()
		return strings.Count(log, "remote=203.0.113.7:55555") == 2 && strings.Count(log, "remote=127.0.0.1:") == 1
	})
}
