package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/duplexhq/duplex/websocket"
)

// A version is a way to speak HTTP with a server.
type version struct {
	name      string
	base      string // the URL of the server, without a path
	transport http.RoundTripper
}

// everyVersion serves over TLS and without, and gives a way for each version of
// HTTP. The first is HTTP/1.1 on plain TCP.
func everyVersion(t *testing.T, config *Config) (*Server, []version) {
	t.Helper()
	config.Listen = []string{"http://127.0.0.1:0", "127.0.0.1:0"}
	config.TLSDevDir, config.H2C, config.HTTP3 = t.TempDir()+"/ca", true, true
	s := start(t, config)
	plain, secure := "http://"+s.Addrs()[0].String(), "https://"+s.Addrs()[1].String()
	return s, []version{
		{"HTTP/1.1", plain, speaking(t, s, (*http.Protocols).SetHTTP1)},
		{"HTTP/1.1 over TLS", secure, speaking(t, s, (*http.Protocols).SetHTTP1)},
		{"HTTP/2", secure, speaking(t, s, (*http.Protocols).SetHTTP2)},
		{"HTTP/2 without TLS", plain, speaking(t, s, (*http.Protocols).SetUnencryptedHTTP2)},
		{"HTTP/3", secure, speakingHTTP3(t, s)},
	}
}

// versionCount is how many everyVersion gives.
const versionCount = 5

func speakingHTTP3(t *testing.T, s *Server) *http3.Transport {
	t.Helper()
	transport := &http3.Transport{TLSClientConfig: trusting(t, s), DisableCompression: true}
	t.Cleanup(func() { transport.Close() })
	return transport
}

// speaking gives a transport for one version only.
func speaking(t *testing.T, s *Server, set func(*http.Protocols, bool)) *http.Transport {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig:    trusting(t, s),
		Protocols:          new(http.Protocols),
		DisableCompression: true,
	}
	set(transport.Protocols, true)
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// topic is a topic of its own.
func (v version) topic() string { return url.PathEscape(strings.ReplaceAll(v.name, "/", "-")) }

func (v version) do(t *testing.T, method, path, body string, fields ...string) *http.Response {
	t.Helper()
	return v.doUntil(t, t.Context(), method, path, body, fields...)
}

// doUntil is do with a context that ends the request.
func (v version) doUntil(t *testing.T, ctx context.Context, method, path, body string, fields ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, v.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			r.Host = fields[i+1]
		} else {
			r.Header.Add(fields[i], fields[i+1])
		}
	}
	response, err := v.transport.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s: %s %s: %v", v.name, method, path, err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if want := v.name[:len("HTTP/x")]; !strings.HasPrefix(response.Proto, want) {
		t.Fatalf("%s: answered over %s", v.name, response.Proto)
	}
	return response
}

// An exchange is a request whose answer is the same in every version
// (PROTOCOL.md §1.3).
type exchange struct {
	method, path, body string
	fields             []string
}

