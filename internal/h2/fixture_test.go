package h2_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/duplexhq/duplex/internal/h2"
	"github.com/duplexhq/duplex/internal/testnet"
)

// A site is a server in a bubble: of this package, or net/http's own.
type site struct {
	network *testnet.Network
	server  *h2.Server // nil: net/http's
	errors  bytes.Buffer
	client  *http.Transport
}

// serve serves h at "site:80".
func serve(t *testing.T, own bool, options h2.Options, h http.Handler) *site {
	t.Helper()
	s := &site{network: testnet.New(t)}
	l, err := s.network.Listen("tcp", "site:80")
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: h, Protocols: new(http.Protocols), ErrorLog: log.New(&s.errors, "", 0), MaxHeaderBytes: 64 << 10}
	hs.Protocols.SetUnencryptedHTTP2(true)
	if own {
		options.ErrorLog = hs.ErrorLog
		s.server = h2.New(&options)
		s.server.Configure(hs, nil)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = hs.Serve(l) }) // Ends, and is joined, by the cleanup.
	s.client = &http.Transport{Protocols: hs.Protocols, DialContext: s.network.Dial, DisableCompression: true}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		if own {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = s.server.Shutdown(ctx)
		}
		hs.Close()
		serving.Wait()
	})
	return s
}

// within runs a test in a bubble with a server of this package.
func within(t *testing.T, options h2.Options, h http.HandlerFunc, test func(t *testing.T, s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, serve(t, true, options, h)) })
}

// A peer speaks in frames. What comes is read all the time.
type peer struct {
	*http2.Framer
	t      *testing.T
	conn   net.Conn
	mu     sync.Mutex
	frames []string // guarded by mu, as the next ones
	data   map[uint32]string
	ended  bool
}

func (s *site) dial(t *testing.T, settings ...http2.Setting) *peer {
	t.Helper()
	conn, err := s.network.Dial(t.Context(), "tcp", "site:80")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Framer: http2.NewFramer(conn, conn), t: t, conn: conn, data: make(map[uint32]string)}
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.AllowIllegalWrites = true
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(p.read) // Ends with the connection. Joined by the cleanup.
	t.Cleanup(func() {
		conn.Close()
		reading.Wait()
	})
	p.WriteSettings(settings...)
	synctest.Wait()
	p.got()
	return p
}

func (p *peer) read() {
	for {
		f, err := p.ReadFrame()
		p.mu.Lock()
		if err != nil {
			p.ended = true
			p.mu.Unlock()
			return
		}
		var b strings.Builder
		b.WriteString(f.Header().Type.String())
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			b.WriteString(" " + f.PseudoValue("status"))
		case *http2.DataFrame:
			p.data[f.StreamID] += string(f.Data())
		case *http2.RSTStreamFrame:
			b.WriteString(" " + f.ErrCode.String())
		case *http2.GoAwayFrame:
			b.WriteString(" " + f.ErrCode.String())
		}
		if f.Header().Flags.Has(http2.FlagDataEndStream) && f.Header().Type <= http2.FrameHeaders {
			b.WriteString(" END")
		}
		p.frames = append(p.frames, b.String())
		p.mu.Unlock()
	}
}

// got gives what has come since it was called, when all is at rest.
func (p *peer) got() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	text := strings.Join(p.frames, ", ")
	p.frames = nil
	return text
}

func (p *peer) want(want string) {
	p.t.Helper()
	if got := p.got(); got != want {
		p.t.Errorf("got %s; want %s", got, want)
	}
}

func (p *peer) hasEnded() bool {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func (p *peer) request(id uint32, method, path string, ends bool, fields ...string) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	fields = append([]string{":method", method, ":scheme", "http", ":authority", "site", ":path", path}, fields...)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true})
	}
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: ends, EndHeaders: true})
}
