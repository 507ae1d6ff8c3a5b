package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/websocket"
)

// These are connections that were taken from net/http and come back to it.

func (s *Server) dial(t *testing.T) *peer {
	t.Helper()
	p := connect(t, new(net.Dialer).DialContext, s.Addrs()[0].String())
	if err := p.SetDeadline(time.Now().Add(time.Minute)); err != nil { // so that a fault fails instead of hanging
		t.Fatal(err)
	}
	return p
}

// ask sends a request of one line.
func (p *peer) ask(line string, fields ...string) {
	p.t.Helper()
	p.say(line + " HTTP/1.1\n" + host + strings.Join(append(fields, "\n"), "\n"))
}

// publish publishes over a connection of its own.
func (s *Server) publish(t *testing.T, path, data string) {
	t.Helper()
	p := s.dial(t)
	p.say(fmt.Sprintf("POST %s HTTP/1.1\n%sContent-Length: %d\n\n%s", path, host, len(data), data))
	p.wantAnswer(201)
	p.Close()
}

// wantLine reads a line of an answer that goes on.
func wantLine(t *testing.T, r *bufio.Reader, part string) {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil || !strings.Contains(line, part) {
		t.Fatalf("got %q, %v, want %q", line, err, part)
	}
}

// wantConnections waits until so many are counted.
func (s *Server) wantConnections(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprint(n, " connections"), func() bool { return s.connections.count() == n })
}

// A stream's connection serves other requests before and after it.
func TestStreamGivesItsConnectionBack(t *testing.T) {
	for _, as := range []string{"sse", "stream", "multipart", "iframe"} {
		s := start(t, &Config{Listen: []string{"127.0.0.1:0"}})
		p := s.dial(t)
		for round := range 3 {
			p.ask("GET /healthz")
			p.wantAnswer(200)
			topic := fmt.Sprint("/topics/", round)
			p.ask("GET " + topic + "?envelope&as=" + as)
			resp := p.answer()
			body := bufio.NewReader(resp.Body)
			if resp.StatusCode != 200 || resp.ContentLength != -1 || len(resp.TransferEncoding) != 1 {
				t.Errorf("%s: %+v", as, resp)
			}
			for range 20 {
				s.publish(t, topic, "hello")
			}
			s.publish(t, topic+"?end", "the last")
			rest, err := io.ReadAll(body)
			if n := strings.Count(string(rest), `"data":"hello"`); n != 20 || err != nil || !strings.Contains(string(rest), "$ping") || !strings.Contains(string(rest), "$end") {
				t.Errorf("%s: %d events, %v in %s", as, n, err, rest)
			}
			s.wantConnections(t, 1)
		}
		p.Close()
		s.wantConnections(t, 0)
	}
}

// An answer in HTTP/1.0 ends with its connection (PROTOCOL.md §5.16).
func TestStreamOfHTTP10(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}})
	p := s.dial(t)
	p.say("GET /topics/a?as=stream HTTP/1.0\n" + host + "\n")
	resp := p.answer()
	body := bufio.NewReader(resp.Body)
	wantLine(t, body, "$ping")
	if len(resp.TransferEncoding) > 0 || !resp.Close {
		t.Errorf("%+v", resp)
	}
	s.publish(t, "/topics/a?end", "x")
	wantLine(t, body, `"data":"x"`)
	wantLine(t, body, "$end")
	if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
	p.Close()
	s.wantConnections(t, 0)
}

// A request that comes while a stream lasts is answered after it. But nobody
// keeps much for that.
func TestStreamWhoseClientTalks(t *testing.T) {
	for _, much := range []bool{false, true} {
		s := start(t, &Config{Listen: []string{"127.0.0.1:0"}})
		p := s.dial(t)
		p.ask("GET /topics/a?as=stream")
		body := bufio.NewReader(p.answer().Body)
		wantLine(t, body, "$ping")
		if p.ask("GET /healthz"); much {
			p.say(strings.Repeat("x", 1<<20))
		}
		s.publish(t, "/topics/a", "1")
		wantLine(t, body, `"data":"1"`)
		s.publish(t, "/topics/a?end", "2")
		wantLine(t, body, `"data":"2"`)
		wantLine(t, body, "$end")
		if _, err := body.ReadByte(); err != io.EOF {
			t.Error(err)
		}
		if !much {
			p.wantAnswer(200)
		} else if rest, err := io.ReadAll(p.Reader); err == nil && len(rest) > 300 { // the request may be answered, the rest is not
			t.Errorf("%q", rest)
		}
	}
}

// A slow reader gets all that was written before the end, with the end.
func TestSlowReaderGetsTheEnd(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}})
	big := strings.Repeat("x", 400_000)
	for _, request := range []string{
		"GET /topics/%s?as=stream HTTP/1.0\n" + host + "\n",
		"GET /topics/%s?as=stream HTTP/1.1\n" + host + "Connection: close\n\n",
	} {
		topic := fmt.Sprint(len(request))
		p := s.dial(t)
		if err := p.Conn.(*net.TCPConn).SetReadBuffer(32 << 10); err != nil {
			t.Fatal(err)
		}
		p.say(fmt.Sprintf(request, topic))
		body := p.answer().Body
		s.publish(t, "/topics/"+topic+"?end", big)
		total := 0
		for buf := make([]byte, 32<<10); ; time.Sleep(500 * time.Millisecond) { // slower than CloseTimeout
			n, err := body.Read(buf)
			if total += n; err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("after %d bytes: %v", total, err)
			}
		}
		if total < len(big) {
			t.Errorf("%d bytes", total)
		}
	}
}