// These change nothing. Topic "live" has three events, "ended" has ended after
// two.
var reads = []exchange{
	// What topics answer.
	{"GET", "/topics/live", "", nil},
	{"GET", "/topics/live", "", []string{"Accept", "application/json"}},
	{"GET", "/topics/live?after=earliest&limit=2", "", nil},
	{"GET", "/topics/live?after=nonsense", "", nil},
	{"GET", "/topics/live", "", []string{"Last-Event-ID", "nonsense"}},
	{"GET", "/topics?topic=live&topic=ended&after=earliest", "", nil},
	{"GET", "/topics/*?after=earliest", "", nil},
	{"GET", "/topics/**?after=earliest&as=poll", "", nil},
	{"GET", "/topics/none", "", nil},
	{"GET", "/topics/a%20b?after=earliest", "", nil},
	{"GET", "/topics/gr%C3%BC%C3%9Fe", "", nil},
	{"GET", "/topics/live?as=html", "", nil},
	{"GET", "/topics/live", "", []string{"Accept", "text/html"}},
	{"GET", "/topics", "", nil},
	{"GET", "/topics", "", []string{"Accept", "text/html"}},
	{"GET", "/", "", nil},
	{"GET", "/", "", []string{"Accept", "text/html"}},
	{"OPTIONS", "/", "", nil},
	{"POST", "/", "topic=live", []string{"Content-Type", "application/x-www-form-urlencoded"}}, // 405
	{"GET", "/healthz", "", nil},
	{"HEAD", "/readyz", "", nil},
	{"PUT", "/healthz", "x", nil}, // 405
	{"PUT", "/client.js", "x", nil},
	{"POST", "/topics/live", "x", []string{"Expect", "wonders"}}, // 417
	{"GET", "/topics/live", "", []string{"If-None-Match", "*"}},  // 304
	{"HEAD", "/topics/live", "", nil},
	{"HEAD", "/topics/live?as=sse", "", nil},
	{"HEAD", "/topics", "", nil},
	{"HEAD", "/nothing", "", nil},
	{"OPTIONS", "/topics/live", "", nil},
	{"OPTIONS", "/topics", "", nil},
	{"QUERY", "/topics", "topic=live&after=earliest", []string{"Content-Type", "application/x-www-form-urlencoded"}},
	{"POST", "/topics", "topic=live&after=earliest", []string{"Content-Type", "application/x-www-form-urlencoded"}},
	{"POST", "/topics", `{"topic":["live"],"after":"earliest"}`, []string{"Content-Type", "application/json"}},

	// Streams of what has ended, end.
	{"GET", "/topics/ended?after=earliest", "", []string{"Accept", "text/event-stream"}},
	{"GET", "/topics/ended?after=earliest&envelope", "", []string{"Accept", "text/event-stream"}},
	{"GET", "/topics/ended?after=earliest", "", []string{"Accept", "application/x-ndjson"}},
	{"GET", "/topics/ended?after=nonsense&as=stream", "", nil},
	{"GET", "/topics/ended?as=sse", "", nil}, // 204
	{"GET", "/topics/ended?as=multipart&after=earliest", "", nil},
	{"GET", "/topics/ended?as=multipart&after=nonsense&envelope", "", nil},
	{"GET", "/topics/ended?after=earliest", "", []string{"Accept", "multipart/mixed"}},
	{"GET", "/topics/ended?as=iframe", "", nil}, // 204
	{"GET", "/topics/ended?as=iframe&callback=a(b)", "", nil},

	// Polls that are held, or not.
	{"GET", "/topics/live?after=earliest&wait=5", "", nil},
	{"GET", "/topics/live?wait=10ms", "", nil},
	{"GET", "/topics/live?after=earliest", "", []string{"Prefer", "wait=1"}},
	{"GET", "/topics/ended?wait=5", "", nil},

	// Refusals.
	{"GET", "/nothing", "", nil},
	{"GET", "/topics/", "", nil},
	{"GET", "/topics//a", "", nil},
	{"GET", "/topics/a%2Fb", "", nil},
	{"GET", "/topics/a*b", "", nil},
	{"GET", "/topics/a/../b", "", nil},
	{"GET", "/topics/a?limit=many", "", nil},
	{"GET", "/topics/a?wait=long", "", nil},
	{"GET", "/topics/a?as=nothing", "", nil},
	{"GET", "/topics/a?envelope=maybe", "", nil},
	{"GET", "/topics/a?%zz", "", nil},
	{"GET", "/topics/a", "", []string{"Accept", "image/png"}},       // 406
	{"GET", "/topics/a", "", []string{"Host", "evil.example"}},      // 421
	{"PUT", "/topics/a", "x", nil},                                  // 405
	{"PATCH", "/topics", "x", nil},                                  // 405
	{"QUERY", "/topics/a", "x", nil},                                // 405
	{"POST", "/topics/a*b", "x", nil},                               // 400
	{"POST", "/topics/**", "x", nil},                                // 400
	{"POST", "/topics/$a", "x", nil},                                // 403
	{"POST", "/topics/a?event=$x", "x", nil},                        // 400
	{"POST", "/topics/a", strings.Repeat("x", maxTestEvent+1), nil}, // 413
	{"POST", "/topics/a", "{", []string{"Content-Type", "application/json"}},
	{"POST", "/topics/a", "x", []string{"Content-Encoding", "gzip"}},                      // 415
	{"POST", "/topics/a?batch", "x", []string{"Content-Type", "text/plain"}},              // 415
	{"POST", "/topics/a?batch", "x", []string{"Content-Type", "application/x-ndjson"}},    // 400
	{"POST", "/topics", "topic=a", []string{"Content-Type", "text/plain"}},                // 415
	{"DELETE", "/topics/**", "", nil},                                                     // 400
	{"POST", "/topics/a", "x", []string{"Origin", "https://evil.example"}},                // 403
	{"GET", "/topics/a", "", []string{"Origin", "https://evil.example"}},                  // no CORS
	{"GET", "/topics/a", "", []string{"Origin", "https://evil.example", "Cookie", "a=b"}}, // 403
	{"GET", "/topics/a", "", []string{"Origin", "https://app.example"}},                   // CORS
	{"OPTIONS", "/topics/a", "", []string{"Origin", "https://app.example", "Access-Control-Request-Method", "POST"}},
	{"OPTIONS", "/topics/a", "", []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "POST"}},
	{"POST", "/topics/a", "x", []string{"Sec-Fetch-Site", "cross-site"}}, // 403
}

