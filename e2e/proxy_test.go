//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// Duplex works behind the proxies that people have, with the configurations in
// testdata: all transports, both ways, and nothing is held back.
func TestProxies(t *testing.T) {
	eachProxy(t, func(t *testing.T, kind proxyKind) {
		s := serve(t)
		p := kind.behind(t, s)
		through := &server{process: p.process, url: p.url, addr: p.addr}
		t.Run("publish", func(t *testing.T) { checkPublish(t, through) })
		t.Run("poll", func(t *testing.T) { checkPoll(t, through) })
		t.Run("longpoll", func(t *testing.T) { checkLongPoll(t, through) })
		t.Run("streams", func(t *testing.T) { checkStreams(t, through) })
		t.Run("raw WebSocket", func(t *testing.T) { checkRaw(t, through) })
		t.Run("duplex.v1", func(t *testing.T) { checkMany(t, through) })
		t.Run("shutdown", func(t *testing.T) { checkProxiedShutdown(t, s, through) })
	})
}

// HTTP/2 in front, HTTP/1.1 behind: streams, held polls and publishes share one
// connection to the proxy, and none is held back.
func TestProxiesOverHTTP2(t *testing.T) {
	eachProxy(t, func(t *testing.T, kind proxyKind) {
		s := serve(t)
		p := kind.behindTLS(t, s)
		streams := cmp.Or(kind.streams, 20)
		s.publish(t, "many", "", "text/plain", "before")
		var open []*follower
		for i := range streams {
			open = append(open, openStreamBy(t, p.client, topicURL(p.url, "many"), []string{"text/event-stream", "application/x-ndjson"}[i%2]))
		}
		for i := range 5 {
			published := time.Now()
			response, err := p.client.Post(topicURL(p.url, "many"), "text/plain", strings.NewReader(fmt.Sprint("event ", i)))
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusCreated || response.ProtoMajor != 2 {
				t.Fatalf("%s %s", response.Proto, response.Status)
			}
			for n, f := range open {
				if data, err := f.event(); data != fmt.Sprint("event ", i) || err != nil {
					t.Fatalf("stream %d: %q, %v", n, data, err)
				}
			}
			t.Logf("%d streams have it after %v", streams, time.Since(published))
		}
		response, err := p.client.Get(topicURL(p.url, "many") + "?wait=1")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if body, err := io.ReadAll(response.Body); err != nil || response.Header.Get("Preference-Applied") != "wait=1" || !strings.Contains(string(body), `"events":[]`) {
			t.Errorf("longpoll: %v %s %v", response.Header, body, err)
		}
		// Over HTTP/1.1, which browsers use for WebSocket where HTTP/2 has none.
		conn, _, err := websocket.Dial(t.Context(), "wss://"+p.addr+"/topics/raw", &websocket.DialOptions{TLS: &tls.Config{InsecureSkipVerify: true}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if err := conn.Write(t.Context(), websocket.Text, []byte("up")); err != nil {
			t.Fatal(err)
		}
		expect(t, conn, "up")
		if n := connections(t, p.addr); n > 2 {
			t.Errorf("%d connections to the proxy", n)
		}
	})
}

// A proxy that speaks HTTP/1.0 to Duplex, as nginx does unless told otherwise,
// has all but WebSocket, which it is told.
func TestProxiesOfHTTP10(t *testing.T) {
	eachProxy(t, func(t *testing.T, kind proxyKind) {
		if kind.http10 == nil {
			t.Skip(kind.name + " never speaks HTTP/1.0")
		}
		s := serve(t)
		p := kind.behind(t, s, kind.http10...)
		through := &server{process: p.process, url: p.url, addr: p.addr}
		checkPublish(t, through)
		checkPoll(t, through)
		checkLongPoll(t, through)
		checkStreams(t, through)
		c := dialRaw(t, p.addr)
		c.send(upgrade(p.addr))
		if response, body := c.answer(); response.StatusCode != http.StatusBadRequest || !strings.Contains(body, "WebSocket needs HTTP/1.1") {
			t.Errorf("a handshake: %s %s", response.Status, body)
		}
	})
}

// HAProxy tells who asks by the PROXY protocol, and may speak HTTP/2 to Duplex:
// then all that clients do shares few connections, WebSockets too.
func TestHAProxyOptions(t *testing.T) {
	kind := proxyKinds[slices.IndexFunc(proxyKinds, func(k proxyKind) bool { return k.name == "HAProxy" })]
	s := serve(t, "--h2c", "--trust-proxy", "127.0.0.1/32", "--log-level", "debug")
	line := "server duplex 127.0.0.1:8080"
	p := kind.behind(t, s, line, line+" proto h2 send-proxy-v2")
	through := &server{process: p.process, url: p.url, addr: p.addr}
	for name, check := range map[string]func(*testing.T, *server){
		"publish": checkPublish, "poll": checkPoll, "longpoll": checkLongPoll, "streams": checkStreams, "raw WebSocket": checkRaw, "duplex.v1": checkMany,
	} {
		t.Run(name, func(t *testing.T) { check(t, through) })
	}
	client := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}).DialContext}, Timeout: patience}
	defer client.CloseIdleConnections()
	response, err := client.Get(topicURL(p.url, "who"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	until(t, "the log of who asked", func() bool {
		for line := range strings.Lines(s.stderr.String()) {
			if strings.Contains(line, "path=/topics/who ") {
				return strings.Contains(line, "version=HTTP/2 ") && strings.Contains(line, "remote=127.0.0.9:")
			}
		}
		return false
	})
}

// oddTopic is easy to spoil on the way (PROTOCOL.md §2.4).
const oddTopic = "räume/a b;c+d%2e"

func checkPublish(t *testing.T, s *server) {
	var ids [2]string
	for i := range ids {
		response, body := do(t, "POST", s.topic(oddTopic), "once", "Content-Type", "text/plain", "Idempotency-Key", `"key"`)
		if response.StatusCode != http.StatusCreated {
			t.Fatalf("%s %s", response.Status, body)
		}
		var answer struct{ ID string }
		decode(t, body, &answer)
		ids[i] = answer.ID
	}
	p := s.page(t, oddTopic, "")
	if ids[0] != ids[1] || len(p.Events) != 1 || p.Events[0].ID != ids[0] || p.Events[0].Topic != oddTopic {
		t.Errorf("the same key gave %v, and the topic has %v", ids, p.Events)
	}
	// "The server never redirects to a cleaned path" (§2.4), and a proxy must not clean it, either.
	for _, path := range []string{"/topics/a//b", "/topics/a/%2e/b"} {
		if response, body := do(t, "POST", s.url+path, "x"); response.StatusCode != http.StatusBadRequest || !strings.Contains(body, "bad-topic") {
			t.Errorf("%s: %s %s", path, response.Status, body)
		}
	}
	// More than proxies like by default, and within --max-body-bytes.
	batch := strings.Repeat(`{"data":"`+strings.Repeat("x", 1_000_000)+"\"}\n", 15)
	response, body := do(t, "POST", s.topic("large")+"?batch", batch, "Content-Type", "application/x-ndjson")
	if response.StatusCode != http.StatusCreated || strings.Count(body, "-") != 15 {
		t.Errorf("a batch of %d bytes: %s %s", len(batch), response.Status, body)
	}
}

func checkPoll(t *testing.T, s *server) {
	first := s.publish(t, "poll", "", "text/plain", "one")
	response, body := do(t, "GET", s.topic("poll"), "")
	tag := response.Header.Get("ETag")
	if response.StatusCode != http.StatusOK || tag != `"`+first+`"` || !strings.Contains(response.Header.Get("Link"), `rel="next"`) ||
		!strings.Contains(response.Header.Get("Vary"), "Last-Event-ID") || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %v %s", response.Status, response.Header, body)
	}
	if response, body = do(t, "GET", s.topic("poll"), "", "If-None-Match", tag); response.StatusCode != http.StatusNotModified || response.Header.Get("ETag") != tag {
		t.Errorf("If-None-Match: %s %v %s", response.Status, response.Header, body)
	}
	s.publish(t, "poll", "", "text/plain", "two")
	var p page
	_, body = do(t, "GET", s.topic("poll"), "", "If-None-Match", tag, "Last-Event-ID", first)
	decode(t, body, &p)
	if len(p.Events) != 1 || p.Events[0].text() != "two" {
		t.Errorf("Last-Event-ID %s: %s", first, body)
	}
	if response, body = do(t, "DELETE", s.topic("poll"), ""); response.StatusCode != http.StatusNoContent {
		t.Errorf("DELETE: %s %s", response.Status, body)
	}
	// The problem is Duplex's, not a page of the proxy.
	if response, body = do(t, "POST", s.topic("poll"), "x"); response.StatusCode != http.StatusConflict || !strings.Contains(body, "urn:duplex:problem:topic-ended") {
		t.Errorf("a publish to an ended topic: %s %s", response.Status, body)
	}
}

