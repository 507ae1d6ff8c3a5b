package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
	"github.com/duplexhq/duplex/view/viewtest"
)

// names answers questions of DNS about one name, by what it is told last.
type names struct {
	mu    sync.Mutex
	addrs []netip.Addr // guarded by mu
}

func (n *names) set(addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs = nil
	for _, a := range addrs {
		n.addrs = append(n.addrs, netip.MustParseAddr(a))
	}
}

// dialer asks for names here, and runs control before it connects.
func (n *names) dialer(control func(ctx context.Context, network string) error) *net.Dialer {
	return &net.Dialer{
		Resolver: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
			asker, server := net.Pipe()
			go n.serve(server) // ends with the asker
			return asker, nil
		}},
		ControlContext: func(ctx context.Context, network, _ string, _ syscall.RawConn) error { return control(ctx, network) },
	}
}

// serve speaks DNS as over TCP (RFC 1035 §4.2.2), as far as net asks.
func (n *names) serve(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 1024)
	for {
		if _, err := conn.Read(buffer[:2]); err != nil {
			return
		}
		size := int(binary.BigEndian.Uint16(buffer))
		for got := 0; got < size; {
			more, err := conn.Read(buffer[got:size])
			if err != nil {
				return
			}
			got += more
		}
		if _, err := conn.Write(n.answer(buffer[:size])); err != nil {
			return
		}
	}
}

func (n *names) answer(query []byte) []byte {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	question := query[12 : end+5]
	kind := binary.BigEndian.Uint16(query[end+1:]) // 1 is A, 28 is AAAA
	var answers []byte
	count := 0
	n.mu.Lock()
	for _, a := range n.addrs {
		if kind == 1 != a.Is4() || kind != 1 && kind != 28 {
			continue
		}
		count++
		answers = append(answers, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(a.BitLen()/8))
		answers = append(answers, a.AsSlice()...)
	}
	n.mu.Unlock()
	reply := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, byte(count), 0, 0, 0, 0}, question...)
	reply = append(reply, answers...)
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)
}

// serveAt runs a server of the log at an address, until stop.
func serveAt(t *testing.T, address string, log topic.Log) (stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := viewtest.New(t, log, nil)
	server.Serve(listener)
	return sync.OnceFunc(server.Close)
}

// An address to which packets vanish does not keep the other from being used,
// and a name is asked for anew for each connection.
func TestNames(t *testing.T) {
	log := memlog.Open(nil)
	t.Cleanup(func() { log.Close() })
	port := strconv.Itoa(testnet.Ports(t, 1)[0]) // of two addresses, one after the other
	stop := serveAt(t, "127.0.0.1:"+port, log)
	defer stop()

	known := new(names)
	known.set("2001:db8::1", "127.0.0.1")
	dialer := known.dialer(func(ctx context.Context, network string) error {
		if network != "tcp6" {
			return nil
		}
		<-ctx.Done() // a black hole
		return context.Cause(ctx)
	})
	c, err := New("http://duplex.example:"+port, &Options{
		HTTP: &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}, Memory: new(Memory), Backoff: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	publish := func(data string) {
		draft := topic.Draft{Media: "text/plain", Data: []byte(data)}
		if _, err := log.Append(t.Context(), "a", []topic.Draft{draft}, topic.Key{}); err != nil {
			t.Fatal(err)
		}
	}
	publish("one")
	var got []string
	for e, err := range c.Subscribe(t.Context(), []string{"a"}, &SubscribeOptions{After: Earliest}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, string(e.Data)); len(got) == 2 {
			break
		}
		if transport := c.Status().Transport; transport != WebSocket {
			t.Errorf("connected by %q, though the way is free", transport)
		}
		stopOther := serveAt(t, "127.0.0.2:"+port, log)
		defer stopOther()
		known.set("127.0.0.2")
		stop()
		publish("two")
	}
	wantList(t, "yielded", got, "one", "two")
}

// A server that speaks only HTTP/2, without WebSocket over it.
func TestOnlyHTTP2(t *testing.T) {
	topics := viewtest.New(t, nil, nil)
	server := httptest.NewUnstartedServer(topics)
	server.TLS = &tls.Config{NextProtos: []string{"h2"}}
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP2(true)
	server.StartTLS()
	t.Cleanup(func() {
		topics.Close()
		server.Close()
	})
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	c, err := New(server.URL, &Options{HTTP: &http.Client{Transport: transport}, Memory: new(Memory)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Publish(t.Context(), "a", []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	for _, err := range c.Subscribe(t.Context(), []string{"a"}, &SubscribeOptions{After: Earliest}) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	// The status of what was, with why there was no WebSocket.
	if why := c.Status().Failed[WebSocket]; why == nil {
		t.Error("there was a WebSocket")
	}
}

// UDP is blocked: a session of WebTransport never opens.
func TestUDPBlocked(t *testing.T) {
	s := &script{t: t, transport: SSE, connections: [][]string{{ping("e-0"), event("e-1")}}}
	bubble(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.serve(w, r)
	}, func(t *testing.T, c *Client) {
		c.opts.WebTransport = func(ctx context.Context, _ *url.URL, _ http.Header) (MessageConn, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		if err := c.Use(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := collect(t.Context(), c, []string{"a"}, nil, 1); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != stagger+grace {
			t.Errorf("the first event came after %v, want %v", took, stagger+grace)
		}
		if why := c.Status().Failed[WebTransport]; why != errNoUDP {
			t.Errorf("WebTransport failed because of %v", why)
		}
	})
}

// Clocks that are years apart: what the server asks for is understood by its
// own, and a certificate that is not valid yet is waited for.
func TestWrongClock(t *testing.T) {
	requests := 0
	bubble(t, func(w http.ResponseWriter, r *http.Request) {
		if requests++; requests == 1 {
			date := time.Date(2036, 8, 22, 10, 0, 0, 0, time.UTC)
			w.Header().Set("Date", date.Format(http.TimeFormat))
			w.Header().Set("Retry-After", date.Add(20*time.Second).Format(http.TimeFormat))
			refuse(w, http.StatusServiceUnavailable, "unavailable")
			return
		}
		send(t, SSE, w, r, []string{event("e-1")}, true)
	}, func(t *testing.T, c *Client) {
		began := time.Now()
		if _, err := collectBy(t, c, SSE, []string{"a"}, 1); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 20*time.Second || took > 30*time.Second {
			t.Errorf("took %v, with a Retry-After of 20 s", took)
		}
	})

	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	long := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	config := &tls.Config{RootCAs: roots, Time: func() time.Time { return long.AddDate(-1, 0, 0) }}
	c, err := New(server.URL, &Options{
		HTTP: &http.Client{Transport: &http.Transport{TLSClientConfig: config}}, Memory: new(Memory),
		Retry: func(cause error, _ time.Duration) bool { return false }, // asked, so it may pass
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = collect(t.Context(), c, []string{"a"}, nil, 1)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok || !strings.Contains(err.Error(), "not yet valid") {
		t.Errorf("got %v, want to be told of the certificate", err)
	}
}