// These publish and end, for each version other topics.
var writes = []exchange{
	{"POST", "/topics/NEW", "hello", nil},
	{"POST", "/topics/NEW?event=greeting", "hello", []string{"Content-Type", "text/plain"}},
	{"POST", "/topics/NEW", `{"a":1}`, []string{"Content-Type", "application/json"}},
	{"POST", "/topics/NEW", "\xff\x00", nil},
	{"POST", "/topics/NEW", "", nil},
	{"POST", "/topics/NEW", "again", []string{"Idempotency-Key", "key"}},
	{"POST", "/topics/NEW", "again", []string{"Idempotency-Key", "key"}},
	{"POST", "/topics/NEW", "other", []string{"Idempotency-Key", "key"}}, // 422
	{"POST", "/topics/NEW?batch", "{\"data\":1}\n{\"data\":2}\n", []string{"Content-Type", "application/x-ndjson"}},
	{"POST", "/topics/NEW?end", "last", nil},
	{"POST", "/topics/NEW", "later", nil}, // 409
	{"DELETE", "/topics/NEW", "", nil},
	{"DELETE", "/topics/UNKNOWN", "", nil},
}

const maxTestEvent = 1000

func TestSameOnEveryVersion(t *testing.T) {
	_, versions := everyVersion(t, &Config{MaxEventBytes: maxTestEvent, AllowOrigins: []string{"https://app.example"}})
	first := versions[0]
	for _, data := range []string{"one", "two", "three"} {
		first.do(t, "POST", "/topics/live", data)
	}
	first.do(t, "POST", "/topics/ended", "first")
	first.do(t, "POST", "/topics/ended?end", "last")
	first.do(t, "POST", "/topics/a%20b", `{"a":1}`, "Content-Type", "application/json")
	for _, e := range append(reads, writes...) {
		want := first.answer(t, e)
		for _, v := range versions[1:] {
			if got := v.answer(t, e); got != want {
				at := 0 // where they differ
				for at < min(len(got), len(want)) && got[at] == want[at] {
					at++
				}
				at = max(0, at-50)
				t.Errorf("%s %s %.50q %q\n%s: %.200q\n%s: %.200q", e.method, e.path, e.body, e.fields, first.name, want[at:], v.name, got[at:])
			}
		}
	}

	// The server as a whole refuses.
	s, versions := everyVersion(t, &Config{MaxTopics: 1})
	first = versions[0]
	first.do(t, "POST", "/topics/one", "x")
	full := exchange{method: "POST", path: "/topics/two", body: "x"}
	want := first.answer(t, full)
	if !strings.Contains(want, "--max-topics") {
		t.Errorf("%s", want)
	}
	for _, v := range versions {
		if got := v.answer(t, full); got != want {
			t.Errorf("%s: %s, want %s", v.name, got, want)
		}
	}
	s.progress.stop()
	gone := exchange{method: "GET", path: "/topics/one"}
	want = first.answer(t, gone)
	if !strings.Contains(want, "shutting-down") {
		t.Errorf("%s", want)
	}
	for _, v := range versions {
		if got := v.answer(t, gone); got != want {
			t.Errorf("%s: %s, want %s", v.name, got, want)
		}
	}
	s.progress.mu.Lock()
	s.progress.over = nil // so that the server can stop
	s.progress.mu.Unlock()
}