func checkLongPoll(t *testing.T, s *server) {
	after := s.publish(t, "held", "", "text/plain", "one")
	response, body := do(t, "GET", s.topic("held")+"?after="+after, "", "Prefer", "wait=1")
	var p page
	decode(t, body, &p)
	if response.StatusCode != http.StatusOK || response.Header.Get("Preference-Applied") != "wait=1" || len(p.Events) != 0 || p.Cursor == "" {
		t.Errorf("when the time is over: %s %v %s", response.Status, response.Header, body)
	}
	// Ends with the answer. Joined below.
	var held sync.WaitGroup
	held.Go(func() {
		request, err := http.NewRequestWithContext(t.Context(), "GET", s.topic("held")+"?after="+p.Cursor+"&wait=25", nil)
		if err != nil {
			t.Error(err)
			return
		}
		response, err := direct.Do(request)
		if err != nil {
			t.Error(err)
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), `"two"`) {
			t.Errorf("held: %s %s %v", response.Status, body, err)
		}
	})
	until(t, "a held poll", func() bool { return s.subscribers(t, "held") == 1 })
	s.publish(t, "held", "", "text/plain", "two")
	held.Wait()
}

// Streams pass without being asked to: "X-Accel-Buffering: no, so that proxies
// neither hold nor change them" (PROTOCOL.md §5.8).
func checkStreams(t *testing.T, s *server) {
	for _, media := range []string{"text/event-stream", "application/x-ndjson"} {
		topic := "stream/" + media[len(media)-6:]
		before := s.publish(t, topic, "", "text/plain", "before")
		s.publish(t, topic, "", "text/plain", "missed")
		in := openStream(t, s.topic(topic), media, "Last-Event-ID", before)
		if data, err := in.event(); data != "missed" || err != nil {
			t.Fatalf("%s: after Last-Event-ID came %q, %v", media, data, err)
		}
		// A proxy that fills its buffers holds each event until the next heartbeat or
		// longer, one that fills packets for 200 ms. A busy machine does so with some.
		n := 0
		until(t, media+": an event that is not held back", func() bool {
			published := time.Now()
			s.publish(t, topic, "", "text/plain", fmt.Sprint(n))
			if data, err := in.event(); data != fmt.Sprint(n) || err != nil {
				t.Fatalf("%s: %q, %v, not event %d", media, data, err, n)
			}
			n++
			return n > 4 && time.Since(published) < 150*time.Millisecond // the first ones may fill a packet with what came before
		})
		s.end(t, topic)
		end, err := in.next()
		if end.event != "$end" || err != nil {
			t.Errorf("%s: %v, %v, not $end", media, end, err)
		}
		if _, err := in.next(); err != io.EOF {
			t.Errorf("%s: after $end: %v, not the end", media, err)
		}
		response, body := do(t, "GET", s.topic(topic), "", "Accept", media, "Last-Event-ID", end.id)
		if response.StatusCode != http.StatusNoContent {
			t.Errorf("%s: after the end: %s %s, not 204", media, response.Status, body)
		}
	}
}

