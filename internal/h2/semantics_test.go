package h2_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/internal/h2"
)

// A turn is a request and its handler, which may note what it sees.
type turn struct {
	name, method, path, body string
	header                   http.Header
	trailer                  http.Header
	handler                  func(w http.ResponseWriter, r *http.Request, note func(format string, args ...any))
}

type notes = func(format string, args ...any)

var turns = []turn{
	{name: "a short answer", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		n, err := io.WriteString(w, "<html>")
		note("%d %v", n, err)
	}},
	{name: "nothing", handler: func(http.ResponseWriter, *http.Request, notes) {}},
	{name: "HEAD", method: "HEAD", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		n, err := io.WriteString(w, "hello")
		note("%d %v", n, err)
	}},
	{name: "HEAD of nothing", method: "HEAD", handler: func(http.ResponseWriter, *http.Request, notes) {}},
	{name: "HEAD with a length", method: "HEAD", handler: func(w http.ResponseWriter, r *http.Request, _ notes) {
		w.Header().Set("Content-Length", "1000")
	}},
	{name: "HEAD, flushed", method: "HEAD", handler: func(w http.ResponseWriter, r *http.Request, _ notes) {
		_, _ = io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "hello")
	}},
	{name: "204", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		w.WriteHeader(204)
		n, err := io.WriteString(w, "hello")
		note("%d %v", n, err)
	}},
	{name: "304", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		w.Header().Set("Etag", `"a"`)
		w.WriteHeader(304)
		_, err := io.WriteString(w, "hello")
		note("%v", err)
	}},
	{name: "in pieces", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		for range 3 {
			_, _ = io.WriteString(w, "piece ")
			note("%v", http.NewResponseController(w).Flush())
		}
	}},
	{name: "long", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		n, err := w.Write(bytes.Repeat([]byte("0123456789"), 100_000))
		note("%d %v", n, err)
	}},
	{name: "many writes", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		for i := range 3000 {
			fmt.Fprintf(w, "line %d\n", i)
		}
	}},
	{name: "a bad length", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		w.Header().Set("Content-Length", "many")
		_, _ = io.WriteString(w, "hello")
	}},
	{name: "a trailer", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		w.Header().Set("Trailer", "A, B")
		w.Header().Add("Trailer", "C")
		_, _ = io.WriteString(w, "hello")
		w.Header().Set("A", "1")
		w.Header().Set("C", "3")
		w.Header().Set("D", "4")
	}},
	{name: "a trailer that was not announced", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		_, _ = io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"A", "1")
	}},
	{name: "a header that comes too late", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		w.Header().Set("A", "1")
		w.WriteHeader(201)
		w.Header().Set("A", "2")
		w.Header().Set("B", "2")
		w.WriteHeader(500)
	}},
	{name: "103", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		w.Header().Set("Link", "</a>; rel=preload")
		w.WriteHeader(103)
		w.WriteHeader(102)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "hello")
	}},
	{name: "fields", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		h := w.Header()
		h.Set("Connection", "keep-alive")
		h.Set("Transfer-Encoding", "chunked")
		h.Add("Set-Cookie", "a=1")
		h.Add("Set-Cookie", "b=2")
		h["Content-Type"] = nil // not to be guessed
		h.Set("Bad Name", "x")
		h.Set("Bad-Value", "x\ny")
		_, _ = io.WriteString(w, "hello")
	}},
	{name: "content with a coding", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		w.Header().Set("Content-Encoding", "br")
		_, _ = io.WriteString(w, "hello")
	}},
	{
		name: "what a request has", method: "PATCH", path: "/a%20b/c?d=e&f#g",
		header: http.Header{"X": {"1", "2"}, "Cookie": {"a=1; b=2"}, "Te": {"trailers"}, "User-Agent": {"me"}},
		handler: func(w http.ResponseWriter, r *http.Request, note notes) {
			note("%s %s %q %s %s %s %s", r.Method, r.URL, r.URL.Path, r.RequestURI, r.Host, r.Proto, r.RemoteAddr)
			note("%d %d %d %v", r.ProtoMajor, r.ProtoMinor, r.ContentLength, r.TransferEncoding)
			for _, key := range slices.Sorted(maps.Keys(r.Header)) {
				note("%s: %q", key, r.Header[key])
			}
			_, ofServer := r.Context().Value(http.ServerContextKey).(*http.Server)
			note("%v %v", ofServer, r.Context().Value(http.LocalAddrContextKey))
		},
	},
	{name: "an echo", method: "POST", body: strings.Repeat("hello", 200_000), handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		n, err := io.Copy(w, r.Body)
		note("%d %d %v", r.ContentLength, n, err)
		n2, err := r.Body.Read(make([]byte, 1))
		note("%d %v", n2, err)
		note("%v", r.Body.Close())
	}},
	{name: "a closed body", method: "POST", body: "hello", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		note("%v", r.Body.Close())
		_, err := r.Body.Read(make([]byte, 1))
		note("%v", err == nil)
	}},
	{name: "a request's trailer", method: "POST", body: "hello", trailer: http.Header{"A": {"1"}, "B": {"2"}}, handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		note("%v %q", r.Trailer, r.Header["Trailer"])
		_, _ = io.Copy(io.Discard, r.Body)
		note("%v", r.Trailer)
	}},
	{name: "100", method: "POST", body: "hello", header: http.Header{"Expect": {"100-continue"}}, handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		time.Sleep(time.Second)
		body, err := io.ReadAll(r.Body)
		note("%q %v %q", body, err, r.Header["Expect"])
	}},
	{name: "no 100", method: "POST", body: "hello", header: http.Header{"Expect": {"100-continue"}}, handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		w.WriteHeader(417)
	}},
	{name: "a body that nobody reads", method: "POST", body: strings.Repeat("x", 1<<20), handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		_, _ = io.WriteString(w, "hello")
	}},
	{name: "a panic", handler: func(w http.ResponseWriter, r *http.Request, note notes) { panic("oh") }},
	{name: "a panic amid the answer", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		_, _ = io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}},
	{name: "a read that takes too long", method: "POST", body: "slow", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		rc := http.NewResponseController(w)
		note("%v", rc.SetReadDeadline(time.Now().Add(time.Second)))
		began := time.Now()
		_, err := r.Body.Read(make([]byte, 1))
		note("%v after %v", errors.Is(err, os.ErrDeadlineExceeded), time.Since(began))
	}},
	{name: "what cannot be", handler: func(w http.ResponseWriter, r *http.Request, note notes) {
		rc := http.NewResponseController(w)
		_, _, err := rc.Hijack()
		note("%v %v", errors.Is(err, http.ErrNotSupported), rc.EnableFullDuplex())
		_, pushes := w.(http.Pusher)
		note("%v", pushes)
	}},
	{name: "OPTIONS", method: "OPTIONS", handler: func(w http.ResponseWriter, r *http.Request, note notes) { note("%s", r.URL) }},
}

