package conformance

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
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
const bubbleAddr = "192.0.2.2:443" // RFC 5737 §3: for documentation

// A world is a server and the network before it.
type world struct {
	t    testing.TB
	ping time.Duration
	url  string // for the client
	log  *memlog.Log

	proxy *hostile.Proxy   // on real sockets
	net   *testnet.Network // in a bubble
	air   *air             // in a bubble, for datagrams
	addr  string           // of the server

	hub     *topic.Hub
	handler *view.Handler
	http    *http.Server
	gates   *gates
	udp     bool
	http3   *http3Server // nil unless udp

	mu      sync.Mutex // guards what follows
	network *hostile.Network
}

func newWorld(t testing.TB, agent *Agent, c *Case) *world {
	w := &world{t: t, ping: c.Ping, log: memlog.Open(nil), network: &c.Network, udp: c.UDP}
	scheme, listen := "http://", hostile.Listen
	if w.udp {
		scheme, listen = "https://", hostile.ListenUDP
	}
	if agent.InBubble {
		w.net = testnet.New(t)
		w.net.Route = func(int) testnet.Path { return w.present().Path() }
		w.air = newAir(w.present)
		w.url = scheme + bubbleAddr
	}
	w.start()
	if w.net == nil {
		proxy, err := listen(&c.Network, w.addr)
		if err != nil {
			t.Fatal(err)
		}
		w.proxy, w.url = proxy, scheme+proxy.Addr
	}
	return w
}

func (w *world) present() *hostile.Network {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.network
}

func (w *world) dial() Network {
	if w.net == nil {
		return Network{}
	}
	return Network{Dial: w.net.Dial, OpenUDP: w.air.open}
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
	var listener net.Listener
	var packets net.PacketConn
	var err error
	if w.net != nil {
		packets = w.air.serve()
		listener, err = w.net.Listen("tcp", bubbleAddr)
	} else {
		listener, packets, err = testnet.ListenBoth() // where it was before, somebody else may be
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.addr = listener.Addr().String()
	if w.proxy != nil {
		w.proxy.Change(w.network, w.addr)
	}
	w.hub = topic.NewHub(w.log, &topic.HubOptions{Ping: w.ping})
	opts := &view.Options{Ping: w.ping}
	if w.udp {
		w.http3 = newHTTP3Server(packets)
		opts.WebTransport = w.http3.accept
	}
	w.handler, err = view.New(w.hub, opts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.gates = new(gates)
	listener = w.gates.guard(listener)
	if w.udp {
		listener = tls.NewListener(listener, secure().server)
		if err := w.http3.serve(w.handler); err != nil {
			w.t.Fatal(err)
		}
	} else {
		packets.Close()
	}
	w.http = &http.Server{Handler: w.handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)} // clients drop what they probe with
	go w.http.Serve(listener)                                                                      // ends with the server
}

// stop ends the server: in good order, or at once.
func (w *world) stop(orderly bool) {
	if w.hub == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	if !orderly {
		w.cut()
		w.http3.cut()
		cancel()
	}
	_ = w.handler.Shutdown(ctx) // an error says that connections were cut
	if orderly {
		_ = w.http.Shutdown(ctx)
	}
	cancel()
	w.http3.close()
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

// rebind has datagrams come from somewhere else.
func (w *world) rebind() {
	if w.air != nil {
		w.air.rebind()
	} else {
		w.proxy.Rebind()
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

// beyond is a cursor beyond the end of the log, in an epoch that it knows.
func (w *world) beyond() string {
	end := w.log.End()
	end.Seq += 1000
	return end.String()
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
