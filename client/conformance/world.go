package conformance

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/client/conformance/hostile"
	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
	"github.com/duplexhq/duplex/view"
)

// bubbleAddr is where the server is in a bubble.
const bubbleAddr = "duplex.test:80"

// A world is a server and the network before it.
type world struct {
	t    testing.TB
	ping time.Duration
	url  string // for the client
	log  *memlog.Log

	proxy *hostile.Proxy   // on real sockets
	net   *testnet.Network // in a bubble
	addr  string           // of the server

	hub     *topic.Hub
	handler *view.Handler
	http    *http.Server
	gates   *gates

	mu      sync.Mutex // guards what follows
	network *hostile.Network
}

func newWorld(t testing.TB, agent *Agent, c *Case) *world {
	w := &world{t: t, ping: c.Ping, log: memlog.Open(nil), network: &c.Network}
	if agent.InBubble {
		w.net, w.addr = testnet.New(t), bubbleAddr
		w.net.Route = func(int) testnet.Path {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.network.Path()
		}
		w.url = "http://" + bubbleAddr
	}
	w.start()
	if w.net == nil {
		proxy, err := hostile.Listen(&c.Network, w.addr)
		if err != nil {
			t.Fatal(err)
		}
		w.proxy, w.url = proxy, "http://"+proxy.Addr
	}
	return w
}

func (w *world) dial() Network {
	if w.net == nil {
		return nil
	}
	return w.net.Dial
}

func (w *world) close() {
	w.stop(false)
	if w.proxy != nil {
		w.proxy.Close()
	}
	if err := w.log.Close(); err != nil {
		w.t.Error(err)
	}
}

// start runs a server on the log.
func (w *world) start() {
	listen := net.Listen
	if w.net != nil {
		listen = w.net.Listen
	} else {
		w.addr = "127.0.0.1:0" // where it was before, somebody else may be
	}
	listener, err := listen("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.addr = listener.Addr().String()
	if w.proxy != nil {
		w.proxy.Change(w.network, w.addr)
	}
	w.hub = topic.NewHub(w.log, &topic.HubOptions{Ping: w.ping})
	w.handler, err = view.New(w.hub, &view.Options{Ping: w.ping})
	if err != nil {
		w.t.Fatal(err)
	}
	w.gates = new(gates)
	w.http = &http.Server{Handler: w.handler}
	go w.http.Serve(w.gates.guard(listener)) // ends with the server
}

// stop ends the server: in good order, or at once.
func (w *world) stop(orderly bool) {
	if w.hub == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	if !orderly {
		w.cut()
		cancel()
	}
	_ = w.handler.Shutdown(ctx) // an error says that connections were cut
	if orderly {
		_ = w.http.Shutdown(ctx)
	}
	cancel()
	w.gates.cut()
	w.http.Close()
	w.hub.Close()
	w.hub = nil
}

func (w *world) act(a ServerAct) {
	switch a {
	case Kill:
		w.stop(false)
	case Drain:
		w.stop(true)
	case Start:
		w.start()
	case Freeze:
		w.gates.freeze()
	}
}

func (w *world) cut() {
	if w.net != nil {
		w.net.Cut()
	} else if w.proxy != nil {
		w.proxy.Cut()
	}
}

func (w *world) change(n *hostile.Network) {
	w.mu.Lock()
	w.network = n
	w.mu.Unlock()
	if w.proxy != nil {
		w.proxy.Change(n, w.addr)
	}
}

// publish appends an event, past the network; also while the server is away.
func (w *world) publish(name, data string) {
	draft := topic.Draft{Media: "text/plain", Data: []byte(data)}
	if _, err := w.log.Append(context.Background(), name, []topic.Draft{draft}, topic.Key{}); err != nil {
		w.t.Error(err)
	}
}

// history is the ids of what the topics of a pattern have.
func (w *world) history(pattern string) (ids []string) {
	after := "earliest"
	for {
		query := url.Values{"topic": {pattern}, "after": {after}, "limit": {"1000"}}
		r := httptest.NewRequest(http.MethodGet, "http://localhost/topics?"+query.Encode(), nil)
		answer := httptest.NewRecorder()
		w.handler.ServeHTTP(answer, r)
		var page struct {
			Events []struct{ ID string }
			Cursor string
			More   bool
		}
		if err := json.Unmarshal(answer.Body.Bytes(), &page); err != nil {
			w.t.Fatalf("history of %s: %v in %s", pattern, err, answer.Body)
		}
		for _, e := range page.Events {
			ids = append(ids, e.ID)
		}
		if !page.More {
			return ids
		}
		after = page.Cursor
	}
}

// gates are the connections of a server, which can be frozen: then they take
// and give nothing more, and nobody is told.
type gates struct {
	mu    sync.Mutex
	conns []*gate // guarded by mu
}

func (g *gates) guard(l net.Listener) net.Listener { return &gatedListener{l, g} }

func (g *gates) freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		c.once.Do(func() { close(c.frozen) })
	}
}

func (g *gates) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		c.Conn.Close()
	}
}

type gatedListener struct {
	net.Listener
	gates *gates
}

func (l *gatedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &gate{Conn: conn, frozen: make(chan struct{})}
	l.gates.mu.Lock()
	defer l.gates.mu.Unlock()
	l.gates.conns = append(l.gates.conns, c)
	return c, nil
}

type gate struct {
	net.Conn
	frozen chan struct{}
	once   sync.Once
}

func (g *gate) Write(p []byte) (int, error) {
	select {
	case <-g.frozen:
		return len(p), nil // nobody is told
	default:
		return g.Conn.Write(p)
	}
}

// Close of a frozen connection tells nobody, either.
func (g *gate) Close() error {
	select {
	case <-g.frozen:
		return g.Conn.SetReadDeadline(time.Now())
	default:
		return g.Conn.Close()
	}
}
