package view

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func TestReadBody(t *testing.T) {
	const limit = 200_000
	for _, size := range []int{0, 1, 511, 512, 513, 64 << 10, 64<<10 + 1, 100_000, limit, limit + 1} {
		sent := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		for _, length := range []int64{int64(size), -1} {
			for name, body := range map[string]io.Reader{
				"whole": bytes.NewReader(sent), "halves": iotest.HalfReader(bytes.NewReader(sent)), "end with data": iotest.DataErrReader(bytes.NewReader(sent)),
			} {
				r := httptest.NewRequest("POST", "/", body)
				r.ContentLength = length
				got, problem := openHandler(t, nil, nil).readBody(httptest.NewRecorder(), r, limit)
				switch {
				case size > limit:
					if problem == nil || problem.Type != "too-big" || problem.Detail != "more than 200000 bytes" {
						t.Errorf("%d bytes, length %d, %s: %v", size, length, name, problem)
					}
				case problem != nil || !bytes.Equal(got, sent):
					t.Errorf("%d bytes, length %d, %s: got %d, %v", size, length, name, len(got), problem)
				case cap(got)-len(got) > len(got)/4+64:
					t.Errorf("%d bytes, length %d, %s: %d bytes to spare", size, length, name, cap(got)-len(got))
				}
			}
		}
	}
}

func TestReadBodyThatBreaks(t *testing.T) {
	for _, length := range []int64{10, -1} {
		broken := io.MultiReader(strings.NewReader("12345"), iotest.ErrReader(errors.New("reset")))
		r := httptest.NewRequest("POST", "/", broken)
		r.ContentLength = length
		if got, problem := openHandler(t, nil, nil).readBody(httptest.NewRecorder(), r, 100); problem == nil || problem.Type != "bad-parameter" {
			t.Errorf("length %d: got %q, %v", length, got, problem)
		}
	}
	r := httptest.NewRequest("POST", "/", strings.NewReader("12345"))
	r.ContentLength = 10
	if got, problem := openHandler(t, nil, nil).readBody(httptest.NewRecorder(), r, 100); problem == nil {
		t.Errorf("cut off: got %q", got)
	}
}

// Who claims a large body and sends nothing must not cost memory.
func TestClaimedLengthCostsNothing(t *testing.T) {
	const claimed = 1 << 40
	data, err := readAll(strings.NewReader("12345"), claimed)
	if err == nil || cap(data) > 64<<10 {
		t.Errorf("%d bytes of memory, %v", cap(data), err)
	}
}

// PROTOCOL.md §5.13
func TestReadForm(t *testing.T) {
	const (
		form     = "Content-Type: application/x-www-form-urlencoded"
		jsonForm = "Content-Type: application/json"
	)
	tests := []struct {
		contentType, body string
		want              url.Values
		problem           string
	}{
		{contentType: form, body: "topic=a%2Fb&topic=c/**&after=x-1&limit=5", want: url.Values{"topic": {"a/b", "c/**"}, "after": {"x-1"}, "limit": {"5"}}},
		{contentType: form + "; charset=UTF-8", body: "topic=a+b", want: url.Values{"topic": {"a b"}}},
		{contentType: form, body: "", want: url.Values{}},
		{contentType: form, body: "topic=%zz", problem: "bad-parameter"},
		{contentType: form, body: "topic=a;topic=b", problem: "bad-parameter"},

		// "topic a string or a list of strings; wait and limit numbers or
		// strings"
		{contentType: jsonForm, body: `{"topic":["orders/**","news"],"after":"k7qx-1042","wait":25,"limit":10}`,
			want: url.Values{"topic": {"orders/**", "news"}, "after": {"k7qx-1042"}, "wait": {"25"}, "limit": {"10"}}},
		{contentType: jsonForm, body: `{"topic":"a","wait":"25s","limit":"10"}`, want: url.Values{"topic": {"a"}, "wait": {"25s"}, "limit": {"10"}}},
		{contentType: jsonForm, body: `{"topic":["\u00e9"]}`, want: url.Values{"topic": {"é"}}},
		{contentType: jsonForm, body: `{"topic":[]}`, want: url.Values{"topic": nil}},
		{contentType: jsonForm, body: `{"as":5,"other":{}}`, want: url.Values{}},
		{contentType: jsonForm, body: `{"limit":true}`, want: url.Values{"limit": {"true"}}}, // refused as no integer
		{contentType: jsonForm, body: `{"topic":5}`, problem: "bad-parameter"},
		{contentType: jsonForm, body: `{"topic":null}`, problem: "bad-parameter"},
		{contentType: jsonForm, body: `{"topic":["a",5]}`, problem: "bad-parameter"},
		{contentType: jsonForm, body: `{"topic":["\ud800"]}`, problem: "bad-parameter"},
		{contentType: jsonForm, body: `{"topic":[["a"]]}`, problem: "bad-parameter"},
		{contentType: jsonForm, body: `{"after":5}`, problem: "bad-parameter"},
		{contentType: jsonForm, body: `{"topic":"a"`, problem: "bad-json"},
		{contentType: jsonForm, body: `["a"]`, problem: "bad-json"},
		{contentType: jsonForm, body: ``, problem: "bad-json"},
		{contentType: jsonForm, body: "{\"topic\":\"\xff\"}", problem: "bad-json"},

		// "Another type, or a body without one, is 415"
		{contentType: "Content-Type: text/plain", body: "topic=a", problem: "unsupported-media-type"},
		{contentType: "Content-Type: multipart/form-data; boundary=x", problem: "unsupported-media-type"},
		{contentType: "Content-Type: ?", problem: "unsupported-media-type"},
		{contentType: "X: y", body: "topic=a", problem: "unsupported-media-type"},
		{contentType: "X: y", body: "", want: url.Values{}},
		{contentType: "Content-Encoding: gzip", problem: "unsupported-media-type"},
		{contentType: form, body: "topic=" + strings.Repeat("a", 1000), problem: "too-big"},
	}
	h := openHandler(t, &Options{MaxBodyBytes: 1000}, nil)
	for _, test := range tests {
		r := httptest.NewRequest("POST", "/topics", strings.NewReader(test.body))
		setFields(r, []string{test.contentType})
		got, problem := h.readForm(httptest.NewRecorder(), r)
		name := ""
		if problem != nil {
			name = problem.Type
		}
		body := test.body[:min(len(test.body), 80)]
		if name != test.problem || problem == nil && !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s %q: got %q, %q, want %q, %q", test.contentType, body, got, name, test.want, test.problem)
		}
	}
}

