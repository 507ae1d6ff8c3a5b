package server

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
	"github.com/duplexhq/duplex/view"
)

// A brittleLog panics when asked about the topic "boom".
type brittleLog struct{ topic.Log }

func (l brittleLog) Append(ctx context.Context, name string, drafts []topic.Draft, key topic.Key) (topic.ID, error) {
	if name == "boom/append" {
		panic("boom")
	}
	return l.Log.Append(ctx, name, drafts, key)
}

func (l brittleLog) Read(ctx context.Context, interests []topic.Interest, limit topic.Limit) (topic.Page, error) {
	page, err := l.Log.Read(ctx, interests, limit)
	if len(page.Entries) > 0 && page.Entries[0].Topic == "boom/read" {
		panic("boom")
	}
	return page, err
}

func (l brittleLog) Ended(name string) (topic.ID, bool) {
	if _, ended := l.Log.Ended(name); ended && name == "boom/end" {
		panic("boom")
	}
	return l.Log.Ended(name)
}

// A panic, wherever, costs one connection and a line of the log, as net/http has it
// for its handlers.
func TestPanicCostsOneConnection(t *testing.T) {
	var logged lockedBuffer
	config := &Config{Listen: []string{"127.0.0.1:0"}, Logger: slog.New(slog.NewTextHandler(&logged, nil))}
	s, err := New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	log := brittleLog{memlog.Open(nil)}
	hub := topic.NewHub(log, nil)
	s.view.Shutdown(t.Context())
	if s.view, err = view.New(hub, &view.Options{Take: s.lease, Logger: s.config.Logger}); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		hub.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	other := s.dial(t)
	other.say(holding["sse"])
	other.answer()
	lives := func(what string) {
		t.Helper()
		eventually(t, what+" is logged", func() bool { return strings.Contains(logged.take(), "boom") })
		p := s.dial(t)
		p.ask("GET /healthz")
		p.wantAnswer(200)
		p.Close()
	}

	poll := s.dial(t)
	poll.ask("GET /topics/boom/end?wait=50")
	eventually(t, "the poll is parked", func() bool { return s.view.Taken() == 2 })
	s.publish(t, "/topics/boom/end?end", "x")
	poll.wantCut()
	lives("the answer to a held poll")

	for _, request := range []string{"GET /topics/boom/append HTTP/1.1\n" + host + handshake + "\n", "GET /topics HTTP/1.1\n" + host + handshake + "Sec-WebSocket-Protocol: duplex.v1\n\n"} {
		p := s.dial(t)
		p.say(request)
		p.wantAnswer(101)
		text := `{"op":"publish","topic":"boom/append","data":1}`
		frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
		if _, err := p.Write(frame); err != nil {
			t.Fatal(err)
		}
		p.wantCut()
		lives("a message")
	}

	s.publish(t, "/topics/boom/read", "x")
	p := s.dial(t)
	p.ask("GET /topics/boom/read?as=stream&after=earliest")
	if body, err := io.ReadAll(p.answer().Body); err != nil || len(body) > 0 { // it ends in order
		t.Errorf("%q, %v", body, err)
	}
	p.Close()
	lives("a stream that reads the log")
	eventually(t, "the connections are over", func() bool { return s.view.Taken() == 1 })
}

// wantCut wants the connection to end, however.
func (p *peer) wantCut() {
	p.t.Helper()
	_, _ = io.Copy(io.Discard, p.Reader) // it may be reset
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns what was written since it was called before.
func (l *lockedBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}
