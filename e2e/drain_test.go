//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// A server that is told to stop ends what is held so that everybody can go on
// elsewhere (PROTOCOL.md §12), also beside a subscriber that takes nothing.
func TestShutdown(t *testing.T) {
	const drain = 10 * time.Second
	s := serve(t, "--drain-timeout", drain.String(), "--max-event-bytes", "8MiB")
	last := s.publish(t, "news", "", "text/plain", "before")

	// The stalled ones: their windows are full, and a write to them waits.
	for _, accept := range []string{"text/event-stream", "application/x-ndjson"} {
		stalled := dialRaw(t, s.addr)
		if err := stalled.SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		stalled.send("GET /topics/flood HTTP/1.1\r\nHost: " + s.addr + "\r\nAccept: " + accept + "\r\n\r\n")
	}
	stalled := dialRaw(t, s.addr)
	if err := stalled.SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	stalled.send(strings.Replace(upgrade(s.addr), "/topics/room", "/topics/flood", 1))
	until(t, "the stalled subscribers", func() bool {
		// A topic is listed when it has events.
		s.publish(t, "flood", "", "text/plain", strings.Repeat("x", 1<<20))
		return s.subscribers(t, "flood") == 3
	})
	for range 10 {
		s.publish(t, "flood", "", "text/plain", strings.Repeat("x", 4<<20))
	}

	// Those who listen.
	raw, _, err := websocket.Dial(t.Context(), "ws://"+s.addr+"/topics/news", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.CloseNow()
	many, _, err := websocket.Dial(t.Context(), "ws://"+s.addr+"/topics", &websocket.DialOptions{Subprotocols: []string{"duplex.v1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer many.CloseNow()
	open := func(path, accept string, header ...string) *rawConn {
		c := dialRaw(t, s.addr)
		c.send("GET " + path + " HTTP/1.1\r\nHost: " + s.addr + "\r\nAccept: " + accept + "\r\n" + strings.Join(header, "\r\n") + "\r\n")
		return c
	}
	sse := open("/topics/news", "text/event-stream")
	stream := open("/topics/news", "application/x-ndjson")
	held := open("/topics/news?after="+last, "application/json", "Prefer: wait=50", "")
	idle := dialRaw(t, s.addr)
	idle.send("GET /healthz HTTP/1.1\r\nHost: " + s.addr + "\r\n\r\n")
	idle.answer()
	until(t, "the subscribers", func() bool { return s.subscribers(t, "news") == 4 })

	began := time.Now()
	s.terminate(t)

	for name, conn := range map[string]*websocket.Conn{"raw": raw, "duplex.v1": many} {
		var err error
		for err == nil {
			_, _, err = conn.Read(t.Context())
		}
		closed, ok := errors.AsType[*websocket.CloseError](err)
		if !ok || !closed.Remote || closed.Code != websocket.CloseGoingAway || closed.Reason != "shutting-down" {
			t.Errorf("websocket, %s: %v, not 1001 shutting-down", name, err)
		}
	}

	response, body := sse.answer() // to its end: nothing is cut
	if response.StatusCode != http.StatusOK || !regexp.MustCompile(`\n\nretry: \d+\n\n$`).MatchString(body) {
		t.Errorf("sse ends with %q, not with retry and an empty line", tail(body, 100))
	}
	if _, body = stream.answer(); !strings.HasSuffix(body, "\n") || !strings.Contains(body, "$ping") {
		t.Errorf("stream ends with %q, not with a whole line", tail(body, 100))
	}
	response, body = held.answer()
	var p page
	decode(t, body, &p)
	if response.StatusCode != http.StatusOK || len(p.Events) > 0 || p.Cursor == "" || p.Gap != nil {
		t.Errorf("longpoll: %s %s", response.Status, body)
	}
	if _, err := idle.in.ReadByte(); err != io.EOF {
		t.Errorf("an idle connection: %v, not closed", err)
	}

	if code := s.exitCode(t); code != 0 {
		t.Errorf("exit code %d: %s", code, tail(s.stderr.String(), 1000))
	}
	if took := time.Since(began); took > drain+patience/2 {
		t.Errorf("took %v", took)
	}
}

// A client that was told to go on elsewhere misses nothing there: here the
// same server has still something for it when it stops.
func TestShutdownUnderLoad(t *testing.T) {
	s := serve(t)
	s.publish(t, "busy", "", "text/plain", "0")
	response, err := http.Get(s.topic("busy") + "?as=sse&after=earliest")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stored := make(chan int, 1)
	// Ends when the server refuses. Joined below.
	go func() {
		n := 1
		defer func() { stored <- n }()
		for ctx.Err() == nil {
			answer, err := direct.Post(s.topic("busy"), "text/plain", strings.NewReader(fmt.Sprint(n)))
			if err != nil {
				return
			}
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			if answer.StatusCode != http.StatusCreated {
				return
			}
			n++
		}
	}()
	in := bufio.NewReader(response.Body)
	got := 0
	for {
		m, err := readMessage(in)
		if err != nil {
			if err != io.EOF {
				t.Errorf("the stream is cut: %v", err)
			}
			break
		}
		if m.isSignal() {
			continue
		}
		if m.data != fmt.Sprint(got) {
			t.Fatalf("got %q, not %d", m.data, got)
		}
		if got++; got == 200 {
			s.terminate(t)
		}
	}
	cancel()
	if n := <-stored; got > n || got < 200 {
		t.Errorf("got %d of %d events", got, n)
	}
}