// connectionFields are those that only HTTP/1.1 has (RFC 9113 §8.2.2).
var connectionFields = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"}

// What differs between two moments: ids in answers to writes, the time to come
// back after, and how much is going on.
var momentary = regexp.MustCompile(`"ids?":("[^"]*"|\[[^]]*\])|retry: \d+`)

// rates are those of topics, in a list of them.
var rates = regexp.MustCompile(`"rate":[0-9.]+|<td>[0-9.]+<td><code>`)

// answer is all of an answer that a client can rely on.
func (v version) answer(t *testing.T, e exchange) string {
	t.Helper()
	own := strings.NewReplacer("NEW", "new/"+v.topic(), "UNKNOWN", "unknown/"+v.topic())
	response := v.do(t, e.method, own.Replace(e.path), e.body, e.fields...)
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("%s: %s %s: %v", v.name, e.method, e.path, err)
	}
	for _, name := range connectionFields {
		if response.ProtoMajor > 1 && response.Header[name] != nil {
			t.Errorf("%s: %s %s: %s: %s", v.name, e.method, e.path, name, response.Header[name])
		}
		delete(response.Header, name)
	}
	delete(response.Header, "Date")
	delete(response.Header, "Alt-Svc") // see TestAltSvc
	if response.StatusCode == http.StatusCreated || bytes.Contains(data, []byte(v.base)) || rates.Match(data) {
		delete(response.Header, "Content-Length") // ids grow, and so does a URL with its scheme; rates sink
	}
	var header strings.Builder
	if err := response.Header.Write(&header); err != nil {
		t.Error(err)
	}
	text := fmt.Sprintf("%d\n%s\n%s", response.StatusCode, &header, data)
	if u, err := url.Parse(v.base); err == nil {
		socket := "ws" + strings.TrimPrefix(v.base, "http")
		text = strings.NewReplacer(v.base, "BASE", socket, "SOCKET", u.Host, "HOST").Replace(text)
	}
	return rates.ReplaceAllString(momentary.ReplaceAllString(text, "N"), "RATE")
}

// A WebSocket is the same, however it was opened (PROTOCOL.md §8.1).
func TestWebSocketOnEveryVersion(t *testing.T) {
	s, versions := everyVersion(t, &Config{})
	for _, v := range versions {
		dial := func(path string, options *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
			transport, ok := v.transport.(*http.Transport)
			switch {
			case !ok:
				options.HTTP3 = v.transport
			case transport.Protocols.HTTP1():
				options.TLS = transport.TLSClientConfig
			default:
				options.HTTP2 = transport
			}
			return websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(v.base, "http")+path, options)
		}
		conn, response, err := dial("/topics/"+v.topic(), &websocket.DialOptions{})
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		want := http.StatusSwitchingProtocols
		if response.ProtoMajor > 1 {
			want = http.StatusOK
		}
		if response.StatusCode != want || !strings.HasPrefix(response.Proto, v.name[:len("HTTP/x")]) {
			t.Errorf("%s: %s over %s", v.name, response.Status, response.Proto)
		}
		if err := conn.Write(t.Context(), websocket.Text, []byte("grüße")); err != nil {
			t.Error(err)
		}
		if kind, data, err := conn.Read(t.Context()); err != nil || kind != websocket.Text || string(data) != "grüße" {
			t.Errorf("%s: %v %q, %v", v.name, kind, data, err)
		}
		if err := conn.Close(websocket.CloseNormal, ""); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
		if conn, _, err := dial("/topics", &websocket.DialOptions{Subprotocols: []string{"duplex.v1"}}); err != nil {
			t.Errorf("%s: %v", v.name, err)
		} else {
			if _, data, err := conn.Read(t.Context()); err != nil || !bytes.Contains(data, []byte("$ping")) {
				t.Errorf("%s: %q, %v", v.name, data, err)
			}
			conn.CloseNow()
		}
		for _, refused := range []struct {
			path, origin string
			status       int
		}{
			{"/topics", "", 400},
			{"/topics/a*b", "", 400},
			{"/topics/a", "https://evil.example", 403},
			{"/nothing", "", 404},
		} {
			options := &websocket.DialOptions{Header: http.Header{}}
			if refused.origin != "" {
				options.Header.Set("Origin", refused.origin)
			}
			if _, response, err := dial(refused.path, options); err == nil || response == nil || response.StatusCode != refused.status {
				t.Errorf("%s: %s from %q: %v, %v", v.name, refused.path, refused.origin, response, err)
			}
		}
	}
	eventually(t, "they are over", func() bool {
		for _, v := range versions {
			v.transport.(interface{ CloseIdleConnections() }).CloseIdleConnections()
		}
		return s.view.Taken() == 0 && s.connections.count() == 0
	})
}