func checkRaw(t *testing.T, s *server) {
	conn := dialWebSocket(t, s.addr, "/topics/raw", "")
	if err := conn.Write(t.Context(), websocket.Text, []byte("up")); err != nil {
		t.Fatal(err)
	}
	expect(t, conn, "up")
	s.publish(t, "raw", "", "text/plain", "down")
	expect(t, conn, "down")
	if p := s.page(t, "raw", ""); len(p.Events) != 2 {
		t.Errorf("published: %v", p.Events)
	}
	large := strings.Repeat("y", 1<<20)
	if err := conn.Write(t.Context(), websocket.Text, []byte(large)); err != nil {
		t.Fatal(err)
	}
	expect(t, conn, large)

	leaving := dialWebSocket(t, s.addr, "/topics/raw", "")
	if err := leaving.Close(4000, "bye"); err != nil {
		t.Errorf("a client that closes: %v", err)
	}
	s.end(t, "raw")
	expectClose(t, conn, websocket.CloseNormal, "end")
	oldest := s.publish(t, "lossy", "", "text/plain", "oldest")
	expectClose(t, dialWebSocket(t, s.addr, "/topics/lossy?after=lost", ""), 4410, oldest)
}

func checkMany(t *testing.T, s *server) {
	conn := dialWebSocket(t, s.addr, "/topics", "duplex.v1")
	await := func(wanted ...string) {
		t.Helper()
		seen := ""
		for _, part := range wanted { // in any order: an event may come before its ok
			for !strings.Contains(seen, part) {
				seen += receive(t, conn)
			}
		}
	}
	send := func(op string) {
		t.Helper()
		if err := conn.Write(t.Context(), websocket.Text, []byte(op)); err != nil {
			t.Fatal(err)
		}
	}
	send(`{"op":"subscribe","topic":"many/*","ref":1}`)
	await(`{"op":"ok","ref":1,`)
	send(`{"op":"publish","topic":"many/a","data":"up","ref":2}`)
	await(`{"op":"ok","ref":2,`, `"up"`)
	s.publish(t, "many/b", "", "text/plain", "down")
	await(`"down"`)
	s.end(t, "many/a")
	await(`"$end"`)
	if err := conn.Close(websocket.CloseNormal, ""); err != nil {
		t.Errorf("a client that closes: %v", err)
	}
}