// What comes behind a poll waits until its answer has left.
func TestPipelinedBehindABigPage(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}})
	p := s.dial(t)
	if err := p.Conn.(*net.TCPConn).SetReadBuffer(32 << 10); err != nil {
		t.Fatal(err)
	}
	p.ask("GET /topics/a?wait=50")
	s.wantTaken(t, 1)
	s.publish(t, "/topics/a", strings.Repeat("x", 1<<20))
	p.ask("GET /healthz")
	if page := p.wantAnswer(200); len(page) < 1<<20 {
		t.Errorf("%d bytes", len(page))
	}
	p.wantAnswer(200)
}

// When the time to stop is over, what is left is cut.
func TestShutdownCuts(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}})
	p := s.dial(t)
	if err := p.Conn.(*net.TCPConn).SetReadBuffer(32 << 10); err != nil {
		t.Fatal(err)
	}
	p.ask("GET /topics/a?as=stream")
	conn, _, err := websocket.Dial(t.Context(), "ws://"+s.Addrs()[0].String()+"/topics/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for range 20 {
		s.publish(t, "/topics/a", strings.Repeat("x", 1<<20))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.shutdown(ctx); err == nil {
		t.Error("it was not noticed")
	}
	if n := s.view.Taken(); n != 0 {
		t.Errorf("%d are left", n)
	}
	s.stop.Do(func() {}) // it was done
}

// A client may be gone while an unsubscribe waits for it.
func TestUnsubscribeOfAClientThatIsGone(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}})
	for range 10 {
		conn, _, err := websocket.Dial(t.Context(), "ws://"+s.Addrs()[0].String()+"/topics/a", &websocket.DialOptions{Subprotocols: []string{"duplex.v1"}})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			s.publish(t, "/topics/a", strings.Repeat("x", 1<<20))
		}
		if err := conn.Write(t.Context(), websocket.Text, []byte(`{"op":"unsubscribe","topic":"a","ref":1}`)); err != nil {
			t.Fatal(err)
		}
		conn.CloseNow()
	}
	s.wantTaken(t, 0)
}

// wantTaken waits until so many connections are taken from net/http.
func (s *Server) wantTaken(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprint(n, " are taken"), func() bool { return s.view.Taken() == n })
}

// held is a long-poll that was held for so long that it left net/http. No other
// connection may come or go meanwhile.
func (s *Server) held(t *testing.T, fields ...string) *peer {
	t.Helper()
	p := s.dial(t)
	before := s.view.Taken()
	p.ask("GET /topics/a?wait=50", fields...)
	s.wantTaken(t, before+1)
	return p
}

func TestHeldPollGivesItsConnectionBack(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}, AllowOrigins: []string{"https://example.com"}})
	p := s.held(t, "Origin: https://example.com")
	s.publish(t, "/topics/a", "1")
	resp := p.answer()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || resp.Close || !strings.Contains(string(body), `"data":"1"`) {
		t.Errorf("%+v, %v, %s", resp, err, body)
	}
	p.ask("GET /healthz", "Origin: https://example.com")
	quick := p.answer()
	if _, err := io.ReadAll(quick.Body); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"Date", "Vary", "Cache-Control", "X-Content-Type-Options"} {
		if resp.Header.Get(name) == "" {
			t.Errorf("no %s", name)
		}
	}
	if resp.Header.Get("Access-Control-Allow-Origin") != "https://example.com" || resp.Header.Get("Preference-Applied") != "wait=50" || resp.Header.Get("ETag") == "" || resp.Header.Get("Link") == "" {
		t.Errorf("%v", resp.Header)
	}
	s.wantConnections(t, 1)
	p.ask("GET /topics/a", "Connection: close")
	p.wantAnswer(200)
	p.wantEnd()
	s.wantConnections(t, 0)
}

// The requests behind a held poll wait for its answer.
func TestHeldPollPipelined(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}})
	p := s.held(t)
	p.ask("GET /topics/a?after=earliest")
	p.say("POST /topics/a HTTP/1.1\n" + host + "Content-Length: 6\n\npip")
	s.publish(t, "/topics/a", "1")
	for range 2 {
		if page := p.wantAnswer(200); !strings.Contains(page, `"data":"1"`) {
			t.Error(page)
		}
	}
	p.say("ing")
	p.wantAnswer(201)
	p.Close()
	s.wantConnections(t, 0)
}