// Handlers see, and clients get, what they do of net/http's server.
func TestSemantics(t *testing.T) {
	for _, turn := range turns {
		t.Run(turn.name, func(t *testing.T) {
			var got [2]string
			for i, own := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) { got[i] = turn.play(t, own) })
			}
			if got[0] != got[1] {
				t.Errorf("net/http:\n%.2000s\nh2:\n%.2000s", got[0], got[1])
			}
		})
	}
}

// slowly gives nothing for a minute.
type slowly struct{ io.Reader }

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(time.Minute)
	return s.Reader.Read(p)
}

func (c turn) play(t *testing.T, own bool) string {
	var seen, told strings.Builder
	s := serve(t, own, h2.Options{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.handler(w, r, func(format string, args ...any) { fmt.Fprintf(&told, format+"\n", args...) })
	}))
	s.client.ExpectContinueTimeout = 10 * time.Second
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		fmt.Fprintf(&seen, "%d %v\n", code, header)
		return nil
	}})
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	if c.body == "slow" {
		body = slowly{body}
	}
	if c.path == "" {
		c.path = "/"
	}
	r, err := http.NewRequestWithContext(ctx, c.method, "http://site:80"+c.path, body)
	if err != nil {
		t.Fatal(err)
	}
	if r.Trailer = c.trailer; c.trailer != nil {
		r.ContentLength = -1
	}
	if c.header != nil {
		r.Header = c.header.Clone()
	}
	began := time.Now()
	response, err := s.client.RoundTrip(r)
	if err != nil {
		fmt.Fprintf(&seen, "%v\n", err)
	} else {
		date := response.Header.Get("Date")
		if response.Header.Del("Date"); date != began.UTC().Format(http.TimeFormat) && c.body != "slow" && c.header.Get("Expect") == "" {
			t.Errorf("own %v: date: %q", own, date)
		}
		answer, err := io.ReadAll(response.Body)
		response.Body.Close()
		fmt.Fprintf(&seen, "%s %s %d\n", response.Proto, response.Status, response.ContentLength)
		for _, key := range slices.Sorted(maps.Keys(response.Header)) {
			fmt.Fprintf(&seen, "%s: %q\n", key, response.Header[key])
		}
		fmt.Fprintf(&seen, "%d bytes, %v, trailer %v\n", len(answer), err, response.Trailer)
	}
	if c.body == "slow" {
		time.Sleep(2 * time.Minute)
	}
	synctest.Wait()
	if s.errors.Len() > 0 {
		fmt.Fprintf(&seen, "logged: %s\n", strings.SplitN(s.errors.String(), ":", 3)[0])
	}
	return seen.String() + told.String()
}

// The context of a request ends with it, however that is.
func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended []string
		s := serve(t, true, h2.Options{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			context.AfterFunc(r.Context(), func() { ended = append(ended, r.URL.Path) })
			if r.URL.Path == "/at-once" {
				return
			}
			<-r.Context().Done()
			if _, err := w.Write(make([]byte, 10_000)); err == nil {
				t.Error("it can go on")
			}
			if _, err := r.Body.Read(make([]byte, 1)); err == nil {
				t.Error("it can read")
			}
		}))
		p := s.dial(t)
		p.request(1, "GET", "/at-once", true)
		p.want("HEADERS 200 END")
		p.request(3, "POST", "/reset", false)
		p.request(5, "GET", "/closed", true)
		p.WriteRSTStream(3, 8)
		synctest.Wait()
		if got := strings.Join(ended, " "); got != "/at-once /reset" {
			t.Error(got)
		}
		p.conn.Close()
		synctest.Wait()
		if got := strings.Join(ended, " "); got != "/at-once /reset /closed" {
			t.Error(got)
		}
	})
}
