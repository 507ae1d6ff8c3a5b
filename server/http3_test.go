package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
	"github.com/quic-go/quic-go/testutils/simnet"
	"github.com/quic-go/webtransport-go"

	"github.com/duplexhq/duplex/internal/testnet"
)

// A simulated network of datagrams, in which packets can be lost.
type darkRouter struct {
	simnet.PerfectRouter
	mu   sync.Mutex
	dark bool // guarded by mu
}

func (r *darkRouter) SendPacket(p simnet.Packet) error {
	r.mu.Lock()
	dark := r.dark
	r.mu.Unlock()
	if dark {
		return nil
	}
	return r.PerfectRouter.SendPacket(p)
}

func (r *darkRouter) goDark() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dark = true
}

var (
	simulatedServer = &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 443}
	simulatedClient = &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 50000}
)

// simulated runs f in a bubble, with a connection of HTTP/3 to a server, over
// which r goes.
func simulated(t *testing.T, config *Config, f func(t *testing.T, s *Server, r *darkRouter, conn *quic.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		config.Listen, config.TLSDevDir, config.HTTP3 = []string{"10.0.0.1:443"}, t.TempDir()+"/ca", true
		config.AllowHosts = []string{"localhost"}
		s, err := New(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		router := new(darkRouter)
		var network simulatedTCP
		s.listen = network.listen
		s.listenPacket = func(string, string) (net.PacketConn, error) {
			return simnet.NewBlockingSimConn(simulatedServer, router), nil
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		packets := simnet.NewBlockingSimConn(simulatedClient, router)
		transport := &quic.Transport{Conn: packets}
		// It would bear more silence than the server.
		conn, err := transport.Dial(t.Context(), simulatedServer, http3.ConfigureTLSConfig(trusting(t, s)),
			&quic.Config{MaxIdleTimeout: time.Hour, EnableDatagrams: true, EnableStreamResetPartialDelivery: true})
		if err != nil {
			t.Fatal(err)
		}
		f(t, s, router, conn)
		conn.CloseWithError(0, "")
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := errors.Join(transport.Close(), packets.Close()); err != nil {
			t.Error(err)
		}
	})
}

// simulatedTCP has listeners to which nobody comes.
type simulatedTCP struct{}

func (simulatedTCP) listen(string, string) (net.Listener, error) {
	return &quietListener{make(chan struct{})}, nil
}

type quietListener struct{ closed chan struct{} }

func (l *quietListener) Accept() (net.Conn, error) {
	<-l.closed
	return nil, net.ErrClosed
}

func (l *quietListener) Close() error {
	close(l.closed)
	return nil
}

func (l *quietListener) Addr() net.Addr {
	return &net.TCPAddr{IP: simulatedServer.IP, Port: simulatedServer.Port}
}

// The system gives a port that is free for TCP. If somebody has it for UDP, the
// server takes another, if it may.
func TestUDPPortIsTaken(t *testing.T) {
	for _, test := range []struct {
		name, listen string
		taken        int // ports, the first ones
		tries        int
		err          error
	}{
		{"another port", "127.0.0.1:0", 3, 4, nil},
		{"no port at all", "127.0.0.1:0", portTries, portTries, syscall.EADDRINUSE},
		{"the only port", fmt.Sprint("127.0.0.1:", testnet.Ports(t, 1)[0]), 1, 1, syscall.EADDRINUSE},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := New(t.Context(), &Config{Listen: []string{test.listen}, TLSDevDir: t.TempDir() + "/ca", HTTP3: true})
			if err != nil {
				t.Fatal(err)
			}
			tries := 0
			s.listenPacket = func(network, address string) (net.PacketConn, error) {
				if tries++; tries <= test.taken {
					if other, err := net.ListenPacket(network, address); err == nil { // else somebody really has it
						t.Cleanup(func() { other.Close() })
					}
				}
				return net.ListenPacket(network, address)
			}
			err = s.Start()
			if !errors.Is(err, test.err) || tries < test.tries || test.err != nil && tries > test.tries {
				t.Errorf("%v after %d tries, want %v after %d", err, tries, test.err, test.tries)
			}
			if err == nil && (len(s.Endpoints()) != 1 || !slices.Contains(s.Endpoints()[0].Versions, "HTTP/3")) {
				t.Errorf("listens on %v", s.Endpoints())
			}
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// follow asks for an event stream, and waits for its beginning.
func follow(t *testing.T, conn *quic.Conn) *http.Response {
	t.Helper()
	client := new(http3.Transport).NewClientConn(conn)
	r, err := http.NewRequestWithContext(t.Context(), "GET", "https://localhost/topics/a?as=sse", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	wantPart(t, response.Body, "$ping")
	return response
}

// PROTOCOL.md §11: a client that is out of reach is noticed when it has been
// silent for 60 s; one that says nothing, because there is nothing to say, is
// not.
func TestSilenceOverHTTP3(t *testing.T) {
	simulated(t, &Config{Ping: 25 * time.Second}, func(t *testing.T, s *Server, r *darkRouter, conn *quic.Conn) {
		response := follow(t, conn)
		go io.Copy(io.Discard, response.Body)
		time.Sleep(time.Hour)
		if n := s.hub.Stats().Subscribers; n != 1 {
			t.Fatalf("after an hour, %d subscribers", n)
		}
		wantNoticed(t, s, r, conn)
	})
}

// wantNoticed has the network go dark, and waits until both ends have given up.
func wantNoticed(t *testing.T, s *Server, r *darkRouter, conn *quic.Conn) {
	t.Helper()
	began := time.Now()
	r.goDark()
	<-conn.Context().Done() // the client notices that, too
	for s.hub.Stats().Subscribers > 0 || s.connections.count() > 0 || s.view.Taken() > 0 {
		time.Sleep(time.Second)
	}
	// Silence counts from the first packet that is not answered: the next
	// heartbeat, or QUIC's own ping.
	if took := time.Since(began); took < silentFor || took > silentFor+25*time.Second {
		t.Errorf("noticed after %v", took)
	}
}

// The same for a session of WebTransport.
func TestSilentSession(t *testing.T) {
	simulated(t, &Config{Ping: 25 * time.Second}, func(t *testing.T, s *Server, r *darkRouter, conn *quic.Conn) {
		transport := new(webtransport.Transport)
		defer transport.Close()
		client, err := transport.NewClientConn(conn)
		if err != nil {
			t.Fatal(err)
		}
		_, session, err := client.Dial(t.Context(), "https://localhost/topics/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := session.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(stream, "\n"); err != nil {
			t.Fatal(err)
		}
		beats := make(chan int)
		go func() {
			heard, _ := io.ReadAll(stream) // until the connection is lost
			beats <- bytes.Count(heard, []byte("$ping"))
		}()
		time.Sleep(time.Hour + time.Second) // not at the time of a heartbeat
		if n := s.view.Taken(); n != 1 {
			t.Fatalf("after an hour, %d sessions", n)
		}
		wantNoticed(t, s, r, conn)
		if n := <-beats; n != 1+60*60/25 {
			t.Errorf("%d heartbeats", n)
		}
	})
}

// A connection without requests is closed like one of HTTP/1.1.
func TestIdleOverHTTP3(t *testing.T) {
	simulated(t, &Config{}, func(t *testing.T, s *Server, _ *darkRouter, conn *quic.Conn) {
		began := time.Now()
		<-conn.Context().Done()
		if took := time.Since(began); took < idleTimeout || took > idleTimeout+time.Second {
			t.Errorf("closed after %v", took)
		}
		end, ok := errors.AsType[*quic.ApplicationError](context.Cause(conn.Context()))
		if !ok || end.ErrorCode != quic.ApplicationErrorCode(http3.ErrCodeNoError) {
			t.Errorf("closed with %v", context.Cause(conn.Context()))
		}
		synctest.Wait()
		if n := s.connections.count(); n != 0 {
			t.Errorf("%d connections", n)
		}
	})
}

// At the end of the server, connections are closed in order.
func TestShutdownClosesHTTP3(t *testing.T) {
	simulated(t, &Config{}, func(t *testing.T, s *Server, _ *darkRouter, conn *quic.Conn) {
		response := follow(t, conn)
		began := time.Now()
		stopped := make(chan error)
		go func() { stopped <- s.Shutdown(t.Context()) }()
		if rest, err := io.ReadAll(response.Body); err != nil || !bytes.HasPrefix(rest, []byte("retry: ")) {
			t.Errorf("%q, %v", rest, err)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > lastAnswers {
			t.Errorf("took %v", took)
		}
		synctest.Wait()
		end, ok := errors.AsType[*quic.ApplicationError](context.Cause(conn.Context()))
		if !ok || !end.Remote || end.ErrorCode != quic.ApplicationErrorCode(http3.ErrCodeNoError) {
			t.Errorf("closed with %v", context.Cause(conn.Context()))
		}
	})
}

// A quicPeer is a connection on which a test writes frames of HTTP/3 by hand.
type quicPeer struct {
	*quic.Conn
	t *testing.T
}

func dialQUIC(t *testing.T, s *Server, config *tls.Config) *quicPeer {
	t.Helper()
	conn, err := quic.DialAddr(t.Context(), s.Addrs()[0].String(), http3.ConfigureTLSConfig(config), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseWithError(0, "") })
	control, err := conn.OpenUniStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control.Write([]byte{0, 4, 0}); err != nil { // a control stream with empty SETTINGS
		t.Fatal(err)
	}
	return &quicPeer{conn, t}
}

// The fields of a request, in QPACK (RFC 9204 appendix A), with references to
// its static table only.
const (
	qpackPrefix  = "\x00\x00"
	getLocalhost = "\xd1\xd7" + "\x50\x09localhost" // :method GET, :scheme https, :authority
	healthz      = "\x51\x08/healthz"               // :path
)

func headersFrame(block string) []byte {
	frame := quicvarint.Append(nil, 1)
	frame = quicvarint.Append(frame, uint64(len(block)))
	return append(frame, block...)
}

// ask sends bytes on a stream of their own, and gives what is answered.
func (p *quicPeer) ask(sent []byte, fin bool) (answer []byte, err error) {
	p.t.Helper()
	stream, err := p.OpenStreamSync(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	_, _ = stream.Write(sent) // which the server may not want to the end
	if fin {
		stream.Close()
	}
	stream.SetReadDeadline(time.Now().Add(time.Minute))
	return io.ReadAll(stream)
}

// wantStatus checks how an answer begins: with a HEADERS frame whose first field
// is the status.
func (p *quicPeer) wantStatus(what string, answer []byte, err error, status string) {
	p.t.Helper()
	if err != nil || len(answer) < 4 || answer[0] != 1 || !bytes.Contains(answer[:min(len(answer), 20)], []byte(status)) {
		p.t.Errorf("%s: answered %.60q, %v, want %q", what, answer, err, status)
	}
}

const status200 = "\xd9" // :status 200, of the static table

// Headers that are too large are refused, however small they are on the wire,
// and the connection goes on (CVE-2025-64702, CVE-2026-40898).
func TestHeadersOverHTTP3(t *testing.T) {
	s := start(t, secureConfig(t))
	p := dialQUIC(t, s, trusting(t, s))
	good := qpackPrefix + getLocalhost + healthz
	// One byte each: "x-frame-options: sameorigin", which counts with 32 more
	// (RFC 9114 §4.2.2).
	bomb := strings.Repeat("\xff\x23", defaultMaxHeaderBytes/(len("x-frame-options")+len("sameorigin")+32)+1)
	answer, err := p.ask(headersFrame(good), true)
	p.wantStatus("good", answer, err, status200)
	for name, frame := range map[string][]byte{
		"many small fields": headersFrame(good + bomb),
		"one large field":   headersFrame(good + "\x21a\x7f\x81\xff\x03" + strings.Repeat("x", defaultMaxHeaderBytes)),
		"only announced":    append(quicvarint.Append([]byte{1}, 1<<40), "abc"...),
	} {
		answer, err := p.ask(frame, false)
		// Behind the status, the date may hold any byte.
		if err != nil || len(answer) < 6 || answer[0] != 1 || bytes.Contains(answer[:6], []byte(status200)) {
			t.Errorf("%s: %.60q, %v", name, answer, err)
		}
	}
	for name, frame := range map[string][]byte{
		"a field of the dynamic table": headersFrame(good + "\x80"),
		"an index out of range":        headersFrame(good + "\xff\xff\x7f"),
		"cut off":                      headersFrame(good + "\x51\x7f"),
		"upper case":                   headersFrame(good + "\x21A\x01b"),
		"no method":                    headersFrame(qpackPrefix + "\xd7\x50\x09localhost" + healthz),
	} {
		if answer, err := p.ask(frame, true); err == nil || len(answer) > 0 {
			t.Errorf("%s: %.60q, %v", name, answer, err)
		}
	}
	// Trailers are headers, too.
	post := "\xd4\xd7\x50\x09localhost\x51\x09/topics/a"
	trailers := append(headersFrame(qpackPrefix+post), 0, 1, 'x')
	if answer, err := p.ask(append(trailers, headersFrame(qpackPrefix+bomb)...), true); err == nil && bytes.Contains(answer, []byte(`"id"`)) {
		t.Errorf("trailers: %.60q", answer)
	}
	answer, err = p.ask(headersFrame(good), true)
	p.wantStatus("after all", answer, err, status200)
}

// Faults of the whole connection end it, and no other.
func TestFaultsOverHTTP3(t *testing.T) {
	s := start(t, secureConfig(t))
	other := dialQUIC(t, s, trusting(t, s))
	for name, test := range map[string]struct {
		sent []byte
		uni  bool
		code http3.ErrCode
	}{
		"DATA first":                {[]byte{0, 1, 'x'}, false, http3.ErrCodeFrameUnexpected},
		"a frame of HTTP/2":         {[]byte{2, 0}, false, http3.ErrCodeFrameUnexpected},
		"SETTINGS in a request":     {[]byte{4, 0}, false, http3.ErrCodeFrameUnexpected},
		"a second control stream":   {[]byte{0, 4, 0}, true, http3.ErrCodeStreamCreationError},
		"a push stream":             {[]byte{1, 0}, true, http3.ErrCodeStreamCreationError},
		"a session that cannot be":  {[]byte{0x40, 0x41, 3}, false, http3.ErrCodeIDError},
		"a second QPACK encoder":    {[]byte{2}, true, 0}, // the first one is allowed
		"an unknown kind of stream": {[]byte{0x21}, true, 0},
	} {
		p := dialQUIC(t, s, trusting(t, s))
		var stream io.Writer
		var err error
		if test.uni {
			stream, err = p.OpenUniStream()
		} else {
			stream, err = p.OpenStream()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Write(test.sent); err != nil {
			t.Fatal(err)
		}
		if test.code == 0 {
			answer, err := p.ask(headersFrame(qpackPrefix+getLocalhost+healthz), true)
			p.wantStatus(name, answer, err, status200)
			continue
		}
		select {
		case <-p.Context().Done():
		case <-time.After(time.Minute):
		}
		end, ok := errors.AsType[*quic.ApplicationError](context.Cause(p.Context()))
		if !ok || !end.Remote || end.ErrorCode != quic.ApplicationErrorCode(test.code) {
			t.Errorf("%s: %v", name, context.Cause(p.Context()))
		}
	}
	answer, err := other.ask(headersFrame(qpackPrefix+getLocalhost+healthz), true)
	other.wantStatus("the other", answer, err, status200)
}

// --max-streams bounds the requests at once.
func TestMaxStreamsOverHTTP3(t *testing.T) {
	config := secureConfig(t)
	config.MaxStreams = 20
	s := start(t, config)
	p := dialQUIC(t, s, trusting(t, s))
	var streams []*quic.Stream
	for range config.MaxStreams {
		stream, err := p.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Write(headersFrame(qpackPrefix + getLocalhost + "\x51\x10/topics/a?as=sse")); err != nil {
			t.Fatal(err)
		}
		streams = append(streams, stream)
	}
	eventually(t, "all are there", func() bool { return s.hub.Stats().Subscribers == config.MaxStreams })
	if _, err := p.OpenStream(); !errors.Is(err, &quic.StreamLimitReachedError{}) {
		t.Errorf("one more: %v", err)
	}
	streams[0].CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	streams[0].CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	answer, err := p.ask(headersFrame(qpackPrefix+getLocalhost+healthz), true) // waits for its turn
	p.wantStatus("one for another", answer, err, status200)
}

// Requests that were reset count until they have ended: whoever resets faster
// than that has no more streams (the HTTP/3 form of CVE-2023-44487), and others do
// not notice.
func TestResetFloodOverHTTP3(t *testing.T) {
	config := secureConfig(t)
	config.MaxStreams = 20
	s := start(t, config)
	p := dialQUIC(t, s, trusting(t, s))
	flood := func(n int, patience time.Duration) (opened int) {
		for range n {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			stream, err := p.OpenStreamSync(ctx)
			cancel()
			if err != nil {
				break
			}
			opened++
			_, _ = stream.Write(headersFrame(qpackPrefix + getLocalhost + "\x51\x09/topics/a"))
			stream.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
			stream.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
		}
		return opened
	}
	s.progress.mu.Lock() // every request hangs
	before := runtime.NumGoroutine()
	opened := flood(100*config.MaxStreams, 200*time.Millisecond) // until there are no more, or it was enough
	more := runtime.NumGoroutine() - before
	s.progress.mu.Unlock()
	t.Logf("%d streams, %d goroutines", opened, more)
	if more > 5*config.MaxStreams {
		t.Errorf("%d goroutines more", more)
	}
	if opened := flood(1000, time.Minute); opened != 1000 {
		t.Errorf("only %d requests that do not hang", opened)
	}
	other := dialQUIC(t, s, trusting(t, s))
	answer, err := other.ask(headersFrame(qpackPrefix+getLocalhost+healthz), true)
	other.wantStatus("another", answer, err, status200)
	answer, err = p.ask(headersFrame(qpackPrefix+getLocalhost+healthz), true)
	p.wantStatus("the same", answer, err, status200)
}

// Requests in 0-RTT could be replayed by whoever has seen them (RFC 8470): a
// ticket lets none be sent.
func TestNo0RTT(t *testing.T) {
	s := start(t, secureConfig(t))
	config := trusting(t, s)
	config.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	for i := range 3 {
		transport := &http3.Transport{TLSClientConfig: config}
		r, err := http.NewRequestWithContext(t.Context(), http3.MethodGet0RTT, "https://"+s.Addrs()[0].String()+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(response.Body); err != nil || response.StatusCode != 200 {
			t.Errorf("%s, %v", response.Status, err)
		}
		if i > 0 && !response.TLS.DidResume {
			t.Error("it was no resumption, which proves nothing")
		}
		transport.Close()
	}
	conn, err := quic.DialAddrEarly(t.Context(), s.Addrs()[0].String(), http3.ConfigureTLSConfig(config), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	<-conn.HandshakeComplete()
	if state := conn.ConnectionState(); state.Used0RTT || !state.TLS.DidResume {
		t.Errorf("0-RTT: %v, resumed: %v", state.Used0RTT, state.TLS.DidResume)
	}
}

// A movingNAT is between a client and a server, which sees it come from another
// port after each move.
type movingNAT struct {
	t        *testing.T
	inside   *net.UDPConn
	server   *net.UDPAddr
	mu       sync.Mutex
	outside  *net.UDPConn // guarded by mu
	client   *net.UDPAddr // guarded by mu
	carrying sync.WaitGroup
}

func newMovingNAT(t *testing.T, server string) *movingNAT {
	t.Helper()
	to, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	inside, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	n := &movingNAT{t: t, inside: inside, server: to}
	n.move()
	n.carrying.Go(func() {
		buf := make([]byte, 2000)
		for {
			size, from, err := inside.ReadFromUDP(buf)
			if err != nil {
				return
			}
			n.mu.Lock()
			n.client = from
			_, _ = n.outside.Write(buf[:size]) // packets may be lost
			n.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		inside.Close()
		n.mu.Lock()
		n.outside.Close()
		n.mu.Unlock()
		n.carrying.Wait()
	})
	return n
}

// move changes the port that the server sees. What it sends to the old one is
// lost.
func (n *movingNAT) move() {
	n.t.Helper()
	outside, err := net.DialUDP("udp", nil, n.server)
	if err != nil {
		n.t.Fatal(err)
	}
	n.mu.Lock()
	if n.outside != nil {
		n.outside.Close()
	}
	n.outside = outside
	n.mu.Unlock()
	n.carrying.Go(func() {
		buf := make([]byte, 2000)
		for {
			size, err := outside.Read(buf)
			if err != nil {
				return
			}
			n.mu.Lock()
			_, _ = n.inside.WriteToUDP(buf[:size], n.client)
			n.mu.Unlock()
		}
	})
}

// A connection goes on where its client's address changes: streams of events,
// and sessions (RFC 9000 §9).
func TestMigration(t *testing.T) {
	s := start(t, secureConfig(t))
	nat := newMovingNAT(t, s.Addrs()[0].String())
	transport := &http3.Transport{
		TLSClientConfig: trusting(t, s),
		QUICConfig:      &quic.Config{KeepAlivePeriod: 200 * time.Millisecond},
		Dial:            quic.DialAddrEarly, // without ids of its own, as browsers: the server needs one for each move
	}
	defer transport.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+nat.inside.LocalAddr().String()+"/topics/a?as=sse", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	wantPart(t, stream.Body, "$ping")
	v := version{"HTTP/3", "https://" + s.Addrs()[0].String(), speakingHTTP3(t, s)}
	moved := version{"HTTP/3", "https://" + nat.inside.LocalAddr().String(), transport}
	for _, data := range []string{"first", "second", "third"} {
		nat.move()
		v.do(t, "POST", "/topics/a", data)
		wantPart(t, stream.Body, data)
		moved.do(t, "GET", "/healthz", "") // there and back: the way is found
	}
	if n := s.hub.Stats().Subscribers; n != 1 {
		t.Errorf("%d subscribers", n)
	}
}
