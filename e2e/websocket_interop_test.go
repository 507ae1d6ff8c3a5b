//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket"
	_ "github.com/duplexhq/duplex/websocket/h2"
	"github.com/duplexhq/duplex/websocket/wire"
)

// In the tests that follow, package websocket meets the libraries of others in
// the same three conversations, as server and as client. Each side answers a
// message with the same message, but does as it is told by "ping", "fragments"
// and "close CODE REASON":
//
//  1. Messages of all kinds, until the client closes with 4001.
//  2. The client has the server close with 4002.
//  3. The client closes at once, as its library does by default.

// compressions are the ways for our side to compress all there is. Peers that
// are told "plain" do not offer it, others do if they can.
var compressions = map[string]*websocket.Compression{
	"plain":    nil,
	"deflate":  {Threshold: -1},
	"takeover": {Threshold: -1, ServerTakeover: true, ClientTakeover: true},
	"window":   {Threshold: -1, ServerTakeover: true, ClientTakeover: true, ServerWindowBits: 10, ClientWindowBits: 10},
}

// traffic is what was seen of frames: those sent and those received.
type traffic struct {
	mu         sync.Mutex // guards what follows
	compressed [2]int
	fragments  [2]int
}

const (
	received = iota
	sent
)

func (f *traffic) observe(frame websocket.FrameEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	direction := received
	if frame.Sent {
		direction = sent
	}
	if frame.RSV&wire.RSV1 != 0 {
		f.compressed[direction]++
	}
	if !frame.Fin {
		f.fragments[direction]++
	}
}

// check asserts which directions were compressed (RFC 7692 §6: "set the
// "Per-Message Compressed" bit"), and that both were fragmented if they can be.
func (f *traffic) check(t *testing.T, wantSent, wantReceived, peerFragments bool) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := f.compressed[sent] > 0; got != wantSent {
		t.Errorf("sent %d compressed messages", f.compressed[sent])
	}
	if got := f.compressed[received] > 0; got != wantReceived {
		t.Errorf("received %d compressed messages", f.compressed[received])
	}
	if f.fragments[sent] == 0 || peerFragments && f.fragments[received] == 0 {
		t.Errorf("%d fragments sent, %d received", f.fragments[sent], f.fragments[received])
	}
}

// An echoServer is our side for clients of others. It has an empty page, too.
type echoServer struct {
	*httptest.Server
	t       *testing.T
	options websocket.AcceptOptions
	group   websocket.Group
	talking sync.WaitGroup
	traffic traffic
	ends    chan string // of conversations: the HTTP version, and how they ended
}

// startHTTP2 is for newEchoServer, beside Start and StartTLS of httptest.
func startHTTP2(server *httptest.Server) {
	server.EnableHTTP2 = true
	server.StartTLS()
}

