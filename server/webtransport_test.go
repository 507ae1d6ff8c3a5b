package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"github.com/duplexhq/duplex/topic"
)

// A sessionPeer is a client's session of WebTransport with its stream.
type sessionPeer struct {
	*webtransport.Session
	t      *testing.T
	stream *webtransport.Stream
	lines  *bufio.Reader
}

// dialSession asks for a session, and does not open its stream.
func dialSession(t *testing.T, s *Server, path string, header http.Header) (*http.Response, *webtransport.Session, error) {
	t.Helper()
	transport := &webtransport.Transport{TLSClientConfig: http3.ConfigureTLSConfig(trusting(t, s))}
	t.Cleanup(func() { transport.Close() })
	return transport.Dial(t.Context(), "https://"+s.Addrs()[0].String()+path, header)
}

func openSession(t *testing.T, s *Server, path string) *sessionPeer {
	t.Helper()
	_, session, err := dialSession(t, s, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.CloseWithError(0, "") })
	stream, err := session.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	p := &sessionPeer{session, t, stream, bufio.NewReader(stream)}
	p.say("") // a stream that nothing was written to is not there yet
	return p
}

func (p *sessionPeer) say(message string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stream, message+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// want reads one line, which holds all parts.
func (p *sessionPeer) want(parts ...string) string {
	p.t.Helper()
	line, err := p.lines.ReadString('\n')
	for _, part := range parts {
		if !strings.Contains(line, part) {
			p.t.Fatalf("got %q, %v, want %q", line, err, part)
		}
	}
	return line
}

// wantClose reads to the end of the session.
func (p *sessionPeer) wantClose(code webtransport.SessionErrorCode, reason string) {
	p.t.Helper()
	if rest, err := io.ReadAll(p.lines); err != nil || len(rest) > 0 {
		p.t.Errorf("%q, %v", rest, err)
	}
	p.stream.Close()
	_, err := p.AcceptStream(p.t.Context())
	end, ok := errors.AsType[*webtransport.SessionError](err)
	if !ok || end.ErrorCode != code || end.Message != reason || !end.Remote {
		p.t.Errorf("closed with %v, want %d %q", err, code, reason)
	}
}

// secureConfig is one of HTTP/3 alone.
func secureConfig(t *testing.T) *Config {
	return &Config{Listen: []string{"127.0.0.1:0"}, TLSDevDir: t.TempDir() + "/ca", HTTP3: true}
}

// PROTOCOL.md §16, over real QUIC.
func TestWebTransport(t *testing.T) {
	pattern, err := topic.ParsePattern("live/**")
	if err != nil {
		t.Fatal(err)
	}
	config := secureConfig(t)
	var log syncBuffer
	config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	config.Rules = []topic.Rule{{Pattern: pattern, RetainEvents: new(0)}}
	s := start(t, config)
	p := openSession(t, s, "/topics")
	p.want("$ping")
	if s.view.Taken() != 1 || s.connections.count() != 1 {
		t.Errorf("%d sessions, %d connections", s.view.Taken(), s.connections.count())
	}
	p.say(`{"op":"subscribe","topic":"a","ref":1}`)
	p.want(`"ref":1`)
	p.say(`{"op":"publish","topic":"a","data":"hello"}`)
	var event struct{ ID, Data string }
	if err := json.Unmarshal([]byte(p.want(`"data":"hello"`)), &event); err != nil {
		t.Fatal(err)
	}
	p.say(`{"op":"subscribe","topic":"live/**","datagrams":true,"ref":2}`)
	p.want(`"ref":2`)
	if err := p.SendDatagram([]byte(`{"op":"publish","topic":"live/1","data":[1,2],"ref":3}`)); err != nil {
		t.Fatal(err)
	}
	p.want(`"op":"ok","ref":3`)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if datagram, err := p.ReceiveDatagram(ctx); err != nil || !strings.Contains(string(datagram), `"topic":"live/1","data":[1,2]`) {
		t.Errorf("%q, %v", datagram, err)
	}
	p.say(`{"op":"publish","topic":"live/1","data":"` + strings.Repeat("x", 5000) + `"}`)
	p.want(strings.Repeat("x", 5000))
	p.say(`{"op":"publish","topic":"a","data":"` + strings.Repeat("y", 500_000) + `"}`)
	p.want(strings.Repeat("y", 500_000))

	// The client goes, and comes back to where it was.
	p.CloseWithError(7, "bye")
	eventually(t, "it is over", func() bool {
		return s.view.Taken() == 0 && s.hub.Stats().Subscribers == 0 && s.connections.count() == 0
	})
	eventually(t, "the log of it", func() bool {
		return strings.Contains(log.String(), "method=CONNECT path=/topics status=200") && !strings.Contains(log.String(), "bytes=0")
	})
	p = openSession(t, s, "/topics/a?after="+event.ID)
	p.want("$ping", event.ID)
	p.want("yyy")

	stopped := make(chan error)
	go func() { stopped <- s.Shutdown(t.Context()) }() // Joined below.
	p.wantClose(1001, "shutting-down")
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestWebTransportRefusals(t *testing.T) {
	s := start(t, secureConfig(t))
	for _, test := range []struct {
		path, origin string
		status       int
	}{
		{"/topics/a*b", "", 400},
		{"/nothing", "", 404},
		{"/topics/a", "https://evil.example", 403},
	} {
		header := http.Header{}
		if test.origin != "" {
			header.Set("Origin", test.origin)
		}
		response, _, err := dialSession(t, s, test.path, header)
		if err == nil || response == nil || response.StatusCode != test.status {
			t.Errorf("%s from %q: %v, %v", test.path, test.origin, response, err)
		}
	}
	// There is one session per connection, and it bears that others are tried.
	p := openSession(t, s, "/topics")
	p.want("$ping")
	for range 3 {
		if _, err := p.OpenStream(); err != nil {
			t.Error(err)
		}
		if _, err := p.OpenUniStream(); err != nil {
			t.Error(err)
		}
	}
	p.say(`{"op":"ping","ref":1}`)
	p.want(`"ref":1`)
}

// A syncBuffer is a log that can be read meanwhile.
type syncBuffer struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