// PROTOCOL.md §7.1: "16 KiB, or the rest, ... within --write-timeout".
func TestSlowBody(t *testing.T) {
	bubble(t, &Options{WriteTimeout: 20 * time.Second}, nil, func(t *testing.T, s *site) {
		slow := s.wire("POST /topics/a HTTP/1.1\nHost: a\nContent-Length: 100\n\n")
		defer slow.Close()
		began := time.Now()
		// Ends with the connection.
		go func() {
			for {
				if _, err := slow.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(3 * time.Second)
			}
		}()
		if got := slow.header(t); !strings.HasPrefix(got, "HTTP/1.1 408 ") || !strings.Contains(got, "Connection: close") || time.Since(began) != 20*time.Second {
			t.Errorf("after %v: %s", time.Since(began), got)
		}
		if rest, err := io.ReadAll(slow); err != nil || !strings.Contains(string(rest), "urn:duplex:problem:too-slow") || !strings.Contains(string(rest), "--write-timeout") {
			t.Errorf("%s, %v", rest, err)
		}
		steady := s.wire("POST /topics/a HTTP/1.1\nHost: a\nContent-Length: 163840\n\n")
		defer steady.Close()
		for range 10 {
			time.Sleep(19 * time.Second)
			if _, err := steady.Write(make([]byte, 16<<10)); err != nil {
				t.Fatal(err)
			}
		}
		if got := steady.header(t); !strings.HasPrefix(got, "HTTP/1.1 201 ") {
			t.Errorf("%s", got)
		}
		time.Sleep(time.Minute) // what was for the body is over
		if _, err := steady.Discard(steady.Buffered()); err != nil {
			t.Fatal(err)
		}
	})
}

// PROTOCOL.md §11: --max-incoming-bytes is for all together.
func TestMaxIncomingBytes(t *testing.T) {
	bubble(t, &Options{MaxIncomingBytes: 100_000}, nil, func(t *testing.T, s *site) {
		post := func(length int) wireConn {
			c := s.wire(fmt.Sprintf("POST /topics/a HTTP/1.1\nHost: a\nContent-Length: %d\n\n", length))
			t.Cleanup(func() { c.Close() })
			return c
		}
		first := post(60_000)
		if _, err := first.Write(make([]byte, 59_999)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		second := post(60_000)
		go second.Write(make([]byte, 60_000)) // Ends with the connection.
		if got := second.header(t); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "Retry-After") || !strings.Contains(got, "Connection: close") {
			t.Errorf("%s", got)
		}
		second.Conn.SetReadDeadline(time.Now().Add(time.Second))
		if rest, err := io.ReadAll(second); err != nil || !strings.Contains(string(rest), "--max-incoming-bytes") {
			t.Errorf("%s, %v", rest, err)
		}
		for range 3 { // what is whole does not count
			c := post(30_000)
			if _, err := c.Write(make([]byte, 30_000)); err != nil {
				t.Fatal(err)
			}
			if got := c.header(t); !strings.HasPrefix(got, "HTTP/1.1 201 ") {
				t.Errorf("%s", got)
			}
		}
		if _, err := first.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if got := first.header(t); !strings.HasPrefix(got, "HTTP/1.1 201 ") {
			t.Errorf("%s", got)
		}
		synctest.Wait()
		if n := s.incoming.Load(); n != 0 {
			t.Errorf("%d bytes are left", n)
		}
	})
}