func newEchoServer(t *testing.T, compression *websocket.Compression, start func(*httptest.Server)) *echoServer {
	t.Helper()
	s := &echoServer{t: t, ends: make(chan string, 8)}
	s.options = websocket.AcceptOptions{
		Options:      websocket.Options{ReadLimit: 2 << 20, Compression: compression, Observe: s.traffic.observe},
		Subprotocols: []string{"other", "echo"},
		Group:        &s.group,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html lang="en"><title>page</title><link rel="icon" href="data:,"><body>page`)
	})
	mux.HandleFunc("/{$}", s.accept)
	s.Server = httptest.NewUnstartedServer(mux)
	start(s.Server)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.group.Shutdown(ctx); err != nil {
			t.Errorf("shut down: %v", err)
		}
		s.talking.Wait()
		s.Close()
	})
	return s
}

// address is for WebSockets.
func (s *echoServer) address() string { return strings.Replace(s.URL, "http", "ws", 1) + "/" }

func (s *echoServer) accept(w http.ResponseWriter, r *http.Request) {
	s.talking.Add(1)
	defer s.talking.Done()
	c, err := websocket.Accept(w, r, &s.options)
	if err != nil {
		s.t.Errorf("accept: %v", err)
		return
	}
	defer c.CloseNow()
	s.ends <- r.Proto + ": " + describe(s.converse(r.Context(), c))
}

// converse answers until the end.
func (s *echoServer) converse(ctx context.Context, c *websocket.Conn) error {
	var pinging sync.WaitGroup
	defer pinging.Wait()
	for {
		messageType, message, err := c.Read(ctx)
		if err != nil {
			return err
		}
		words := strings.SplitN(string(message), " ", 3)
		switch {
		case words[0] == "ping":
			// Ends with the pong, or with the connection. Joined above.
			pinging.Go(func() {
				if _, err := c.Ping(ctx); err != nil {
					s.t.Errorf("ping: %v", err)
				}
				if err := c.Write(ctx, websocket.Text, []byte("pong")); err != nil {
					s.t.Errorf("write after ping: %v", err)
				}
			})
		case words[0] == "fragments":
			err = writeFragments(ctx, c, "frag", "ments")
		case words[0] == "close" && len(words) == 3:
			code, _ := strconv.Atoi(words[1]) // Close judges it
			if err := c.Close(websocket.CloseCode(code), words[2]); err != nil {
				return err
			}
		default:
			err = c.Write(ctx, messageType, message)
		}
		if err != nil {
			return err
		}
	}
}

func writeFragments(ctx context.Context, c *websocket.Conn, parts ...string) error {
	w, err := c.Writer(ctx, websocket.Text)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if _, err := io.WriteString(w, part); err != nil {
			return errors.Join(err, w.Close())
		}
		if err := w.(interface{ Flush() error }).Flush(); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	return w.Close()
}

// describe says how a connection ended.
func describe(err error) string {
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
		by := "us"
		if closed.Remote {
			by = "the peer"
		}
		return fmt.Sprintf("%d %q by %s", closed.Code, closed.Reason, by)
	}
	return err.Error()
}

// checkEnds asserts that there were the three conversations, over an HTTP
// version, of which the last ended with that code and reason.
func (s *echoServer) checkEnds(version, last string) {
	s.t.Helper()
	var got []string
	for range 3 {
		select {
		case end := <-s.ends:
			got = append(got, end)
		case <-time.After(patience):
			s.t.Fatalf("not three conversations, but %q", got)
		}
	}
	slices.Sort(got)
	want := []string{
		version + ": " + last + " by the peer",
		version + `: 4001 "enough €" by the peer`,
		version + `: 4002 "bye €" by us`,
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("conversations ended with\n%q, not\n%q", got, want)
	}
}

// An echoPeer is a running server of others: a script that says on which ports
// it listens in which form, and how its connections end.
type echoPeer struct {
	*process
	fragments bool // it can send them
}

// address is for WebSockets.
func (p *echoPeer) address(t *testing.T, form string) string {
	t.Helper()
	var port string
	until(t, "the port for "+form, func() bool {
		if p.hasEnded() {
			t.Fatalf("%v ended: %s", p.cmd.Args, p.stderr.String())
		}
		for _, line := range p.stdout.lines() {
			if after, found := strings.CutPrefix(line, "listens "+form+" "); found {
				port = after
			}
		}
		return port != ""
	})
	return "ws://127.0.0.1:" + port + "/"
}

// meets has our client talk to it in forms by name: those of compressions, and
// others for some peers.
func (p *echoPeer) meets(t *testing.T, forms ...string) {
	for _, form := range forms {
		t.Run(form, func(t *testing.T) {
			options := websocket.DialOptions{Options: websocket.Options{ReadLimit: 2 << 20, Compression: compressions[form]}}
			offered, compressed := form, options.Compression != nil
			switch form {
			case "takeover", "window":
				offered = "deflate"
			case "declined": // our offer of compression
				offered, options.Compression = "plain", compressions["deflate"]
			case "http2":
				options.HTTP2 = &http.Transport{Protocols: new(http.Protocols)}
				options.HTTP2.Protocols.SetUnencryptedHTTP2(true)
				defer options.HTTP2.CloseIdleConnections()
			}
			var seen traffic
			options.Observe = seen.observe
			ended := func() (n int) {
				for _, line := range p.stdout.lines() {
					if line == "closed 4001 enough €" {
						n++
					}
				}
				return n
			}
			before := ended()
			talk(t, p.address(t, offered), options)
			until(t, "our close code and reason at the peer", func() bool { return ended() == before+1 })
			seen.check(t, compressed, compressed, p.fragments)
		})
	}
}

// talk has the three conversations as a client.
func talk(t *testing.T, address string, options websocket.DialOptions) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dial := func(subprotocols ...string) *websocket.Conn {
		t.Helper()
		options.Subprotocols = subprotocols
		c, _, err := websocket.Dial(ctx, address, &options)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.CloseNow)
		return c
	}

	c := dial("unknown", "echo")
	if c.Subprotocol() != "echo" {
		t.Errorf("subprotocol %q", c.Subprotocol())
	}
	receive := func(messageType websocket.MessageType, want []byte) {
		t.Helper()
		got, message, err := c.Read(ctx)
		if err != nil || got != messageType || !bytes.Equal(message, want) {
			t.Fatalf("got %v %.100q, %v; want %v %.100q", got, message, err, messageType, want)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	again := strings.Repeat("again and ", 1000)
	for _, message := range []any{"grüße 🦫", "", []byte{0, 255, 1}, noise, strings.Repeat("ü", 1<<19), again, again} {
		messageType, payload := websocket.Text, []byte(nil)
		switch message := message.(type) {
		case string:
			payload = []byte(message)
		case []byte:
			messageType, payload = websocket.Binary, message
		}
		if err := c.Write(ctx, messageType, payload); err != nil {
			t.Fatal(err)
		}
		receive(messageType, payload)
	}

	// A message in fragments, cut within a character, with a ping between them.
	w, err := c.Writer(ctx, websocket.Text)
	if err != nil {
		t.Fatal(err)
	}
	text := "frägmänts 🦫"
	io.WriteString(w, text[:3]) // as with Flush, errors stay until Close
	w.(interface{ Flush() error }).Flush()
	ping(ctx, t, c)
	io.WriteString(w, text[3:])
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	receive(websocket.Text, []byte(text))

	for asked, answer := range map[string]string{"fragments": "fragments", "ping": "pong"} {
		if err := c.Write(ctx, websocket.Text, []byte(asked)); err != nil {
			t.Fatal(err)
		}
		receive(websocket.Text, []byte(answer))
	}
	if err := c.Close(4001, "enough €"); err != nil {
		t.Errorf("close: %v", err)
	}

	c = dial("echo")
	if err := c.Write(ctx, websocket.Text, []byte("close 4002 bye €")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(ctx); err == nil || describe(err) != `4002 "bye €" by the peer` {
		t.Errorf("the peer closed with %v", err)
	}

	// None is chosen if none is offered.
	if c = dial(); c.Subprotocol() != "" {
		t.Errorf("subprotocol %q", c.Subprotocol())
	}
	if err := c.Close(websocket.CloseNormal, ""); err != nil {
		t.Errorf("close: %v", err)
	}
}

// ping waits for a pong while nothing else is expected, and leaves off reading
// then.
func ping(ctx context.Context, t *testing.T, c *websocket.Conn) {
	t.Helper()
	reading, cancel := context.WithCancel(ctx)
	var pinging sync.WaitGroup
	defer pinging.Wait()
	// Ends with the pong. Joined above.
	pinging.Go(func() {
		defer cancel()
		if _, err := c.Ping(ctx); err != nil {
			t.Errorf("ping: %v", err)
		}
	})
	if _, message, err := c.Read(reading); !errors.Is(err, context.Canceled) {
		t.Errorf("read %.100q, %v", message, err)
	}
}

// clientAbilities are those of a client of others.
type clientAbilities struct {
	inflate, deflate bool
	fragment         bool
	closes           string // with this code and reason, if it is not told any
}

// meetClient has a client of others talk to our server in all forms: a script
// that gets the address, the form, and the HTTP version to use.
func meetClient(t *testing.T, client func(t *testing.T, args ...string), start func(*httptest.Server), version string, can clientAbilities) {
	for form, compression := range compressions {
		t.Run(form, func(t *testing.T) {
			s := newEchoServer(t, compression, start)
			client(t, s.address(), form, version)
			s.checkEnds(version, can.closes)
			s.traffic.check(t, compression != nil && can.inflate, compression != nil && can.deflate, can.fragment)
		})
	}
}

func TestPythonWebSocketPeers(t *testing.T) {
	for module, can := range map[string]clientAbilities{
		"websocket":  {fragment: true, closes: `1000 ""`},
		"websockets": {inflate: true, deflate: true, fragment: true, closes: `1000 ""`},
		"aiohttp":    {inflate: true, deflate: true, closes: `1000 ""`},
	} {
		t.Run("client "+module, func(t *testing.T) {
			needs(t, module)
			script := "interop/" + module + "_client.py"
			client := func(t *testing.T, args ...string) { python(t, script, args...) }
			meetClient(t, client, (*httptest.Server).Start, "HTTP/1.1", can)
		})
	}
	for module, fragments := range map[string]bool{"websockets": true, "aiohttp": false} {
		t.Run("server "+module, func(t *testing.T) {
			needs(t, module)
			peer := &echoPeer{start(t, pythonCommand(t, "interop/"+module+"_server.py")), fragments}
			peer.meets(t, "plain", "deflate", "takeover", "window")
		})
	}
}
