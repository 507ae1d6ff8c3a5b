package h2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/duplexhq/duplex/internal/h2"
)

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

// What a handler announces, it has to keep (RFC 9113 §8.1.1).
func TestContentLength(t *testing.T) {
	within(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hel")
		if r.URL.Path == "/long" {
			if _, err := io.WriteString(w, "lo!"); !errors.Is(err, http.ErrContentLength) {
				t.Error(err)
			}
			_, _ = io.WriteString(w, "lo")
		}
	}, func(t *testing.T, s *site) {
		p := s.dial(t)
		p.request(1, "GET", "/long", true)
		p.want("HEADERS 200, DATA END")
		p.request(3, "GET", "/short", true)
		p.want("RST_STREAM INTERNAL_ERROR")
	})
}

// A request that cannot be given to a handler is answered.
func TestRefused(t *testing.T) {
	within(t, h2.Options{MaxHeaderBytes: 4 << 10}, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s", r.Method, r.URL)
	}, func(t *testing.T, s *site) {
		p := s.dial(t)
		p.request(1, "GET", "/", true, "a", strings.Repeat("x", 3000), "b", strings.Repeat("x", 3000))
		p.want("HEADERS 431, DATA END")
		p.request(3, "HEAD", "/", true, "a", strings.Repeat("x", 3000), "b", strings.Repeat("x", 3000))
		p.want("HEADERS 431 END")
		p.request(5, "GET", "/%zz", true)
		p.want("HEADERS 400, DATA END")
	})
}

// RFC 9113 §8.2.2: no connection-specific fields, and Connection: close is
// GOAWAY.
func TestConnectionFields(t *testing.T) {
	within(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		for _, key := range []string{"Keep-Alive", "Proxy-Connection", "Upgrade", "Transfer-Encoding"} {
			w.Header().Set(key, "x")
		}
		w.Header().Set("Connection", "close")
		hello(w, r)
	}, func(t *testing.T, s *site) {
		response, err := s.client.RoundTrip(must(http.NewRequestWithContext(t.Context(), "GET", "http://site:80/", nil)))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if len(response.Header) != 3 { // Content-Type, Content-Length, Date
			t.Error(response.Header)
		}
		p := s.dial(t)
		p.request(1, "GET", "/", true)
		if p.want("HEADERS 200, GOAWAY NO_ERROR, DATA END"); !p.hasEnded() {
			time.Sleep(2 * time.Second)
			if !p.hasEnded() {
				t.Error("it goes on")
			}
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// The body of a request is taken as it is read, and no further.
func TestRequestWindow(t *testing.T) {
	var read chan int // of the bubble
	within(t, h2.Options{StreamWindow: 40_000, ConnectionWindow: 100_000}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			<-r.Context().Done()
			return
		}
		for n := range read {
			if _, err := io.ReadFull(r.Body, make([]byte, n)); err != nil {
				t.Error(err)
			}
		}
	}, func(t *testing.T, s *site) {
		read = make(chan int)
		p := s.dial(t)
		p.request(1, "POST", "/", false)
		p.request(3, "POST", "/busy", false)
		p.WriteData(1, false, make([]byte, 16_000))
		p.WriteData(1, false, make([]byte, 16_000))
		p.WriteData(3, false, make([]byte, 16_000))
		p.want("")
		read <- 5_000
		p.want("")
		read <- 20_000
		p.want("WINDOW_UPDATE, WINDOW_UPDATE") // of the stream, of the connection
		p.WriteRSTStream(3, http2.ErrCodeCancel)
		p.WriteData(1, true, make([]byte, 16_000))
		synctest.Wait()
		close(read)
		p.want("HEADERS 200 END, WINDOW_UPDATE") // what was not read is given back
		p.request(5, "POST", "/busy", false)
		for range 4 {
			p.WriteData(5, false, make([]byte, 16_000))
		}
		p.want("RST_STREAM FLOW_CONTROL_ERROR, WINDOW_UPDATE")
	})
}

// RFC 9113 §8.1: the rest of a request is not wanted when its answer is
// complete.
func TestEarlyAnswer(t *testing.T) {
	within(t, h2.Options{}, hello, func(t *testing.T, s *site) {
		p := s.dial(t)
		p.request(1, "POST", "/", false)
		p.want("HEADERS 200, DATA END, RST_STREAM NO_ERROR")
		p.WriteData(1, true, make([]byte, 1000))
		p.request(3, "GET", "/", true)
		p.want("HEADERS 200, DATA END")
	})
}

// A handler writes no faster than its client reads, and is told when that takes
// too long.
func TestSlowReader(t *testing.T) {
	var took chan time.Duration // of the bubble
	within(t, h2.Options{WriteTimeout: 20 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		if r.URL.Path == "/deadline" {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(5 * time.Second))
		}
		_, err := w.Write(make([]byte, 100_000))
		if r.URL.Path != "/" && !errors.Is(err, os.ErrDeadlineExceeded) || r.URL.Path == "/" && err != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		took <- time.Since(began)
	}, func(t *testing.T, s *site) {
		took = make(chan time.Duration, 1)
		p := s.dial(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 40_000})
		p.WriteWindowUpdate(0, 1<<20)
		for id, test := range []struct {
			path  string
			moves bool
			want  time.Duration
			end   string
		}{
			{"/", true, 25 * time.Second, "HEADERS 200, DATA, DATA, DATA, DATA, DATA, DATA, DATA, DATA, DATA END"},
			{"/stalled", false, 20 * time.Second, "HEADERS 200, DATA, DATA, DATA, RST_STREAM CANCEL"},
			{"/deadline", true, 5 * time.Second, "HEADERS 200, DATA, DATA, DATA, DATA, RST_STREAM CANCEL"},
		} {
			id := uint32(2*id + 1)
			p.request(id, "GET", test.path, true)
			if test.moves { // slowly, but it does
				synctest.Wait()
				for range 3 {
					if time.Sleep(4 * time.Second); test.path == "/deadline" {
						p.WriteWindowUpdate(id, 1)
						break
					}
					p.WriteWindowUpdate(id, 10_000)
				}
				if test.path == "/" {
					time.Sleep(13 * time.Second)
					p.WriteWindowUpdate(id, 1<<20)
				}
			}
			if got := <-took; got != test.want {
				t.Errorf("%s: %v, want %v", test.path, got, test.want)
			}
			if got := p.got(); got != test.end {
				t.Errorf("%s: %s", test.path, got)
			}
		}
	})
}

