package sse

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWriterHeader(t *testing.T) {
	// "Connection" is illegal in HTTP/2 and HTTP/3 (RFC 9113 §8.2.2, RFC 9114 §4.2).
	for proto, connection := range map[string]string{"HTTP/1.0": "keep-alive", "HTTP/1.1": "keep-alive", "HTTP/2.0": "", "HTTP/3.0": ""} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/dates", nil)
		r.Proto = proto
		r.ProtoMajor, r.ProtoMinor, _ = http.ParseHTTPVersion(proto)
		if _, err := NewWriter(w, r, nil); err != nil {
			t.Fatal(err)
		}
		if !w.Flushed || w.Code != http.StatusOK || w.Body.Len() != 0 {
			t.Errorf("%s: flushed %v, status %d, body %q", proto, w.Flushed, w.Code, w.Body)
		}
		for name, want := range map[string]string{
			"Content-Type":      "text/event-stream",
			"Cache-Control":     "no-store, no-transform",
			"X-Accel-Buffering": "no",
			"Connection":        connection,
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", proto, name, got, want)
			}
		}
	}
}

// What curl would show of HTTP/1.1: the header at once, then each write as it
// is made.
func TestWriterOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		step := make(chan struct{})
		n, _ := serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := NewWriter(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			many, _ := Append(AppendComment(nil, "several"), "8", "", "in one")
			for _, write := range []func() error{
				func() error { return s.Retry(200 * time.Millisecond) },
				func() error { return s.Comment("") },
				func() error { return s.Send(&Event{ID: "7", Type: "foo", Data: []byte("a\nb")}) },
				func() error { _, err := s.Write(many); return err },
			} {
				<-step
				if err := write(); err != nil {
					t.Error(err)
				}
			}
			e, ok := errors.AsType[*FieldError](s.Send(&Event{ID: "1\n2"}))
			if !ok || e.Field != "id" {
				t.Errorf("line end in an id: %v", e)
			}
		})})
		conn, err := n.Dial(t.Context(), "tcp", testAddress)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET /dates HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
		in := bufio.NewReader(conn)
		var head []string
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line == "\r\n" {
				break
			}
			if !strings.HasPrefix(line, "Date: ") {
				head = append(head, strings.TrimSpace(line))
			}
		}
		slices.Sort(head)
		if want := []string{
			"Cache-Control: no-store, no-transform",
			"Connection: keep-alive",
			"Content-Type: text/event-stream",
			"HTTP/1.1 200 OK",
			"Transfer-Encoding: chunked",
			"X-Accel-Buffering: no",
		}; !slices.Equal(head, want) {
			t.Errorf("head: %q, want %q", head, want)
		}
		for _, want := range []string{
			"c\r\nretry: 200\n\n\r\n",
			"3\r\n:\n\n\r\n",
			"22\r\nevent: foo\nid: 7\ndata: a\ndata: b\n\n\r\n",
			"1f\r\n: several\n\nid: 8\ndata: in one\n\n\r\n",
			"0\r\n\r\n",
		} {
			if want[0] != '0' {
				step <- struct{}{}
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(in, got); err != nil || string(got) != want {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		}
	})
}

// deaf hides everything but the three methods, as a careless middleware does.
type deaf struct{ http.ResponseWriter }

// flushing hides all but these and Flush.
type flushing struct{ http.ResponseWriter }

func (f flushing) Flush() { _ = http.NewResponseController(f.ResponseWriter).Flush() }