// What a server says when it stops arrives (PROTOCOL.md §12).
func checkProxiedShutdown(t *testing.T, s, through *server) {
	raw := dialWebSocket(t, through.addr, "/topics/last", "")
	sse := openStream(t, through.topic("last"), "text/event-stream")
	s.terminate(t)
	expectClose(t, raw, websocket.CloseGoingAway, "shutting-down")
	if rest, err := io.ReadAll(sse.in); err != nil || !strings.HasPrefix(string(rest), "retry: ") {
		t.Errorf("sse ends with %q, %v", rest, err)
	}
}

func dialWebSocket(t testing.TB, addr, path, protocol string) *websocket.Conn {
	t.Helper()
	var options websocket.DialOptions
	if protocol != "" {
		options.Subprotocols = []string{protocol}
	}
	conn, _, err := websocket.Dial(t.Context(), "ws://"+addr+path, &options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.CloseNow)
	conn.SetReadLimit(4 << 20)
	if conn.Subprotocol() != protocol {
		t.Errorf("protocol %q, not %q", conn.Subprotocol(), protocol)
	}
	return conn
}

// receive returns the next message.
func receive(t testing.TB, conn *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, data, err := conn.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func expect(t testing.TB, conn *websocket.Conn, want string) {
	t.Helper()
	if got := receive(t, conn); got != want {
		t.Errorf("received %.100q, not %.100q", got, want)
	}
}

func expectClose(t testing.TB, conn *websocket.Conn, code websocket.CloseCode, reason string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, data, err := conn.Read(ctx)
	closed, ok := errors.AsType[*websocket.CloseError](err)
	if !ok || !closed.Remote || closed.Code != code || closed.Reason != reason {
		t.Errorf("%q, %v, not a close with %d %q", data, err, code, reason)
	}
}

// "A client may lose its connection" (PROTOCOL.md §1.1): a proxy that dies and
// comes back costs no event on any transport.
func TestProxyRestart(t *testing.T) {
	eachProxy(t, func(t *testing.T, kind proxyKind) {
		s := serve(t)
		p := kind.behind(t, s)
		s.publish(t, "log", "", "text/plain", "before")
		subs := make(map[string]*process)
		for _, as := range []string{"websocket", "sse", "stream", "longpoll"} {
			sub := start(t, command(program, "sub", "log", "--as", as, "--json", "--server", p.url))
			until(t, as, func() bool { return strings.Contains(sub.stderr.String(), "subscribed") })
			subs[as] = sub
		}
		var want []record
		publish := func() {
			for range 50 {
				data := fmt.Sprint("event ", len(want))
				want = append(want, record{s.publish(t, "log", "", "text/plain", data), data})
			}
		}
		publish()
		p.kill(t)
		publish()
		p.launch(t)
		publish()
		for as, sub := range subs {
			eventually(func() bool { return len(recordsOf(t, sub.stdout.lines())) >= len(want) }) // judged below
			checkRecords(t, as, recordsOf(t, sub.stdout.lines()), want)
		}
	})
}

// Heartbeats keep alive what a proxy would give up: it does so after 8 s
// without a byte, and they come every second, or every 25 s, which is too seldom.
func TestProxyIdleLimit(t *testing.T) {
	eachProxy(t, func(t *testing.T, kind proxyKind) {
		seldom := kind.behind(t, serve(t), kind.hasty...)
		lost := openStream(t, topicURL(seldom.url, "quiet"), "text/event-stream")
		lostConn := dialWebSocket(t, seldom.addr, "/topics/quiet", "")

		s := serve(t, "--ping", "1s")
		p := kind.behind(t, s, kind.hasty...)
		topic := topicURL(p.url, "quiet")
		sse := openStream(t, topic, "text/event-stream")
		stream := openStream(t, topic, "application/x-ndjson")
		var sockets sync.WaitGroup
		for _, protocol := range []string{"", "duplex.v1"} {
			conn := dialWebSocket(t, p.addr, "/topics/quiet", protocol)
			// Ends with the event or the connection, and answers pings. Joined below.
			sockets.Go(func() {
				for {
					_, data, err := conn.Read(t.Context())
					if err != nil {
						t.Errorf("WebSocket %q: %v", protocol, err)
						return
					}
					if strings.Contains(string(data), "still there") {
						return
					}
				}
			})
		}

		for range 10 {
			if m, err := sse.next(); m.event != "$ping" || err != nil {
				t.Fatalf("%v, %v, not a heartbeat", m, err)
			}
		}
		s.publish(t, "quiet", "", "text/plain", "still there")
		for _, f := range []*follower{sse, stream} {
			if data, err := f.event(); data != "still there" || err != nil {
				t.Errorf("%s: %q, %v", f.media, data, err)
			}
		}
		sockets.Wait()

		// The test means something: without heartbeats, the proxy does give up.
		if m, err := lost.next(); err == nil {
			t.Errorf("the proxy waited for %v", m)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, _, err := lostConn.Read(ctx)
		if _, closed := errors.AsType[*websocket.CloseError](err); err == nil || closed || ctx.Err() != nil {
			t.Errorf("the proxy waited: %v", err)
		}
	})
}

// Who is asked for, and from where, decides (PROTOCOL.md §10.1, §10.3): a page
// of the proxy's own origin needs --allow-host if the proxy keeps Host;
// --allow-origin does in any case.
func TestProxyHostAndOrigin(t *testing.T) {
	const (
		name = "events.example.com"
		host = name + ":8443"
	)
	eachProxy(t, func(t *testing.T, kind proxyKind) {
		for _, test := range []struct {
			name     string
			flag     string
			hostLost bool // the proxy asks for its own idea of Host
			origin   string
			refused  int // 0: it is not
		}{
			{"no flag", "", false, "http://" + host, 421},
			{"own page", "--allow-host=" + name, false, "http://" + host, 0},
			{"own page, TLS ends at the proxy", "--allow-host=" + name, false, "https://" + host, 0},
			{"own page, allowed", "--allow-origin=https://" + host, false, "https://" + host, 0},
			{"foreign page", "--allow-host=" + name, false, "https://evil.example.com", 403},
			{"own page, Host lost", "--allow-host=" + name, true, "https://" + host, 403},
			{"own page, Host lost, allowed", "--allow-origin=https://" + host, true, "https://" + host, 0},
		} {
			var flags, replace []string
			if test.flag != "" {
				flags = []string{test.flag}
			}
			if test.hostLost {
				if replace = kind.ownHost; replace == nil {
					continue
				}
			}
			p := kind.behind(t, serve(t, flags...), replace...)
			for _, request := range []struct {
				method, header string
				status         int
			}{
				{"POST", "Content-Length: 2\r\n\r\nhi", http.StatusCreated},
				{"GET", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
					"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", http.StatusSwitchingProtocols},
			} {
				c := dialRaw(t, p.addr)
				c.send(request.method + " /topics/a HTTP/1.1\r\nHost: " + host + "\r\nOrigin: " + test.origin + "\r\n" + request.header)
				want := cmp.Or(test.refused, request.status)
				if response, body := c.answer(); response.StatusCode != want {
					t.Errorf("%s: %s: %s %s, not %d", test.name, request.method, response.Status, body, want)
				}
			}
		}
	})
}

// A proxy that keeps Upgrade to itself: WebSocket is refused in clear words,
// and the other transports work.
func TestProxyWithoutUpgrade(t *testing.T) {
	eachProxy(t, func(t *testing.T, kind proxyKind) {
		s := serve(t)
		p := kind.behind(t, s, kind.deaf...)
		c := dialRaw(t, p.addr)
		c.send(upgrade(p.addr))
		response, body := c.answer()
		if response.StatusCode != http.StatusBadRequest || !strings.Contains(body, "urn:duplex:problem:bad-handshake") || !strings.Contains(body, "Upgrade") {
			t.Errorf("a handshake: %s %s", response.Status, body)
		}
		response, body = do(t, "GET", topicURL(p.url, "a")+"?as=websocket", "")
		if response.StatusCode != http.StatusUpgradeRequired || !strings.Contains(body, "urn:duplex:problem:upgrade-required") {
			t.Errorf("as=websocket: %s %s", response.Status, body)
		}
		sse := openStream(t, topicURL(p.url, "a"), "text/event-stream")
		s.publish(t, "a", "", "text/plain", "hello")
		if data, err := sse.event(); data != "hello" || err != nil {
			t.Errorf("sse: %q, %v", data, err)
		}
	})
}