func TestHeldPollEnds(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}, MaxWait: 2 * time.Second})
	began := time.Now()
	p := s.held(t)
	if page := p.wantAnswer(200); !strings.Contains(page, `"events":[]`) || time.Since(began) < 2*time.Second {
		t.Errorf("after %v: %s", time.Since(began), page)
	}
	p.Close()
	s.wantTaken(t, 0)
	half := s.held(t)
	if err := half.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if page := half.wantAnswer(200); !strings.Contains(page, `"events":[],"cursor":"`) {
		t.Error(page)
	}
	half.wantEnd()
	half.Close()
	s.wantTaken(t, 0)
	s.held(t).Close()
	s.wantConnections(t, 0)
}

// An idle subscriber costs no goroutine, and all are told when the server stops.
func TestShutdownOfLinks(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}})
	goroutines := runtime.NumGoroutine() + runtime.GOMAXPROCS(0) // the poller's may begin only now
	const each = 20
	var streams, polls, resting []*peer
	var bodies []io.Reader
	var sockets []*websocket.Conn
	for range each {
		for _, as := range []string{"sse", "stream"} {
			p := s.dial(t)
			p.ask("GET /topics/a?as=" + as)
			streams, bodies = append(streams, p), append(bodies, p.answer().Body)
		}
		p := s.dial(t)
		p.ask("GET /topics/a?wait=50")
		polls = append(polls, p)
		conn, _, err := websocket.Dial(t.Context(), "ws://"+s.Addrs()[0].String()+"/topics/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		sockets = append(sockets, conn)
	}
	s.wantTaken(t, 4*each)
	for range 3 {
		resting = append(resting, s.held(t))
	}
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines+each/2 })
	s.publish(t, "/topics/a", "1")
	for _, p := range resting {
		p.wantAnswer(200)
	}
	for _, p := range polls {
		p.wantAnswer(200)
	}
	s.wantTaken(t, 4*each+3) // those that were answered wait for their next request
	again := s.held(t)
	stopped := make(chan error)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	if resp := again.answer(); resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("%+v", resp)
	}
	for i, p := range streams {
		text, err := io.ReadAll(bodies[i])
		if err != nil || !strings.HasSuffix(string(text), "\n") || i%2 == 0 && strings.Count(string(text), "retry: ") != 2 {
			t.Errorf("%q, %v", text, err)
		}
		p.Close() // the server waits for it, for some seconds
	}
	for _, conn := range sockets {
		for {
			_, _, err := conn.Read(t.Context())
			if err == nil {
				continue
			}
			if e, ok := err.(*websocket.CloseError); !ok || e.Code != websocket.CloseGoingAway || e.Reason != "shutting-down" {
				t.Errorf("closed with %v", err)
			}
			break
		}
	}
	for _, p := range append(resting, polls...) {
		p.wantEnd()
		p.Close()
	}
	again.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	eventually(t, "no connection is left", func() bool { return s.connections.count() == 0 })
	if n := s.view.Taken(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// A reader that stops gets everything when he goes on, and holds up nobody.
func TestStalledStreamGoesOn(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}, Ping: time.Hour})
	stalled, reading := s.dial(t), s.dial(t)
	var bodies []*bufio.Reader
	for _, p := range []*peer{stalled, reading} {
		if err := p.Conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
			t.Fatal(err)
		}
		p.ask("GET /topics/a?as=stream")
		bodies = append(bodies, bufio.NewReader(p.answer().Body))
		wantLine(t, bodies[len(bodies)-1], "$ping")
	}
	big := strings.Repeat("x", 100_000)
	publisher := s.dial(t)
	const events = 100
	for i := range events {
		data := fmt.Sprint(i, " ", big)
		publisher.say(fmt.Sprintf("POST /topics/a HTTP/1.1\n%sContent-Length: %d\n\n%s", host, len(data), data))
		publisher.wantAnswer(201)
		wantLine(t, bodies[1], fmt.Sprintf(`"data":"%d x`, i))
	}
	for i := range events {
		wantLine(t, bodies[0], fmt.Sprintf(`"data":"%d x`, i))
	}
}

// A peer that is out of reach is noticed within one and a half intervals of
// $ping, though it has no more to say than one that is well.
func TestUnreachableStreamIsCut(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("secure=", secure), func(t *testing.T) {
			t.Parallel()
			c := &Config{Listen: []string{"127.0.0.1:0"}, Ping: 2 * time.Second}
			if secure {
				c.TLSDevDir = filepath.Join(t.TempDir(), "ca")
			}
			s := start(t, c)
			wellConn, deadConn := s.dial(t), s.dial(t)
			well, dead := wellConn, deadConn
			if secure {
				well, dead = connectTLS(t, s, wellConn), connectTLS(t, s, deadConn)
			}
			for _, p := range []*peer{well, dead} {
				p.ask("GET /topics/a?as=stream")
				wantLine(t, bufio.NewReader(p.answer().Body), "$ping")
			}
			testnet.Unplug(t, deadConn.Conn.(*net.TCPConn))
			s.wantConnections(t, 1)
			if !secure {
				well.ask("GET /healthz") // it is there, and its stream goes on
			}
			if s.connections.count() != 1 {
				t.Error("the other one was cut")
			}
		})
	}
}
