package view

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// golden puts an id and the boundary into a text that stands for what is sent.
func (s *site) golden(text string) string {
	return strings.NewReplacer("\n", "\r\n", "BOUNDARY", boundary, "ID-", strings.TrimSuffix(s.id(0), "0")).Replace(text)
}

// PROTOCOL.md §5.19, byte for byte.
func TestMultipart(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		before := s.publish("orders/eu/42", "before")
		a := s.get("/topics/orders/eu/42?after="+before, "Accept: multipart/x-mixed-replace")
		defer a.leave()
		for name, want := range map[string]string{
			"Content-Type": "multipart/x-mixed-replace; boundary=" + boundary, "Cache-Control": "no-store, no-transform",
			"X-Accel-Buffering": "no", "Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff",
		} {
			if got := a.Header.Get(name); a.StatusCode != 200 || got != want {
				t.Errorf("%d, %s: %q, want %q", a.StatusCode, name, got, want)
			}
		}
		if got, want := a.take(), s.golden("--BOUNDARY\nSignal: {\"id\":\"ID-1\",\"event\":\"$ping\",\"data\":{\"interval\":25}}\n"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		s.publishAs("orders/eu/42", "paid", "application/json", `{"total":12}`)
		s.publishAs("orders/eu/42", "", "image/png", "\x89PNG")
		s.publishAs("orders/eu/42", "", "text/html", "<script>alert(1)</script>")
		s.publishAs("orders/eu/42", "", "", "hello")
		s.end("orders/eu/42")
		want := s.golden("Event-ID: ID-2\nEvent-Topic: orders/eu/42\nEvent-Type: paid\nContent-Type: application/json\nContent-Length: 12\n\n{\"total\":12}\n--BOUNDARY\n" +
			"Event-ID: ID-3\nEvent-Topic: orders/eu/42\nContent-Type: image/png\nContent-Length: 4\n\n\x89PNG\n--BOUNDARY\n" +
			"Event-ID: ID-3\nEvent-Repeated: true\nContent-Type: image/png\nContent-Length: 4\n\n\x89PNG\n--BOUNDARY\n" +
			"Event-ID: ID-4\nEvent-Topic: orders/eu/42\nEvent-Media: text/html\nContent-Type: text/plain; charset=utf-8\nContent-Length: 25\n\n<script>alert(1)</script>\n--BOUNDARY\n" +
			"Event-ID: ID-5\nEvent-Topic: orders/eu/42\nContent-Type: text/plain\nContent-Length: 5\n\nhello\n--BOUNDARY\n" +
			"Signal: {\"id\":\"ID-6\",\"event\":\"$end\",\"data\":{\"topic\":\"orders/eu/42\"}}\n\n\n--BOUNDARY--\n")
		if got := a.all(); got != want || a.err != nil {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// Go's own reader gets each part at once, whatever the data holds, and sees the
// end of a topic but not that of a server.
func TestMultipartIsRead(t *testing.T) {
	const next = "Content-Type"
	for _, test := range []struct{ query, accept, media string }{
		{"?after=earliest&as=multipart", "Accept: */*", "multipart/x-mixed-replace"},
		{"?after=earliest&as=mixed&envelope", "Accept: */*", "multipart/mixed"},
		{"?after=earliest", "Accept: multipart/mixed", "multipart/mixed"},
		{"?after=earliest", "Accept: multipart/mixed;q=0.1, multipart/x-mixed-replace", "multipart/x-mixed-replace"},
	} {
		bubble(t, nil, nil, func(t *testing.T, s *site) {
			data := []string{"", "\r\n", "a\r\n--" + boundary + "\r\nEvent-ID: x\r\n\r\nfaked", "--" + boundary + "--", "\r\n--x", strings.Repeat("y", 100_000)}
			s.publish("a", data...)
			s.end("a")
			a := s.get("/topics/a"+test.query, test.accept)
			body := a.all()
			media, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
			if media != test.media || err != nil {
				t.Errorf("%s, %v", media, err)
			}
			parts := multipart.NewReader(strings.NewReader(body), params["boundary"])
			for i := 0; ; i++ {
				part, err := parts.NextPart()
				if err == io.EOF {
					if want := len(data) + 1; i < want {
						t.Errorf("%d parts, want %d", i, want)
					}
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(part)
				if part.Header.Get("Content-Transfer-Encoding") == "base64" {
					got, err = base64.StdEncoding.AppendDecode(nil, got)
				}
				switch {
				case err != nil:
					t.Error(err)
				case strings.Contains(test.query, "envelope"):
					if part.Header.Get(next) != "application/json" || i == 0 != bytes.Contains(got, []byte("$ping")) {
						t.Errorf("part %d: %v %.100s", i, part.Header, got)
					}
				case i == len(data):
					if len(got) > 0 || !strings.Contains(part.Header.Get("Signal"), "$end") {
						t.Errorf("the last: %v %q", part.Header, got)
					}
				case string(got) != data[i]:
					t.Errorf("part %d: %.100q, want %.100q", i, got, data[i])
				}
			}
		})
	}
}

// A gap is told in the part after it, and a server that stops does not say that
// this was all.
func TestMultipartSignals(t *testing.T) {
	bubble(t, nil, &memlog.Options{RetainEvents: 1}, func(t *testing.T, s *site) {
		s.publish("a", "1", "2")
		a := s.get("/topics/a?as=multipart", "Last-Event-ID: "+s.id(0))
		if got, want := a.take(), s.golden("--BOUNDARY\nSignal: {\"id\":\"ID-1\",\"event\":\"$gap\",\"data\":{\"after\":\"ID-0\",\"oldest\":\"ID-2\"}}\nEvent-ID: ID-2\n"); !strings.HasPrefix(got, want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		both := s.get("/topics?topic=a&topic=b&as=multipart")
		s.end("a")
		s.publish("b", "goes on")
		if got := both.take(); !strings.Contains(got, "$end") || !strings.HasSuffix(got, s.golden("goes on\n--BOUNDARY\n")) || both.isOver() {
			t.Errorf("several topics: %s", got)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if got := both.all(); got != "" || both.err != nil {
			t.Errorf("the server stops: %q, %v", got, both.err)
		}
	})
}

func TestShownMedia(t *testing.T) {
	for media, want := range map[string]string{
		"image/png": "image/png", "image/svg+xml": "text/plain; charset=utf-8", "image/SVG": "text/plain; charset=utf-8",
		"text/html": "text/plain; charset=utf-8", "text/xml": "text/plain; charset=utf-8", "text/plain; charset=latin1": "text/plain; charset=latin1",
		"application/json": "application/json", "application/xhtml+xml": "text/plain; charset=utf-8", "video/mp4": "video/mp4",
	} {
		if got := shownMedia(media, topic.Text); got != want {
			t.Errorf("%s: %s, want %s", media, got, want)
		}
	}
	if got := shownMedia("application/pdf", topic.Binary); got != "application/octet-stream" {
		t.Error(got)
	}
}