// A stalled stream holds up no other, and what its handler has written is sent
// without it.
func TestStalledSibling(t *testing.T) {
	within(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		hello(w, r)
	}, func(t *testing.T, s *site) {
		p := s.dial(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		p.request(1, "GET", "/", true)
		p.request(3, "GET", "/", true)
		p.want("HEADERS 200, HEADERS 200")
		p.WriteWindowUpdate(3, 100)
		p.want("DATA END")
		p.WriteWindowUpdate(1, 3)
		p.want("DATA")
		p.WriteWindowUpdate(1, 3)
		if p.want("DATA END"); p.data[1] != "hello" || p.data[3] != "hello" {
			t.Error(p.data)
		}
	})
}

func TestIdle(t *testing.T) {
	within(t, h2.Options{IdleTimeout: time.Minute, Ping: 10 * time.Minute}, hello, func(t *testing.T, s *site) {
		p := s.dial(t)
		time.Sleep(50 * time.Second)
		p.request(1, "GET", "/", true)
		synctest.Wait()
		p.got()
		time.Sleep(59 * time.Second)
		p.want("")
		time.Sleep(2 * time.Second)
		p.want("GOAWAY NO_ERROR")
		time.Sleep(2 * time.Second)
		if !p.hasEnded() {
			t.Error("it goes on")
		}
	})
}

// Who says nothing is asked, and cut if there is no answer.
func TestSilence(t *testing.T) {
	within(t, h2.Options{Ping: 10 * time.Second, PingTimeout: 5 * time.Second, GreetTimeout: 3 * time.Second}, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	}, func(t *testing.T, s *site) {
		p := s.dial(t)
		p.request(1, "GET", "/", true)
		synctest.Wait()
		time.Sleep(10 * time.Second)
		p.want("PING")
		time.Sleep(4 * time.Second)
		p.WritePing(true, [8]byte([]byte("duplexh2")))
		time.Sleep(9 * time.Second)
		p.want("")
		time.Sleep(time.Second)
		p.want("PING")
		time.Sleep(5 * time.Second)
		if !p.hasEnded() {
			t.Error("it goes on")
		}

		mute, err := s.network.Dial(t.Context(), "tcp", "site:80")
		if err != nil {
			t.Fatal(err)
		}
		defer mute.Close()
		began := time.Now()
		_, _ = io.WriteString(mute, http2.ClientPreface)
		_, _ = io.Copy(io.Discard, mute)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("cut after %v", took)
		}
	})
}

