package view

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic/memlog"
)

// PROTOCOL.md §5.9, byte for byte: "fields in the order event, id, data, one
// space after each colon", and the first thing is a signal (§6.2).
func TestEventStream(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		before := s.publish("orders/eu/42", "before")
		a := s.get("/topics/orders/eu/42?after="+before, "Accept: text/event-stream")
		defer a.leave()
		for name, want := range map[string]string{
			"Content-Type": "text/event-stream", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no",
			"Vary": "Accept, Prefer, Last-Event-ID, Origin", "X-Content-Type-Options": "nosniff",
		} {
			if got := a.Header.Get(name); a.StatusCode != 200 || got != want {
				t.Errorf("%d, %s: %q, want %q", a.StatusCode, name, got, want)
			}
		}
		s.publishAs("orders/eu/42", "paid", "application/json", `{"total":12}`)
		s.publish("orders/eu/42", "hello", "", "a\nb\n", "a\rb\r\nc\r", "\nx")
		s.publishAs("orders/eu/42", "message", "image/png", "\x89PNG\r\n")
		s.publish("orders/eu/43", "another topic's")
		s.publishAs("orders/eu/42", "", "application/json", "[1,\r\n 2]")
		want := "event: $ping\nid: 1\ndata: {\"interval\":25}\n\n" +
			"event: paid\nid: 2\ndata: {\"total\":12}\n\n" +
			"id: 3\ndata: hello\n\n" +
			"id: 4\ndata: \n\n" + // "empty data is one empty one"
			"id: 5\ndata: a\ndata: b\ndata: \n\n" +
			"id: 6\ndata: a\ndata: b\ndata: c\ndata: \n\n" + // "CR and CRLF in data arrive as LF"
			"id: 7\ndata: \ndata: x\n\n" +
			"id: 8\ndata: data:image/png;base64,iVBORw0K\n\n" +
			"id: 10\ndata: [1,\ndata:  2]\n\n"
		if got, want := a.take(), s.withIDs(want); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

var idField = regexp.MustCompile(`(id: |"id":"|"newest":"|"oldest":"|"cursor":"|"after":")(\d+["\n])`)

// withIDs puts the epoch before the ids of a golden text.
func (s *site) withIDs(text string) string {
	return idField.ReplaceAllString(text, "${1}"+strings.TrimSuffix(s.id(0), "0")+"${2}")
}

// "?envelope: the data of every event and signal is its JSON (§3.4, §6.1), on
// one line."
func TestEventStreamEnvelope(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		a := s.get("/topics?topic=a/*&topic=b&as=sse&envelope")
		defer a.leave()
		s.publishAs("a/1", "paid", "application/json", "{\n\"total\":12}")
		s.publish("b", "x\r\ny")
		s.end("b")
		s.publish("a/2", "goes on")
		want := s.withIDs("event: $ping\nid: 0\ndata: {\"id\":\"0\",\"event\":\"$ping\",\"data\":{\"interval\":25}}\n\n" +
			"event: paid\nid: 1\ndata: {\"id\":\"1\",\"topic\":\"a/1\",\"event\":\"paid\",\"data\":{ \"total\":12},\"time\":\"2000-01-01T00:00:00Z\"}\n\n" +
			"id: 2\ndata: {\"id\":\"2\",\"topic\":\"b\",\"data\":\"x\\r\\ny\",\"time\":\"2000-01-01T00:00:00Z\"}\n\n" +
			"event: $end\nid: 3\ndata: {\"id\":\"3\",\"event\":\"$end\",\"data\":{\"topic\":\"b\"}}\n\n" +
			"id: 4\ndata: {\"id\":\"4\",\"topic\":\"a/2\",\"data\":\"goes on\",\"time\":\"2000-01-01T00:00:00Z\"}\n\n")
		if got := a.take(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// PROTOCOL.md §5.10: "each event and signal in JSON and one LF."
func TestStream(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		a := s.get("/topics/**", "Accept: application/x-ndjson")
		defer a.leave()
		s.publishAs("a", "paid", "application/json", "{\n\"total\":12}")
		s.publishAs("b/c", "", "image/png", "\x89PNG")
		s.end("a")
		want := s.withIDs(`{"id":"0","event":"$ping","data":{"interval":25}}
{"id":"1","topic":"a","event":"paid","data":{ "total":12},"time":"2000-01-01T00:00:00Z"}
{"id":"2","topic":"b/c","media":"image/png","data":"data:image/png;base64,iVBORw==","binary":true,"time":"2000-01-01T00:00:00Z"}
{"id":"3","event":"$end","data":{"topic":"a"}}
`)
		if got := a.take(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		for name, want := range map[string]string{
			"Content-Type": "application/x-ndjson", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	})
}

// streaming are the transports whose answer never ends by itself.
var streaming = []string{"sse", "stream", "multipart", "mixed", "iframe"}

// PROTOCOL.md §6.3: "The next ones follow every interval after the start of the
// subscription, no matter what else was sent."
func TestHeartbeats(t *testing.T) {
	for _, as := range streaming {
		bubble(t, &Options{Ping: 10 * time.Second}, nil, func(t *testing.T, s *site) {
			time.Sleep(3 * time.Second)
			start := time.Now()
			a := s.get("/topics/a?as=" + as)
			defer a.leave()
			first := a.take()
			if !strings.Contains(first, `{"interval":10}`) {
				t.Errorf("%s: first %q", as, first)
			}
			for n := range time.Duration(5) {
				time.Sleep(3 * time.Second)
				s.publish("b", "moves the end of the log")
				if n%2 == 0 {
					s.publish("a", "x")
				}
				_ = a.take()
				sleepUntilJustBefore(start, (n+1)*10*time.Second)
				if got := a.take(); got != "" {
					t.Errorf("%s: early: %q", as, got)
				}
				time.Sleep(time.Nanosecond)
				got := a.take()
				if end := s.hub.Now().Cursor.String(); !strings.Contains(got, "$ping") || !strings.Contains(got, end) {
					t.Errorf("%s: after %v: %q, want a $ping at %s", as, time.Since(start), got, end)
				}
			}
		})
	}
}

// The `$gap` of each form (PROTOCOL.md §6.1, §6.4), at the start.
func TestStreamGap(t *testing.T) {
	bubble(t, nil, &memlog.Options{RetainEvents: 2}, func(t *testing.T, s *site) {
		s.publish("a", "1", "2", "3", "4")
		s.publish("b", "5", "6", "7")
		for _, test := range []struct{ query, field, want string }{
			{"a?after=" + s.id(1), "", `$gap 2 {"after":"` + s.id(1) + `","oldest":"3"}`},
			{"a?after=" + s.id(2), "", `$ping 2 {"interval":25}`},
			{"a?after=earliest", "", `$ping 2 {"interval":25}`},
			{"a", "", `$ping 7 {"interval":25}`},
			{"a?after=now", "", `$ping 7 {"interval":25}`},
			{"a?after=", "", `$ping 7 {"interval":25}`},
			{"a?after=nonsense", "", `$gap 2 {"after":"nonsense","oldest":"3"}`},
			{"a?after=%FF%22%0A", "", `$gap 2 {"after":"\ufffd\"\n","oldest":"3"}`},
			{"a?after=" + s.id(8), "", `$gap 2 {"after":"` + s.id(8) + `","oldest":"3"}`},                   // beyond the end
			{"unknown?after=" + s.id(7), "", `$ping 7 {"interval":25}`},                                     // quiet
			{"unknown?after=zzz-1", "", `$gap 7 {"after":"zzz-1"}`},                                         // nothing is left
			{"a?after=now", "Last-Event-ID: " + s.id(1), `$gap 2 {"after":"` + s.id(1) + `","oldest":"3"}`}, // "it wins"
			{"a?after=" + s.id(3), "Last-Event-ID: earliest", `$gap 2 {"after":"earliest","oldest":"3"}`},
			{"a?after=" + s.id(3), "Last-Event-ID: now", `$gap 2 {"after":"now","oldest":"3"}`},
			{"a?after=" + s.id(3), "Last-Event-ID: ", `$ping 3 {"interval":25}`}, // "Empty is absent"
		} {
			parts := strings.SplitN(test.want, " ", 3)
			data := s.withIDs(parts[2])
			wantSSE := s.withIDs("event: "+parts[0]+"\nid: "+parts[1]+"\n") + "data: " + data + "\n\n"
			wantLine := s.withIDs(`{"id":"`+parts[1]+`"`) + `,"event":"` + parts[0] + `","data":` + data + "}\n"
			fields := []string{"Accept: text/event-stream"}
			if test.field != "" {
				fields = append(fields, test.field)
			}
			a := s.get("/topics/"+test.query, fields...)
			if got := a.take(); !strings.HasPrefix(got, wantSSE) {
				t.Errorf("%s %s: got %q, want %q", test.query, test.field, got, wantSSE)
			}
			a.leave()
			fields[0] = "Accept: application/x-ndjson"
			a = s.get("/topics/"+test.query, fields...)
			if got := a.take(); !strings.HasPrefix(got, wantLine) {
				t.Errorf("%s %s: got %q, want %q", test.query, test.field, got, wantLine)
			}
			a.leave()
		}
	})
}

// PROTOCOL.md §7.5: one-topic subscribers get what is left, `$end`, and are
// closed; "An sse or stream request whose cursor is at the end or after it
// gets 204".
func TestStreamEnd(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		live := s.get("/topics?topic=a&as=stream")
		both := s.get("/topics?topic=a&topic=b&as=stream")
		defer both.leave()
		s.publish("a", "1")
		s.end("a")
		end := s.withIDs(`{"id":"2","event":"$end","data":{"topic":"a"}}` + "\n")
		if got := live.all(); !strings.HasSuffix(got, end) || live.err != nil {
			t.Errorf("live: %q, %v", got, live.err)
		}
		if got := both.take(); !strings.HasSuffix(got, end) || both.isOver() {
			t.Errorf("several topics: %q", got)
		}
		late := s.get("/topics/a?as=sse&after=" + s.id(1))
		if got, want := late.all(), s.withIDs("event: $ping\nid: 1\ndata: {\"interval\":25}\n\nevent: $end\nid: 2\ndata: {\"topic\":\"a\"}\n\n"); got != want {
			t.Errorf("late: %q, want %q", got, want)
		}
		s.publish("b", "3")
		for _, query := range []string{"as=sse", "as=stream", "as=sse&after=" + s.id(2), "as=stream&after=" + s.id(3), "as=sse&after=now"} {
			a := s.get("/topics/a?" + query)
			if got := a.all(); a.StatusCode != http.StatusNoContent || got != "" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %q", query, a.StatusCode, got)
			}
		}
		// A cursor that has no place in the log counts as before the first event.
		gap := s.get("/topics/a?as=stream&after=x")
		if got := gap.all(); !strings.HasPrefix(got, s.withIDs(`{"id":"0","event":"$gap"`)) || !strings.HasSuffix(got, end) {
			t.Errorf("gap: %q", got)
		}
		if pattern := s.get("/topics/a/**?as=sse"); pattern.StatusCode != 200 {
			t.Errorf("pattern: %d", pattern.StatusCode)
		} else {
			pattern.leave()
		}
	})
}

