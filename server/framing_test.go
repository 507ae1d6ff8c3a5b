package server

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// What is watched does not depend on how it is read.
func TestWatchedField(t *testing.T) {
	for text, want := range map[string]int64{
		"GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n":           1,
		"GET / HTTP/1.1\ncontent-LENGTH:1\n\n":                  1,
		"GET / HTTP/1.1\r\nA: b\r\n\ncontent-length: 1\r\n":     1,
		"GET / HTTP/1.1\r\nX-Content-Length: 1\r\n\r\n":         0,
		"GET / HTTP/1.1\r\nContent-Lengt: 1\r\n\r\n":            0,
		"GET / HTTP/1.1\r\nA: content-length\r\n\r\n":           0,
		"content-length: 1\r\n\r\n":                             0, // no request begins with it
		"A\ncontent-\ncontent-length\ncontent-lengthcontent-le": 2,
		"A\n\n\ncontent-length\ncontent-length":                 2,
	} {
		for step := 1; step <= len(text); step++ {
			var f watchedField
			for part := range slices.Chunk([]byte(text), step) {
				f.watch("\ncontent-length", part)
			}
			if got := f.read.Load(); got != want {
				t.Errorf("%q, %d bytes at a time: %d", text, step, got)
			}
		}
	}
}

const (
	withChunks = "POST /topics/a HTTP/1.1\n" + host + "Transfer-Encoding: chunked\n\n2\nhi\n0\n\n"
	withLength = "POST /topics/a HTTP/1.1\n" + host + "Content-Length: 2\n\nhi"
)

// PROTOCOL.md §5.16: a connection goes on after a body in chunks, but not if the
// request had a Content-Length, too (RFC 9112 §6.1), or was one of HTTP/1.0.
func TestChunksKeepTheConnection(t *testing.T) {
	const kept, ended = true, false
	for text, want := range map[string]bool{
		withChunks: kept,
		strings.Replace(withChunks, host, host+"Content-Length: 2\n", 1):                                               ended,
		strings.Replace(withChunks, "\n\n2", "\ncontent-LENGTH:2\n\n2", 1):                                             ended,
		strings.Replace(withChunks, host, host+"Content-Length: 2\nContent-Length: 2\n", 1):                            ended,
		strings.Replace(withLength, "HTTP/1.1\n", "HTTP/1.0\nConnection: keep-alive\n", 1):                             kept,
		strings.Replace(withLength, "HTTP/1.1\n", "HTTP/1.0\nConnection: keep-alive\nTransfer-Encoding: x\n", 1):       ended,
		strings.Replace(withLength, "HTTP/1.1\n", "HTTP/1.0\nTransfer-Encoding: chunked\nConnection: Keep-Alive\n", 1): ended,
	} {
		for _, before := range []string{"", withChunks, withLength, "GET /topics/a HTTP/1.1\n" + host + "\n"} {
			for _, step := range []int{1, 1 << 10} {
				synctest.Test(t, func(t *testing.T) {
					s, network := startPiped(t, &Config{})
					p := connect(t, network.Dial, DefaultListen)
					say := func(text string) {
						for part := range slices.Chunk([]byte(text), step) {
							p.say(string(part))
						}
					}
					if before != "" {
						say(before)
						if resp := p.answer(); resp.Close {
							t.Errorf("%q ends the connection", before)
						} else if _, err := io.Copy(io.Discard, resp.Body); err != nil {
							t.Error(err)
						}
					}
					say(text)
					if p.wantAnswer(http.StatusCreated); want == kept {
						say(withLength)
						p.wantAnswer(http.StatusCreated)
						say(withChunks)
						p.wantAnswer(http.StatusCreated)
						p.Close()
					} else {
						p.wantEnd()
					}
					if err := s.Shutdown(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// Above TLS nobody can look at what net/http reads.
func TestChunksOverTLS(t *testing.T) {
	s := start(t, &Config{Listen: []string{"127.0.0.1:0"}, TLSDevDir: t.TempDir() + "/ca"})
	p := connectTLS(t, s, connect(t, new(net.Dialer).DialContext, s.Addrs()[0].String()))
	p.say(withLength)
	p.wantAnswer(http.StatusCreated)
	p.say(withChunks)
	p.wantAnswer(http.StatusCreated)
	p.wantEnd()
}