// wrapped hides nothing.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// A stream that could not be, or would end by itself, is refused at its start,
// when the handler can still answer something else.
func TestNewWriterBehindMiddleware(t *testing.T) {
	tests := []struct {
		name   string
		wrap   func(http.ResponseWriter) http.ResponseWriter
		server time.Duration // http.Server.WriteTimeout
		opts   *WriterOptions
		refuse string
	}{
		{"no Flush", func(w http.ResponseWriter) http.ResponseWriter { return deaf{w} }, 0, nil, "flush through sse.deaf"},
		{"no deadlines", func(w http.ResponseWriter) http.ResponseWriter { return flushing{w} }, 0, nil, ""},
		{"no deadlines, none wanted", func(w http.ResponseWriter) http.ResponseWriter { return flushing{w} }, 0, &WriterOptions{WriteTimeout: -1}, ""},
		{"no deadlines, but wanted", func(w http.ResponseWriter) http.ResponseWriter { return flushing{w} }, 0, &WriterOptions{WriteTimeout: time.Second}, "set a write deadline through sse.flushing"},
		{"no deadlines, but one to lift", func(w http.ResponseWriter) http.ResponseWriter { return flushing{w} }, time.Second, nil, "set a write deadline through sse.flushing"},
		{"Unwrap", func(w http.ResponseWriter) http.ResponseWriter { return wrapped{w} }, time.Second, &WriterOptions{WriteTimeout: time.Second}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, client := serve(t, &http.Server{
					WriteTimeout: test.server,
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						w = test.wrap(w)
						s, err := NewWriter(w, r, test.opts)
						if err != nil {
							http.Error(w, err.Error(), http.StatusInternalServerError)
							if !errors.Is(err, http.ErrNotSupported) {
								t.Errorf("error %v does not say what is missing", err)
							}
							return
						}
						if err := s.Send(&Event{Data: []byte("x")}); err != nil {
							t.Error(err)
						}
					}),
				})
				resp, err := client.Get("http://test/")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				if test.refuse == "" {
					if resp.StatusCode != http.StatusOK || string(body) != "data: x\n\n" {
						t.Errorf("status %d, body %q", resp.StatusCode, body)
					}
					return
				}
				if resp.StatusCode != http.StatusInternalServerError || !strings.Contains(string(body), test.refuse) {
					t.Errorf("status %d, body %q; want %q", resp.StatusCode, body, test.refuse)
				}
				if got := resp.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" || resp.Header.Get("X-Accel-Buffering") != "" {
					t.Errorf("header of a stream on an error: %v", resp.Header)
				}
			})
		})
	}
}

// A stream outlives http.Server.WriteTimeout, and its own write deadline does
// not end it while it is quiet.
func TestWriterOutlivesWriteTimeout(t *testing.T) {
	for name, protocols := range map[string]*http.Protocols{"HTTP/1.1": nil, "HTTP/2": overHTTP2()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, client := serve(t, &http.Server{
					WriteTimeout: 2 * time.Second,
					Protocols:    protocols,
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						s, err := NewWriter(w, r, &WriterOptions{WriteTimeout: time.Second})
						if err != nil {
							t.Error(err)
							return
						}
						for range 3 {
							time.Sleep(20 * time.Second)
							if err := s.Send(&Event{Data: []byte("still here")}); err != nil {
								t.Error(err)
							}
						}
					}),
				})
				resp, err := client.Get("http://test/")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				start, events := time.Now(), 0
				for event, err := range Read(resp.Body, nil) {
					if err != nil {
						t.Fatal(err)
					}
					events++
					if want := time.Duration(events) * 20 * time.Second; time.Since(start) != want || string(event.Data) != "still here" {
						t.Errorf("event %d: %q after %v, want it after %v", events, event.Data, time.Since(start), want)
					}
				}
				if events != 3 {
					t.Errorf("%d events", events)
				}
			})
		})
	}
}

// A peer that takes nothing is cut off by the deadline of the write that it
// holds up.
func TestWriterCutsStalledPeer(t *testing.T) {
	for name, protocols := range map[string]*http.Protocols{"HTTP/1.1": nil, "HTTP/2": overHTTP2()} {
		for _, timeout := range []time.Duration{0, 5 * time.Second} {
			want := timeout
			if timeout == 0 {
				want = defaultWriteTimeout
			}
			t.Run(name+" "+want.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					done := make(chan struct{})
					_, client := serve(t, &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						defer close(done)
						s, err := NewWriter(w, r, &WriterOptions{WriteTimeout: timeout})
						if err != nil {
							t.Error(err)
							return
						}
						// More than any buffer or HTTP/2 window on the way.
						start := time.Now()
						err = s.Send(&Event{Data: make([]byte, 32<<20)})
						if err == nil || time.Since(start) != want {
							t.Errorf("got %v after %v, want an error after %v", err, time.Since(start), want)
						}
					})})
					resp, err := client.Get("http://test/")
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					<-done
				})
			})
		}
	}
}

func TestLastEventID(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if got := LastEventID(r); got != "" {
		t.Errorf("got %q without a header", got)
	}
	r.Header.Set("last-event-id", "7-42")
	if got := LastEventID(r); got != "7-42" {
		t.Errorf("got %q", got)
	}
}
