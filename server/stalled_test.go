package server

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// long is longer than what the two ends keep of an answer between them.
const long = 1 << 20

// answering is how many requests the server is busy with.
func (s *Server) answering() int {
	synctest.Wait()
	s.progress.mu.Lock()
	defer s.progress.mu.Unlock()
	return s.progress.requests
}

// wantStalled waits until the one request that stalls is given up.
func (s *Server) wantStalled(t *testing.T, path string, limit time.Duration) {
	t.Helper()
	synctest.Wait()
	time.Sleep(limit - time.Second)
	if n := s.answering(); n != 1 {
		t.Errorf("%s: %d requests before the time is over", path, n)
	}
	time.Sleep(2 * time.Second)
	if n := s.answering(); n != 0 {
		t.Errorf("%s: %d requests when the time is over", path, n)
	}
}

// PROTOCOL.md §5.17: "A connection that takes no byte for --write-timeout is
// cut", also if it asked for a page; one that is only slow is not.
func TestStalledAnswerIsCut(t *testing.T) {
	const limit = 40 * time.Second
	for _, path := range []string{"/topics/a", "/topics/a?as=html", "/topics/a?as=longpoll&after=earliest", "/topics/a?as=sse&after=earliest"} {
		synctest.Test(t, func(t *testing.T) {
			s, network := startPiped(t, &Config{WriteTimeout: limit})
			publishTo(t, s, "a", strings.Repeat("x", long))
			stalled := connect(t, network.Dial, DefaultListen)
			stalled.say("GET " + path + " HTTP/1.1\n" + host + "\n")
			s.wantStalled(t, path, limit)
			stalled.Close()

			slow := connect(t, network.Dial, DefaultListen)
			slow.say("GET " + path + " HTTP/1.1\n" + host + "\n")
			piece := make([]byte, 32<<10)
			for range long / len(piece) {
				time.Sleep(limit / 2)
				if n, err := io.ReadFull(slow.Conn, piece); err != nil {
					t.Fatalf("%s: %d bytes, %v, for who is only slow", path, n, err)
				}
			}
			slow.Close()
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStalledAnswerOverHTTP3IsCut(t *testing.T) {
	const limit = 40 * time.Second
	simulated(t, &Config{WriteTimeout: limit}, func(t *testing.T, s *Server, _ *darkRouter, conn *quic.Conn) {
		publishTo(t, s, "a", strings.Repeat("x", long))
		client := new(http3.Transport).NewClientConn(conn)
		r, err := http.NewRequestWithContext(t.Context(), "GET", "https://localhost/topics/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		s.wantStalled(t, "/topics/a", limit)
		if n, err := io.Copy(io.Discard, response.Body); err == nil {
			t.Errorf("%d bytes, and no error", n)
		}
	})
}