// RFC 9220: the same handshake over HTTP/3, in frames written by hand.
func TestWebSocketOverHTTP3(t *testing.T) {
	s, versions := everyVersion(t, &Config{})
	v := versions[versionCount-1]
	dial := func(path string, fields ...string) (*http3.RequestStream, *http.Response) {
		t.Helper()
		conn, err := quic.DialAddr(t.Context(), strings.TrimPrefix(v.base, "https://"), http3.ConfigureTLSConfig(trusting(t, s)), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.CloseWithError(0, "") })
		client := new(http3.Transport).NewClientConn(conn)
		<-client.ReceivedSettings()
		if !client.Settings().EnableExtendedConnect {
			t.Error("extended CONNECT is not offered")
		}
		stream, err := client.OpenRequestStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, v.base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Proto = "websocket"
		r.Header.Set("Sec-WebSocket-Version", "13")
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		if err := stream.SendRequestHeader(r); err != nil {
			t.Fatal(err)
		}
		response, err := stream.ReadResponse()
		if err != nil {
			t.Fatal(err)
		}
		return stream, response
	}
	say := func(stream *http3.RequestStream, opcode byte, payload string) {
		t.Helper()
		// RFC 6455 §5.2: FIN and opcode, MASK and length, a masking key of zeros.
		frame := append([]byte{0x80 | opcode, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
		if _, err := stream.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(stream *http3.RequestStream, want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(stream, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	stream, response := dial("/topics/a")
	if response.StatusCode != 200 {
		t.Fatal(response.Status)
	}
	hear(stream, "\x89\x00") // the first heartbeat
	say(stream, 1, "hello")
	hear(stream, "\x81\x05hello")
	say(stream, 9, "?")
	hear(stream, "\x8a\x01?")
	say(stream, 8, "\x03\xe8")
	hear(stream, "\x88\x02\x03\xe8")
	if rest, err := io.ReadAll(stream); err != nil || len(rest) > 0 {
		t.Errorf("after the close: %q, %v", rest, err)
	}
	eventually(t, "it is over", func() bool { return s.view.Taken() == 0 })

	lost, response := dial("/topics/a")
	if response.StatusCode != 200 {
		t.Fatal(response.Status)
	}
	eventually(t, "it is there", func() bool { return s.hub.Stats().Subscribers == 1 })
	lost.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	lost.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	eventually(t, "a reset ends it", func() bool { return s.hub.Stats().Subscribers == 0 && s.view.Taken() == 0 })

	for _, refused := range []struct {
		path   string
		fields []string
		status int
	}{
		{"/topics", nil, 400},
		{"/topics/a", []string{"Sec-WebSocket-Version", "8"}, 400},
		{"/topics/a", []string{"Origin", "https://evil.example"}, 403},
		{"/nothing", nil, 404},
	} {
		if _, response := dial(refused.path, refused.fields...); response.StatusCode != refused.status {
			t.Errorf("%s %q: %s", refused.path, refused.fields, response.Status)
		}
	}
}

// HTTP/3 is advertised where it is served, and only there (RFC 7838).
func TestAltSvc(t *testing.T) {
	s, versions := everyVersion(t, &Config{})
	_, port, err := net.SplitHostPort(s.Addrs()[1].String())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		want := ""
		if strings.HasPrefix(v.base, "https") && v.name != "HTTP/3" {
			want = `h3=":` + port + `"; ma=3600`
		}
		for _, path := range []string{"/healthz", "/topics/a", "/nothing"} {
			if got := v.do(t, "GET", path, "").Header.Get("Alt-Svc"); got != want {
				t.Errorf("%s: %s: %q, want %q", v.name, path, got, want)
			}
		}
	}
	off := start(t, &Config{Listen: []string{"127.0.0.1:0"}, TLSDevDir: t.TempDir() + "/ca"})
	v := version{"HTTP/2", "https://" + off.Addrs()[0].String(), speaking(t, off, (*http.Protocols).SetHTTP2)}
	if got := v.do(t, "GET", "/healthz", "").Header.Get("Alt-Svc"); got != "" {
		t.Errorf("without HTTP/3: %q", got)
	}
	if _, err := New(t.Context(), &Config{HTTP3: true}); err == nil {
		t.Error("HTTP/3 without a certificate: accepted")
	}
}

// A subscriber is in its handler where the poller cannot have its connection.
func TestSubscribersOnEveryVersion(t *testing.T) {
	s, versions := everyVersion(t, &Config{})
	for _, v := range versions {
		topic := "/topics/" + v.topic()
		ctx, leave := context.WithCancel(t.Context())
		var streams []*http.Response
		for _, as := range []string{"sse", "stream", "multipart", "iframe"} {
			response := v.doUntil(t, ctx, "GET", topic+"?as="+as, "")
			wantPart(t, response.Body, "$ping")
			streams = append(streams, response)
		}
		held := make(chan string)
		go func() { // Ends with the answer. Joined below.
			response := v.do(t, "GET", topic+"?wait=50", "")
			page, err := io.ReadAll(response.Body)
			held <- fmt.Sprint(string(page), err)
		}()
		eventually(t, "all are there", func() bool { return s.hub.Stats().Subscribers == len(streams)+1 })
		v.do(t, "POST", topic, "hello")
		if page := <-held; !strings.Contains(page, `"data":"hello"`) || !strings.Contains(page, "<nil>") {
			t.Errorf("%s: %s", v.name, page)
		}
		for _, response := range streams {
			wantPart(t, response.Body, "hello")
		}
		leave()
		eventually(t, "all have left", func() bool { return s.hub.Stats().Subscribers == 0 })
	}
}

// A poll is held for longer than net/http keeps one that can leave it.
func TestHeldOnEveryVersion(t *testing.T) {
	s, versions := everyVersion(t, &Config{})
	var holding sync.WaitGroup
	for _, v := range versions {
		holding.Go(func() {
			response := v.do(t, "GET", "/topics/a?wait=2", "")
			if page, err := io.ReadAll(response.Body); err != nil || response.StatusCode != 200 || !bytes.Contains(page, []byte(`"events":[],"cursor":"`)) {
				t.Errorf("%s: %s %s, %v", v.name, response.Status, page, err)
			}
		})
	}
	holding.Wait()
	eventually(t, "all have left", func() bool { return s.hub.Stats().Subscribers == 0 })
}

// wantPart reads from a body that goes on, until it has a text.
func wantPart(t *testing.T, body io.Reader, part string) {
	t.Helper()
	var got []byte
	buf := make([]byte, 4<<10)
	for !bytes.Contains(got, []byte(part)) {
		n, err := body.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			t.Fatalf("%q, %v, want %q", got, err, part)
		}
	}
}

// PROTOCOL.md §11: --max-connections counts connections, not requests, and
// what is refused is said in every version.
func TestMaxConnectionsOnEveryVersion(t *testing.T) {
	s, versions := everyVersion(t, &Config{MaxConnections: 1})
	for _, v := range versions {
		ctx, leave := context.WithCancel(t.Context())
		stream := v.doUntil(t, ctx, "GET", "/topics/a?as=sse", "")
		wantPart(t, stream.Body, "$ping")
		if stream.ProtoMajor > 1 { // more requests on the same connection
			if r := v.do(t, "GET", "/healthz", ""); r.StatusCode != 200 {
				t.Errorf("%s: %s", v.name, r.Status)
			}
		}
		other := v
		if transport, ok := v.transport.(*http.Transport); ok {
			other.transport = transport.Clone()
		} else {
			other.transport = speakingHTTP3(t, s)
		}
		refused := other.do(t, "GET", "/healthz", "")
		if text, _ := io.ReadAll(refused.Body); refused.StatusCode != 503 || !strings.Contains(string(text), "--max-connections") {
			t.Errorf("%s: %s %s", v.name, refused.Status, text)
		}
		leave()
		eventually(t, "the connection is over", func() bool {
			v.transport.(interface{ CloseIdleConnections() }).CloseIdleConnections()
			return s.connections.count() == 0
		})
	}
}

// PROTOCOL.md §12, where the answers are those of several requests on one
// connection.
func TestShutdownOnEveryVersion(t *testing.T) {
	for i := range versionCount {
		s, versions := everyVersion(t, &Config{})
		v := versions[i]
		stream := v.do(t, "GET", "/topics/a?as=sse", "")
		wantPart(t, stream.Body, "$ping")
		lines := v.do(t, "GET", "/topics/a?as=stream", "")
		wantPart(t, lines.Body, "$ping")
		held := make(chan *http.Response)
		go func() { held <- v.do(t, "GET", "/topics/a?wait=50", "") }() // Ends with the answer. Joined below.
		eventually(t, "all are there", func() bool { return s.hub.Stats().Subscribers == 3 })
		stopped := make(chan error)
		go func() { stopped <- s.Shutdown(t.Context()) }() // Joined below.
		if rest, err := io.ReadAll(stream.Body); err != nil || !bytes.HasPrefix(rest, []byte("retry: ")) {
			t.Errorf("%s: %q, %v", v.name, rest, err)
		}
		if rest, err := io.ReadAll(lines.Body); err != nil || len(rest) > 0 {
			t.Errorf("%s: %q, %v", v.name, rest, err)
		}
		answer := <-held
		if page, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != 200 || !bytes.Contains(page, []byte(`"events":[],"cursor":"`)) {
			t.Errorf("%s: %s %s, %v", v.name, answer.Status, page, err)
		}
		if err := <-stopped; err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
		eventually(t, "no connection is counted", func() bool { return s.connections.count() == 0 })
	}
}

// HTTP/2 without TLS is for who asks for it.
func TestNoH2CUnlessAllowed(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}})
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.Addrs()[0].String()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := transport.RoundTrip(r); err == nil {
		response.Body.Close()
		t.Errorf("answered %s over %s", response.Status, response.Proto)
	}
	if got := s.Endpoints()[0]; got.Secure || !slices.Equal(got.Versions, []string{"HTTP/1.1"}) {
		t.Errorf("%+v", got)
	}
}

// Listeners that somebody else has opened.
func TestGivenListeners(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, &Config{Listeners: []net.Listener{l}})
	if got := s.Addrs(); len(got) != 1 || got[0].String() != l.Addr().String() {
		t.Errorf("listens on %v", got)
	}
	p := connect(t, new(net.Dialer).DialContext, s.Addrs()[0].String())
	p.say("GET /healthz HTTP/1.1\n" + host + "\n")
	p.wantAnswer(200)

	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	idle, err := New(t.Context(), &Config{Listeners: []net.Listener{unused}})
	if err != nil {
		t.Fatal(err)
	}
	if err := idle.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := unused.Accept(); err == nil {
		t.Error("it was left open")
	}
}