// No more handlers run than may be open, however fast requests are reset
// (CVE-2023-44487), also by means of the server (CVE-2025-8671).
func TestHandlersAreCounted(t *testing.T) {
	for name, reset := range map[string]func(p *peer, id uint32){
		"RST_STREAM":       func(p *peer, id uint32) { p.WriteRSTStream(id, http2.ErrCodeCancel) },
		"WINDOW_UPDATE":    func(p *peer, id uint32) { p.WriteWindowUpdate(id, 0) },
		"too large a body": func(p *peer, id uint32) { p.WriteData(id, true, make([]byte, 10)) },
	} {
		var busy chan struct{} // of the bubble
		var mu sync.Mutex      // guards both
		running, most := 0, 0
		within(t, h2.Options{MaxStreams: 5}, func(http.ResponseWriter, *http.Request) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			<-busy
			mu.Lock()
			running--
			mu.Unlock()
		}, func(t *testing.T, s *site) {
			busy = make(chan struct{})
			p := s.dial(t)
			for id := uint32(1); id < 200 && !p.hasEnded(); id += 2 {
				p.request(id, "POST", "/", false, "content-length", "5")
				reset(p, id)
			}
			if got := p.got(); !strings.HasSuffix(got, "GOAWAY ENHANCE_YOUR_CALM") || most != 5 {
				t.Errorf("%s: %d handlers, %s", name, most, got)
			}
			close(busy)
			synctest.Wait()
			if running != 0 || most != 5 {
				t.Errorf("%s: %d of %d handlers are left", name, running, most)
			}
		})
	}
}

// For a client that reads nothing, few handlers make answers.
func TestDeafClient(t *testing.T) {
	var running atomic.Int64
	within(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Add(-1)
		_, _ = w.Write(make([]byte, 100_000))
	}, func(t *testing.T, s *site) {
		conn, err := s.network.Dial(t.Context(), "tcp", "site:80")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var out bytes.Buffer
		p := &peer{Framer: http2.NewFramer(&out, nil)}
		out.WriteString(http2.ClientPreface)
		p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		p.WriteWindowUpdate(0, 1<<30)
		for id := uint32(1); id < 400; id += 2 {
			p.request(id, "GET", "/", true)
		}
		_, _ = conn.Write(out.Bytes())
		synctest.Wait()
		if n := running.Load(); n != 32 {
			t.Errorf("%d handlers", n)
		}
		frames := http2.NewFramer(nil, conn)
		for ended := 0; ended < 200; { // they go on when it reads
			f, err := frames.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if d, ok := f.(*http2.DataFrame); ok && d.StreamEnded() {
				ended++
			}
		}
		conn.Close()
		synctest.Wait()
		if n := running.Load(); n != 0 {
			t.Errorf("%d handlers", n)
		}
	})
}

// Requests that wait for a handler are answered.
func TestWaitingRequests(t *testing.T) {
	var gate chan struct{} // of the bubble
	within(t, h2.Options{MaxStreams: 1}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-gate
			return
		}
		hello(w, r)
	}, func(t *testing.T, s *site) {
		gate = make(chan struct{})
		p := s.dial(t)
		p.request(1, "GET", "/slow", true)
		p.WriteRSTStream(1, http2.ErrCodeCancel)
		p.request(3, "GET", "/", true)
		p.want("")
		close(gate)
		p.want("HEADERS 200, DATA END")
	})
}

func TestShutdown(t *testing.T) {
	var gate chan struct{} // of the bubble
	within(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-gate
		}
		hello(w, r)
	}, func(t *testing.T, s *site) {
		gate = make(chan struct{})
		idle, busy := s.dial(t), s.dial(t)
		busy.request(1, "GET", "/slow", true)
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- s.server.Shutdown(t.Context()) }()
		idle.want("GOAWAY NO_ERROR, GOAWAY NO_ERROR")
		busy.want("GOAWAY NO_ERROR")
		busy.request(3, "GET", "/", true) // it was under way
		busy.want("HEADERS 200, DATA END")
		time.Sleep(time.Second)
		busy.want("GOAWAY NO_ERROR")
		busy.request(5, "GET", "/", true) // too late
		busy.want("")
		close(gate)
		busy.want("HEADERS 200, DATA END")
		time.Sleep(2 * time.Second)
		if err := <-done; err != nil || !idle.hasEnded() || !busy.hasEnded() {
			t.Errorf("%v", err)
		}
	})
	within(t, h2.Options{}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(t *testing.T, s *site) {
		p := s.dial(t)
		p.request(1, "GET", "/", true)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !p.hasEnded() {
			t.Errorf("%v", err)
		}
	})
}

