package view

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/duplexhq/duplex/sse"
	"github.com/duplexhq/duplex/topic"
)

// A transport that carries JSON gives every byte as it was published, whatever
// it is; a bare event stream gives text with LF for CR and CRLF, and binary as a
// data URL (PROTOCOL.md §3.4, §5.9).
func TestHostileDataRoundTrip(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	noise := make([]byte, 1000)
	for i := range noise {
		const bytes = "\r\n\x00:d a\"\\\xe2\x80\xa8\xff"
		noise[i] = bytes[random.IntN(len(bytes))]
	}
	large := make([]byte, 300_000)
	for i := range large {
		large[i] = byte(random.Uint32())
	}
	data := []string{
		"", "\n", "\r", "\r\n", "\n\r", "a\r\rb\n\nc\r\n\r\n", " leading", ": comment", "data: x\n\nid: 1\n\n", "\x00", "\ufeffbom", "\u2028\u2029\u0085\x7f",
		"\xff\xfe", "\xed\xa0\x80", "a\xc3", `"quoted\" </script>`, "{}", `{"id":"x"}`, "null", "data:text/plain;base64,eA==",
		string(every), string(noise), string(large),
	}
	medias := []string{"", "text/plain", "text/html; charset=utf-8", "application/octet-stream", "image/png", "application/x-www-form-urlencoded", "application/vnd.x+json", `text/x; a="b, c\""`}
	bubble(t, &Options{Ping: time.Hour}, nil, func(t *testing.T, s *site) {
		lines, enveloped, bare := s.get("/topics/a/b?as=stream"), s.get("/topics/a/b?as=sse&envelope"), s.get("/topics/a/b?as=sse")
		socket, raw := s.duplex("/topics/a/b"), s.connect("/topics/a/b", "")
		socket.take()
		raw.take()
		first := func(a *answer, end string) string { _, rest, _ := strings.Cut(a.take(), end); return rest }
		_, _, _ = first(lines, "\n"), first(enveloped, "\n\n"), first(bare, "\n\n")
		before := s.hub.Now().Cursor.String()
		for _, d := range data {
			for _, media := range medias {
				if len(d) >= len(large) && media != "text/plain" && media != "image/png" {
					continue // enough of it
				}
				fields := []string{}
				if media != "" {
					fields = append(fields, "Content-Type: "+media)
				}
				a := s.open("POST", "/topics/a/b?event=type%20%C3%A9", d, fields...)
				var published struct{ ID string }
				if err := json.Unmarshal([]byte(a.all()), &published); err != nil || a.StatusCode != 201 {
					t.Fatalf("%d, %v", a.StatusCode, err)
				}
				draft, err := topic.NewDraft("", media, []byte(d))
				if err != nil {
					t.Fatal(err)
				}
				check := func(where, line string) {
					t.Helper()
					e, err := topic.ParseEnvelope([]byte(line))
					if err != nil || e.ID != published.ID || e.Topic != "a/b" || e.Type != "type é" || string(e.Data) != d || (e.Kind == topic.Binary) != (draft.Kind == topic.Binary) {
						t.Errorf("%s: %.50q as %q: got %.200q, %v", where, d, media, line, err)
					}
					if strings.ContainsAny(line, "\r\n") {
						t.Errorf("%s: %.50q as %q: more than one line", where, d, media)
					}
				}
				check("stream", strings.TrimSuffix(lines.take(), "\n"))
				if got := socket.take(); len(got) == 1 {
					check("duplex.v1", got[0])
				} else {
					t.Errorf("duplex.v1: %d messages", len(got))
				}
				var page struct{ Events []json.RawMessage }
				if err := json.Unmarshal([]byte(s.get("/topics/a/b?after="+before).all()), &page); err != nil || len(page.Events) != 1 {
					t.Fatalf("page: %d events, %v", len(page.Events), err)
				}
				check("page", string(page.Events[0]))
				before = published.ID
				if e := parseStream(t, enveloped.take()); len(e) == 1 && e[0].Type == "type é" && e[0].ID == published.ID {
					check("sse?envelope", string(e[0].Data))
				} else {
					t.Errorf("sse?envelope: got %d events", len(e))
				}
				want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(d)
				wantRaw := d
				if draft.Kind == topic.Binary {
					want = string(topic.AppendDataURL(nil, draft.Media, []byte(d)))
					wantRaw = fmt.Sprintf("binary %x", d)
				}
				if e := parseStream(t, bare.take()); len(e) != 1 || string(e[0].Data) != want || e[0].Type != "type é" || e[0].ID != published.ID {
					t.Errorf("sse: %.50q as %q: got %.200v", d, media, e)
				}
				if got := raw.take(); !slices.Equal(got, []string{wantRaw}) {
					t.Errorf("raw: %.50q as %q: got %.200q", d, media, got)
				}
			}
		}
		for _, a := range []*answer{lines, enveloped, bare} {
			a.leave()
		}
		socket.leave(t)
		raw.leave(t)
	})
}

