package load

import (
	"fmt"
	"strings"
	"testing"
)

// Every way to cut the bytes gives the same parts.
func TestResponsePieces(t *testing.T) {
	const answers = "HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello" +
		"HTTP/1.1 204 No Content\r\n\r\n" +
		"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" +
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n" +
		"HTTP/1.1 200 OK\r\n\r\nuntil the end"
	const want = "201[hello]204[]200[]200[abc0123456789abcdef]200[until the end"
	for size := 1; size <= len(answers); size++ {
		var r response
		var got strings.Builder
		for from := 0; from < len(answers); from += size {
			b := []byte(answers[from:min(from+size, len(answers))])
			for {
				p, body, rest, err := r.next(b)
				if err != nil {
					t.Fatalf("pieces of %d: %v", size, err)
				}
				switch p {
				case partHead:
					fmt.Fprintf(&got, "%d[", r.status)
				case partBody:
					got.Write(body)
				case partEnd:
					got.WriteString("]")
				}
				if p == partNone {
					break
				}
				b = rest
			}
		}
		if got.String() != want {
			t.Fatalf("pieces of %d give %s", size, got.String())
		}
	}
}

func TestResponseRefused(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.0 200 OK\r\n\r\n",
		"HTTP/1.1 abc\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
		strings.Repeat("x", maxHeadBytes+1),
	} {
		var r response
		var err error
		for b := []byte(answer); len(b) > 0 && err == nil; {
			_, _, b, err = r.next(b)
		}
		if err == nil {
			t.Errorf("%.60q was taken", answer)
		}
	}
}

func TestEventData(t *testing.T) {
	const stream = "event: $ping\r\nid: 1\r\ndata: {\"interval\":25}\r\n\r\nid: 2\ndata: one\n\n: comment\n\ndata:two\n\n"
	for size := 1; size <= len(stream); size++ {
		var cut lines
		var events eventStream
		var got []string
		for from := 0; from < len(stream); from += size {
			b := []byte(stream[from:min(from+size, len(stream))])
			for {
				line, rest, ok := cut.next(b)
				if !ok {
					break
				}
				b = rest
				if data, ok := events.line(line); ok {
					got = append(got, string(data))
				}
			}
		}
		if fmt.Sprint(got) != "[one two]" {
			t.Fatalf("pieces of %d give %q", size, got)
		}
	}
}
