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

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
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
	eventually(t, "a datagram, of which some may be lost", func() bool {
		if err := p.SendDatagram([]byte(`{"op":"publish","topic":"live/1","data":[1,2]}`)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		datagram, _ := p.ReceiveDatagram(ctx)
		return strings.Contains(string(datagram), `"topic":"live/1","data":[1,2]`)
	})
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
	// A session has one stream, and bears that others are tried.
	p := openSession(t, s, "/topics")
	p.want("$ping")
	for range 3 {
		stream, err := p.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = stream.Write([]byte("{}\n")) // it may be refused already
		if answer, err := io.ReadAll(stream); err == nil {
			t.Errorf("another stream: answered %q", answer)
		}
		one, err := p.OpenUniStream()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = one.Write([]byte("{}\n"))
	}
	p.say(`{"op":"ping","ref":1}`)
	p.want(`"ref":1`)
}

// A connection has one session at a time.
func TestSecondSession(t *testing.T) {
	s := start(t, secureConfig(t))
	transport := &webtransport.Transport{}
	defer transport.Close()
	conn, err := quic.DialAddr(t.Context(), s.Addrs()[0].String(), http3.ConfigureTLSConfig(trusting(t, s)),
		&quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	client, err := transport.NewClientConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	address := "https://" + s.Addrs()[0].String() + "/topics"
	_, first, err := client.Dial(t.Context(), address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, _, err := client.Dial(t.Context(), address, nil); err == nil || response == nil || response.StatusCode != 400 {
		t.Errorf("%v, %v", response, err)
	}
	first.CloseWithError(0, "")
	for range 50 { // one after the other, each with a stream at once
		var next *webtransport.Session
		eventually(t, "there may be another", func() bool {
			_, next, err = client.Dial(t.Context(), address, nil)
			return err == nil
		})
		stream, err := next.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(stream, "\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(stream).ReadString('\n'); err != nil || !strings.Contains(line, "$ping") {
			t.Fatalf("%q, %v", line, err)
		}
		next.CloseWithError(0, "")
	}
}

// A stream may come before the request for its session; those of sessions that
// never come are refused.
func TestStreamsBeforeTheirSession(t *testing.T) {
	s := start(t, secureConfig(t))
	conn, err := quic.DialAddr(t.Context(), s.Addrs()[0].String(), http3.ConfigureTLSConfig(trusting(t, s)), &quic.Config{EnableDatagrams: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	control, err := conn.OpenUniStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control.Write([]byte{0, 4, 2, 0x33, 1}); err != nil { // SETTINGS_H3_DATAGRAM = 1
		t.Fatal(err)
	}
	request, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	ping := append(quicvarint.Append(quicvarint.Append(nil, 0x41), uint64(request.StreamID())), `{"op":"ping","ref":1}`+"\n"...)
	if _, err := stream.Write(ping); err != nil {
		t.Fatal(err)
	}
	// :method CONNECT, :scheme https, :authority, :path, :protocol
	block := qpackPrefix + "\xcf\xd7\x50\x09localhost\x51\x07/topics" + "\x27\x02:protocol" + "\x0cwebtransport"
	if _, err := request.Write(headersFrame(block)); err != nil {
		t.Fatal(err)
	}
	stream.SetReadDeadline(time.Now().Add(time.Minute))
	lines := bufio.NewReader(stream)
	for _, want := range []string{"$ping", `{"op":"ok","ref":1,"http":"h3"}`} {
		if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, want) {
			t.Fatalf("%q, %v, want %q", line, err, want)
		}
	}
	for range 2 * defaultMaxStreams { // of a session that never was
		lost, err := conn.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = lost.Write(append(quicvarint.Append(quicvarint.Append(nil, 0x41), 4000), "x"...)) // it may be refused already
		lost.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.ReadAll(lost); !errors.As(err, new(*quic.StreamError)) {
			t.Fatalf("a stream of no session: %v", err)
		}
	}
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