// An event of 5 MiB, with a limit that allows it.
func TestLargeDataRoundTrip(t *testing.T) {
	data := strings.Repeat("\r\n\u2028\""+strings.Repeat("x", 1017), 5<<10)
	bubble(t, &Options{MaxEventBytes: int64(len(data)), Ping: time.Hour}, nil, func(t *testing.T, s *site) {
		lines, enveloped := s.get("/topics/a?as=stream"), s.get("/topics/a?as=sse&envelope")
		lines.take()
		enveloped.take()
		if a := s.open("POST", "/topics/a", data+"x"); a.StatusCode != 413 {
			t.Errorf("one byte more: %d", a.StatusCode)
		}
		if a := s.open("POST", "/topics/a", data); a.StatusCode != 201 {
			t.Fatal(a.StatusCode)
		}
		var page struct{ Events []json.RawMessage }
		if err := json.Unmarshal([]byte(s.get("/topics/a").all()), &page); err != nil {
			t.Fatal(err)
		}
		for where, line := range map[string]string{
			"stream": lines.take(), "page": string(page.Events[0]), "sse?envelope": string(parseStream(t, enveloped.take())[0].Data),
		} {
			if e, err := topic.ParseEnvelope([]byte(line)); err != nil || string(e.Data) != data {
				t.Errorf("%s: %d bytes, %v", where, len(e.Data), err)
			}
		}
		lines.leave()
		enveloped.leave()
	})
}

func parseStream(t *testing.T, text string) (events []sse.Event) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("not UTF-8: %.100q", text)
	}
	p := sse.Parser{MaxEventBytes: 64 << 20}
	for e, err := range p.Feed([]byte(text)) {
		if err != nil {
			t.Fatal(err)
		}
		e.Data = slices.Clone(e.Data)
		events = append(events, e)
	}
	return events
}

// A JSON document goes as the value that it is.
func TestJSONRoundTrip(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, s *site) {
		lines := s.get("/topics/a?as=stream")
		defer lines.leave()
		lines.take()
		for _, d := range []string{
			`{"total":12}`, "{\r\n\t\"a\" :\n[1e400, -0.0]\r}", `"a string"`, `"\u2028\ud83d\ude00"`, "\" \u2028 \"", "null", "0", " [ ] ", `{"a":1,"a":2}`,
			strings.Repeat("[", 500) + strings.Repeat("]", 500),
		} {
			s.publishAs("a", "", "application/json", d)
			e, err := topic.ParseEnvelope([]byte(strings.TrimSuffix(lines.take(), "\n")))
			want := strings.Trim(strings.NewReplacer("\r", " ", "\n", " ").Replace(d), " ")
			if err != nil || e.Kind != topic.JSON || string(e.Data) != want {
				t.Errorf("%.100q: got %.100q, %v", d, e.Data, err)
			}
		}
	})
}

// The sink of a subscriber keeps no bytes after they were written, and passes
// on none that have no length.
func TestHandoff(t *testing.T) {
	h := newHandoff()
	chunk := []byte("x")
	many := slices.Repeat([][]byte{chunk, nil}, 100)
	if h.Send(topic.Batch{Chunks: many, End: topic.ErrEnded}) {
		t.Error("done before it is written")
	}
	<-h.filled
	if n := len(h.batch.Chunks); n != 100 || h.batch.End != topic.ErrEnded {
		t.Errorf("%d chunks, end %v", n, h.batch.End)
	}
	if &h.batch.Chunks[0][0] != &chunk[0] {
		t.Error("a copy")
	}
	h.release()
	if cap(h.batch.Chunks) > 16 {
		t.Errorf("keeps room for %d chunks", cap(h.batch.Chunks))
	}
	h.Send(topic.Batch{Chunks: [][]byte{chunk}})
	<-h.filled
	kept := h.batch.Chunks
	h.release()
	if kept[0] != nil {
		t.Error("keeps a chunk")
	}
	if h.Send(topic.Batch{}); len(h.batch.Chunks) != 0 || h.batch.End != nil {
		t.Errorf("an empty batch is %v", h.batch)
	}
}

// A seated connection notes what it is told.
type seated struct {
	at         place
	away, cuts int
}

func (s *seated) goAway()       { s.away++ }
func (s *seated) cut()          { s.cuts++ }
func (s *seated) place() *place { return &s.at }

// Whoever is there is told to go, whoever has gone before, or was never there.
func TestConnectionsComeAndGo(t *testing.T) {
	var c connections
	there := make([]seated, 10)
	for i := range there {
		c.enter()
		if i != 5 { // its client was faster
			c.add(&there[i])
		}
	}
	gone := []int{0, 9, 5, 3, 1, 4}
	for _, i := range gone {
		c.remove(&there[i])
	}
	c.enter()
	c.add(&there[3]) // once more
	c.drain()
	c.cut()
	for i := range there {
		want := 1
		if slices.Contains(gone, i) && i != 3 {
			want = 0
		}
		if there[i].away != want || there[i].cuts != want {
			t.Errorf("connection %d was told %d times to go, cut %d times", i, there[i].away, there[i].cuts)
		}
	}
	if c.count() != 5 {
		t.Errorf("%d are open", c.count())
	}
}

// Connections that were counted are waited for, later ones refused.
func TestConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c connections
		for range 2 {
			if !c.enter() {
				t.Fatal("refused")
			}
		}
		c.leave()
		gone := c.drain()
		if c.enter() {
			t.Error("one more while draining")
		}
		synctest.Wait()
		select {
		case <-gone:
			t.Error("one is still there")
		default:
		}
		c.leave()
		<-gone
		<-c.drain()
		var none connections
		<-none.drain()
	})
}