// PROTOCOL.md §5.2: "whatever is published after a client has seen the header
// is delivered."
func TestStreamBeginsWithItsHeader(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		c := s.wire("GET /topics/a?as=stream HTTP/1.1\nHost: a\n\n")
		defer c.Close()
		c.header(t) // the server cannot go on: nobody reads
		for range 100 {
			s.publish("a", "x")
		}
		c.Conn.SetReadDeadline(time.Now().Add(time.Second))
		var body strings.Builder
		var buf [4096]byte
		for {
			n, err := c.Read(buf[:])
			body.Write(buf[:n])
			if err != nil {
				break
			}
		}
		if n := strings.Count(body.String(), `"data":"x"`); n != 100 {
			t.Errorf("%d events, want 100", n)
		}
	})
}

// PROTOCOL.md §5.17: "A connection that takes no byte for --write-timeout is
// cut", and nobody else notices.
func TestStalledStreamIsCut(t *testing.T) {
	for _, as := range streaming {
		bubble(t, &Options{WriteTimeout: 20 * time.Second, Ping: time.Hour}, nil, func(t *testing.T, s *site) {
			c := s.wire("GET /topics/a?as=" + as + " HTTP/1.1\nHost: a\n\n")
			defer c.Close()
			c.header(t)
			other := s.get("/topics/a?as=" + as)
			defer other.leave()
			if first := other.take(); !strings.Contains(first, "$ping") {
				t.Errorf("%s: %q", as, first)
			}
			// It takes the $ping, and then no more.
			for first := ""; !strings.Contains(first, `"interval"`); {
				line, err := c.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				first += line
			}
			began := time.Now()
			for range 100 {
				s.publish("a", strings.Repeat("x", 1000))
				if got := len(other.take()); got < 1000 {
					t.Errorf("%s: the other reader got %d bytes", as, got)
				}
			}
			if time.Since(began) != 0 {
				t.Errorf("%s: publishing took %v", as, time.Since(began))
			}
			if n := s.hub.Subscribers("a"); n != 2 {
				t.Errorf("%s: %d subscribers, want 2", as, n)
			}
			sleepUntilJustBefore(began, 20*time.Second)
			if n := s.hub.Subscribers("a"); n != 2 {
				t.Errorf("%s: cut early: %d subscribers", as, n)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if n := s.hub.Subscribers("a"); n != 1 {
				t.Errorf("%s: not cut: %d subscribers", as, n)
			}
		})
	}
}

// A reader that takes some bytes within each --write-timeout is slow, not gone:
// "nothing is dropped for it" (PROTOCOL.md §5.17).
func TestSlowStreamIsServed(t *testing.T) {
	bubble(t, &Options{WriteTimeout: 20 * time.Second, Ping: time.Hour}, nil, func(t *testing.T, s *site) {
		c := s.wire("GET /topics/a?as=stream HTTP/1.1\nHost: a\n\n")
		defer c.Close()
		c.header(t)
		data := strings.Repeat("x", 1<<20)
		s.publish("a", data, "last")
		var body strings.Builder
		buf := make([]byte, 4096)
		for !strings.Contains(body.String()[max(0, body.Len()-8192):], "last") {
			n, err := c.Conn.Read(buf) // past the small buffer, which is empty
			if err != nil {
				t.Fatalf("cut after %d bytes: %v", body.Len(), err)
			}
			body.Write(buf[:n])
			time.Sleep(3 * time.Second)
		}
		if body.Len() < len(data) {
			t.Errorf("%d bytes", body.Len())
		}
	})
}

// PROTOCOL.md §12: sse ends after "retry:" and an empty line, stream after a
// whole line. "Each client may get another time".
func TestStreamsEndWhenTheServerStops(t *testing.T) {
	bubble(t, &Options{Retry: 5 * time.Second}, nil, func(t *testing.T, s *site) {
		const many = 20
		var readers []*answer
		for range many {
			readers = append(readers, s.get("/topics/a?as=sse"))
		}
		lines := s.get("/topics/a?as=stream")
		s.publish("a", "x")
		for _, a := range append(readers, lines) {
			if got := a.take(); !strings.Contains(got, "x") {
				t.Errorf("got %q", got)
			}
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		seen := make(map[string]bool)
		for _, a := range readers {
			got := a.all()
			ms, ok := strings.CutPrefix(got, "retry: ")
			if ms, ok2 := strings.CutSuffix(ms, "\n\n"); !ok || !ok2 || len(ms) != 4 || ms < "5000" || ms > "9999" || a.err != nil {
				t.Errorf("sse ends with %q, %v", got, a.err)
			}
			seen[got] = true
		}
		if len(seen) < 2 {
			t.Errorf("all come back after %v", seen)
		}
		if got := lines.all(); got != "" || lines.err != nil {
			t.Errorf("stream ends with %q, %v", got, lines.err)
		}
		if a := s.get("/topics/a"); a.StatusCode != 503 || !strings.Contains(a.all(), "shutting-down") || a.Header.Get("Retry-After") == "" {
			t.Errorf("a new request gets %d", a.StatusCode)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

// A client that goes away leaves nothing behind, and its connection is of use
// to the next request if the stream ended in good order.
func TestStreamsLeaveNothing(t *testing.T) {
	bubble(t, &Options{WriteTimeout: time.Second}, nil, func(t *testing.T, s *site) {
		a := s.get("/topics/a?as=sse")
		synctest.Wait()
		if n := s.hub.Subscribers("a"); n != 1 {
			t.Errorf("%d subscribers, want 1", n)
		}
		a.leave()
		synctest.Wait()
		if n := s.hub.Subscribers("a"); n != 0 {
			t.Errorf("%d subscribers are left", n)
		}
		c := s.wire("GET /topics/b?as=stream HTTP/1.1\nHost: a\n\n")
		defer c.Close()
		c.header(t)
		s.end("b")
		for line := ""; line != "0\r\n"; {
			var err error
			if line, err = c.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // the time limit of its writes is over
		if _, err := c.Write([]byte("GET /topics/b HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if got := c.header(t); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
			t.Errorf("got %q", got)
		}
	})
}