// RFC 9113 §8.4.
func TestPush(t *testing.T) {
	within(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/style.css" {
			if err := w.(http.Pusher).Push("/more", nil); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("of a push: %v", err)
			}
			_, _ = io.WriteString(w, r.Method+" "+r.Host+" "+r.Header.Get("Accept"))
			return
		}
		if r.URL.Path == "/no" {
			if err := w.(http.Pusher).Push("/style.css", nil); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("a client that wants none: %v", err)
			}
			return
		}
		for target, opts := range map[string]*http.PushOptions{
			"style.css":              nil,
			"http://elsewhere/a.css": nil,
			"/a.css":                 {Method: "POST"},
			"/b.css":                 {Header: http.Header{"Content-Length": {"5"}}},
			"/c.css":                 {Header: http.Header{":path": {"/"}}},
		} {
			if err := w.(http.Pusher).Push(target, opts); err == nil || errors.Is(err, http.ErrNotSupported) {
				t.Errorf("%s: %v", target, err)
			}
		}
		if err := w.(http.Pusher).Push("/style.css", &http.PushOptions{Header: http.Header{"Accept": {"text/css"}}}); err != nil {
			t.Error(err)
		}
		hello(w, r)
	}, func(t *testing.T, s *site) {
		p := s.dial(t)
		p.request(1, "GET", "/", true)
		got := p.got()
		if !strings.HasPrefix(got, "PUSH_PROMISE") || strings.Count(got, "HEADERS 200, DATA END") != 2 && strings.Count(got, "DATA END") != 2 {
			t.Error(got)
		}
		if p.data[1] != "hello" || p.data[2] != "GET site text/css" {
			t.Error(p.data)
		}
		p = s.dial(t, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
		p.request(1, "GET", "/no", true)
		p.want("HEADERS 200 END")
	})
}

// What is sent first, a client decides (RFC 9218).
func TestPriority(t *testing.T) {
	within(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte(r.URL.Path[1:]), 200_000))
	}, func(t *testing.T, s *site) {
		p := s.dial(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		p.request(1, "GET", "/a", true, "priority", "u=5")
		p.request(3, "GET", "/b", true, "priority", "u=1")
		synctest.Wait()
		if len(p.data[1])+len(p.data[3]) != 65535 {
			t.Fatalf("%d and %d bytes", len(p.data[1]), len(p.data[3]))
		}
		before := len(p.data[1])
		p.WriteWindowUpdate(0, 40_000)
		synctest.Wait()
		if got := len(p.data[1]) - before; got != 0 || len(p.data[3]) != 65535-before+40_000 {
			t.Errorf("%d bytes of the less urgent one", got)
		}
		p.WriteRawFrame(0x10, 0, 0, append([]byte{0, 0, 0, 1}, "u=0"...)) // PRIORITY_UPDATE
		p.WriteWindowUpdate(0, 40_000)
		synctest.Wait()
		if got := len(p.data[1]) - before; got != 40_000 {
			t.Errorf("%d bytes of what has become urgent", got)
		}
	})
}

// RFC 8441.
func TestExtendedConnect(t *testing.T) {
	within(t, h2.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header[":protocol"]; r.Method != "CONNECT" || len(got) != 1 || got[0] != "websocket" || r.ContentLength != -1 || r.URL.Path != "/chat" {
			t.Errorf("%s %s %q %d", r.Method, r.URL, got, r.ContentLength)
		}
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		if n, err := r.Body.Read(nil); n != 0 || err != nil { // it waits for bytes
			t.Error(n, err)
		}
		buf := make([]byte, 10)
		n, _ := r.Body.Read(buf)
		_, _ = w.Write(buf[:n])
	}, func(t *testing.T, s *site) {
		p := s.dial(t)
		p.request(1, "CONNECT", "/chat", false, ":protocol", "websocket")
		p.want("HEADERS 200")
		p.WriteData(1, false, []byte("hello"))
		if p.want("DATA END, RST_STREAM NO_ERROR"); p.data[1] != "hello" {
			t.Error(p.data)
		}
	})
}
