package wstalk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/websocket"
)

// A server speaks WebSocket with whoever comes, in a bubble.
type server struct {
	t       *testing.T
	network *testnet.Network
	opts    *websocket.AcceptOptions
	handler func(*websocket.Conn, *http.Request)
	refuse  []int // statuses that answer the next handshakes
	url     string
	running sync.WaitGroup
}

// bubble runs f with a server inside a synctest bubble.
func bubble(t *testing.T, handler func(*websocket.Conn, *http.Request), f func(t *testing.T, s *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &server{t: t, network: testnet.New(t), handler: handler, url: "ws://server.test/room", opts: &websocket.AcceptOptions{
			Subprotocols: []string{"chat", "chess"},
		}}
		listener, err := s.network.Listen("tcp", "server.test:80")
		if err != nil {
			t.Fatal(err)
		}
		web := &http.Server{Handler: s}
		s.running.Go(func() { _ = web.Serve(listener) })
		t.Cleanup(func() {
			web.Close()
			s.running.Wait()
		})
		f(t, s)
	})
}

// ServeHTTP implements http.Handler. A handler that ends leaves the connection
// without a goodbye.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(s.refuse) > 0 {
		http.Error(w, "no", s.refuse[0])
		s.refuse = s.refuse[1:]
		return
	}
	s.running.Add(1) // net/http forgets those that it has given away
	defer s.running.Done()
	conn, err := websocket.Accept(w, r, s.opts)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer conn.CloseNow()
	s.handler(conn, r)
}

// echo sends back what comes, except what tells it to do something else:
// "ping", "drop", "bytes HEX" and "close CODE REASON".
func echo(c *websocket.Conn, _ *http.Request) {
	ctx := context.Background()
	for {
		kind, data, err := c.Read(ctx)
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(string(data), " ")
		switch verb {
		case "ping":
			c.WriteFrames(ctx, websocket.AppendPing(nil))
			continue
		case "drop":
			return
		case "bytes":
			kind = websocket.Binary
			data, _ = parseHex(arg)
		case "close":
			code, reason, err := parseCloseArgs(arg)
			if err != nil {
				panic(err)
			}
			c.Close(code, reason)
			return
		}
		if c.Write(ctx, kind, data) != nil {
			return
		}
	}
}

// silent reads, and says nothing.
func silent(c *websocket.Conn, _ *http.Request) {
	for {
		if _, _, err := c.Read(context.Background()); err != nil {
			return
		}
	}
}

// A conversation is a Run that is under way.
type conversation struct {
	t     *testing.T
	in    *io.PipeWriter
	out   *output
	notes *output
	stop  context.CancelFunc
	over  chan error
}

// begin runs with these options, to which it adds what nobody wants to choose,
// and an input that is written by say.
func (s *server) begin(o Options) *conversation {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	in, write := io.Pipe()
	c := &conversation{t: s.t, in: write, out: new(output), notes: new(output), stop: stop, over: make(chan error, 1)}
	o.Dial.NetDial, o.Dial.Proxy = s.network.Dial, http.ProxyURL(nil)
	if o.In == nil {
		o.In = in
	}
	if o.Out == nil {
		o.Out = c.out
	}
	o.Err = c.notes
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	go func() { c.over <- Run(ctx, s.url, &o) }()
	s.t.Cleanup(func() {
		write.Close()
		stop()
	})
	synctest.Wait()
	return c
}

// say types lines, and gives each the time that it needs.
func (c *conversation) say(lines ...string) {
	c.t.Helper()
	for _, line := range lines {
		if _, err := io.WriteString(c.in, line+"\n"); err != nil {
			c.t.Fatal(err)
		}
		synctest.Wait()
	}
}

// end waits for the error of Run.
func (c *conversation) end() error { return <-c.over }

// endWell wants none.
func (c *conversation) endWell() {
	c.t.Helper()
	if err := c.end(); err != nil {
		c.t.Errorf("ended with %v", err)
	}
}

// An output is what was printed, or noted.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// want compares all that has been printed since the last time.
func (o *output) want(t *testing.T, want string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if got := o.text.String(); got != want {
		t.Errorf("printed\n%q, want\n%q", got, want)
	}
	o.text.Reset()
}

// run runs to the end, with all of the input.
func (s *server) run(in string, o Options) (out, notes string, err error) {
	s.t.Helper()
	o.In = strings.NewReader(in)
	c := s.begin(o)
	err = c.end()
	return c.out.String(), c.notes.String(), err
}

func fileOf(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// wantUsage wants an error of the user's that holds a text.
func wantUsage(t *testing.T, what string, err error, want string) {
	t.Helper()
	if _, ok := errors.AsType[UsageError](err); !ok || !strings.Contains(err.Error(), want) {
		t.Errorf("%.100s: %v, want %q", what, err, want)
	}
}

// wantFailure wants an error that is nothing but a failure, with a text.
func wantFailure(t *testing.T, what string, err error, want string) {
	t.Helper()
	if _, ok := errors.AsType[*failure](err); !ok || errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), want) {
		t.Errorf("%.100s: %v, want %q", what, err, want)
	}
}
