package h2_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/h2"
)

// A counter writes numbers to a stream that it has taken, in order, each as soon
// as the one before has left.
type counter struct {
	stream *h2.Stream
	mu     sync.Mutex // guards what follows
	next   int
	busy   bool
	over   bool
	gone   chan struct{}
}

const lastNumber = 300

// count writes the next number.
func (c *counter) count() {
	for {
		c.mu.Lock()
		if c.busy || c.over {
			c.mu.Unlock()
			return
		}
		if c.next == lastNumber {
			c.over = true
			c.mu.Unlock()
			if later := c.stream.Finish(); later != nil {
				later.Flush()
			}
			return
		}
		c.busy = true
		text := fmt.Sprintf("%d %s\n", c.next, strings.Repeat("x", c.next*37%5000))
		c.next++
		c.mu.Unlock()
		taken, later := c.stream.Write([]byte(text[:1]), []byte(text[1:]))
		if later != nil {
			later.Flush()
		}
		if !taken {
			return // Drained goes on
		}
		c.mu.Lock()
		c.busy = false
		c.mu.Unlock()
	}
}

func (c *counter) Drained() {
	c.mu.Lock()
	c.busy = false
	c.mu.Unlock()
	c.count()
}

func (c *counter) Closed(error) {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	close(c.gone)
}

// Over real connections, polled ones and those of TLS, everybody does what he
// likes. Nothing is lost, doubled or out of order, and everything ends.
func TestTorture(t *testing.T) {
	var taken sync.WaitGroup // until they have ended
	mux := http.NewServeMux()
	mux.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		c := &counter{gone: make(chan struct{})}
		stream, ok := h2.Take(w, c)
		if !ok {
			return // it was reset
		}
		c.stream = stream
		taken.Go(func() { // Ends, and is joined, with the test.
			c.count()
			<-c.gone
		})
		stream.Start()
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	certified := httptest.NewUnstartedServer(nil)
	certified.EnableHTTP2 = true
	certified.StartTLS()
	defer certified.Close()
	for _, secure := range []bool{false, true} {
		hs := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
		hs.Protocols.SetUnencryptedHTTP2(!secure)
		hs.Protocols.SetHTTP2(secure)
		server := h2.New(nil)
		var polled atomic.Int64
		server.Configure(hs, func(context.Context) func() {
			polled.Add(1)
			return func() { polled.Add(-1) }
		})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		base := "http://" + l.Addr().String()
		transport := &http.Transport{Protocols: hs.Protocols, HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 16 << 10}}
		var listener net.Listener = l
		if secure {
			base = "https://" + l.Addr().String()
			listener = secured{l, &tls.Config{Certificates: certified.TLS.Certificates, NextProtos: []string{"h2"}}}
			transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
		}
		go func() { _ = hs.Serve(listener) }()

		var clients sync.WaitGroup
		for i := range 30 {
			clients.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(i)))
				for range 4 {
					if random.IntN(3) == 0 {
						echo(t, transport, base, random.IntN(200_000))
						continue
					}
					readNumbers(t, transport, base, random)
				}
			})
		}
		clients.Wait()
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("TLS %v: %v", secure, err)
		}
		cancel()
		hs.Close()
		if n := polled.Load(); n != 0 {
			t.Errorf("TLS %v: %d connections are left", secure, n)
		}
	}
	taken.Wait()
}

// secured is as the listeners of package server are.
type secured struct {
	net.Listener
	config *tls.Config
}

func (l secured) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(h2.Soften(conn), l.config), nil
}

func echo(t *testing.T, transport *http.Transport, base string, size int) {
	text := strings.Repeat("y", size)
	r, err := http.NewRequestWithContext(t.Context(), "POST", base+"/echo", strings.NewReader(text))
	if err != nil {
		t.Error(err)
		return
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Error(err)
		return
	}
	defer response.Body.Close()
	if got, err := io.ReadAll(response.Body); err != nil || string(got) != text {
		t.Errorf("an echo of %d bytes: %d, %v", size, len(got), err)
	}
}

// readNumbers reads them, maybe slowly, and maybe not all.
func readNumbers(t *testing.T, transport *http.Transport, base string, random *rand.Rand) {
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r, err := http.NewRequestWithContext(ctx, "GET", base+"/count", nil)
	if err != nil {
		t.Error(err)
		return
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Error(err)
		return
	}
	defer response.Body.Close()
	until := lastNumber
	if random.IntN(2) == 0 {
		until = random.IntN(lastNumber)
	}
	lines := bufio.NewReader(response.Body)
	for n := range until {
		line, err := lines.ReadString('\n')
		var got int
		if _, scanErr := fmt.Sscanf(line, "%d ", &got); err != nil || scanErr != nil || got != n || len(line) != len(fmt.Sprint(n))+2+n*37%5000 {
			t.Errorf("number %d: %.20q, %v", n, line, err)
			return
		}
	}
	if until == lastNumber {
		if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
			t.Errorf("at the end: %d bytes, %v", len(rest), err)
		}
	}
}
