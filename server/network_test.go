package server

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/testnet"
)

// startPiped starts a server on a network of its own, at DefaultListen.
func startPiped(t *testing.T, config *Config) (*Server, *testnet.Network) {
	t.Helper()
	s, err := New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	network := testnet.New(t)
	s.listen = network.Listen
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return s, network
}

// A peer is one connection, on which a test says byte for byte what it wants.
type peer struct {
	net.Conn
	*bufio.Reader
	t *testing.T
}

func (p *peer) Read(b []byte) (int, error) { return p.Reader.Read(b) }

func connect(t *testing.T, dial func(context.Context, string, string) (net.Conn, error), address string) *peer {
	t.Helper()
	conn, err := dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return newPeer(t, conn)
}

func newPeer(t *testing.T, conn net.Conn) *peer { return &peer{conn, bufio.NewReader(conn), t} }

// say sends text whose lines end with LF here and with CRLF there.
func (p *peer) say(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		p.t.Fatal(err)
	}
}

// answer reads the header of the next answer.
func (p *peer) answer() *http.Response {
	p.t.Helper()
	resp, err := http.ReadResponse(p.Reader, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp
}

// wantAnswer reads the next answer and compares its status. It returns the
// body.
func (p *peer) wantAnswer(status int) string {
	p.t.Helper()
	resp := p.answer()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if resp.StatusCode != status {
		p.t.Errorf("status %d, want %d: %s", resp.StatusCode, status, body)
	}
	return string(body)
}

// wantEnd wants the server to close.
func (p *peer) wantEnd() {
	p.t.Helper()
	if rest, err := io.ReadAll(p.Reader); err != nil || len(rest) > 0 {
		p.t.Errorf("after the last answer: %q, %v", rest, err)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("it never happens: %s", what)
		}
	}
}

// A logbook is what was logged so far.
type logbook struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logbook) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Reset()
}
