//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// listen is a script that opens an EventSource and notes what it hears.
const listen = `heard = [];
listen = (url, ...types) => {
	window.source = new EventSource(url);
	source.onopen = () => heard.push(["open"]);
	source.onerror = () => heard.push(["error", String(source.readyState)]);
	const note = (name) => (e) => heard.push([name, e.type, e.lastEventId, e.data, e.origin]);
	source.onmessage = note("onmessage");
	for (const type of types) source.addEventListener(type, note("listener"));
};`

// What an EventSource makes of the fields (PROTOCOL.md §5.9).
func TestEventSource(t *testing.T) {
	s := serve(t)
	f := newFront(t, s.url)
	p := newTab(t, f.url+"/page")
	p.run(listen + `listen("/topics/demo", "foo", "bar", "$ping")`)
	p.until(`heard.length >= 2`)
	check(p, `heard[0][0]`, "open")
	check(p, `JSON.stringify(heard[1].slice(0, 2))`, `["listener","$ping"]`)
	check(p, `JSON.parse(heard[1][3]).interval`, 25)
	p.run(`heard = []`)

	lines := "{\n  \"msg\": \"hello world\",\n  \"id\": 12345\n}" // four lines, one message
	want := [][]string{
		{"onmessage", "message", s.publish(t, "demo", "", "text/plain", "no type"), "no type", f.url},
		{"listener", "foo", s.publish(t, "demo", "?event=foo", "text/plain", "a foo"), "a foo", f.url},
		{"listener", "bar", s.publish(t, "demo", "?event=bar", "text/plain", "a bar"), "a bar", f.url},
	}
	s.publish(t, "demo", "?event=baz", "text/plain", "nobody listens")
	want = append(want,
		[]string{"onmessage", "message", s.publish(t, "demo", "", "application/json", lines), lines, f.url},
		[]string{"onmessage", "message", s.publish(t, "demo", "", "text/plain", ""), "", f.url},
		[]string{"onmessage", "message", s.publish(t, "demo", "", "text/plain", " : not a comment\n\nid: 7\nretry: 1"), " : not a comment\n\nid: 7\nretry: 1", f.url},
		[]string{"onmessage", "message", s.publish(t, "demo", "", "text/plain", "\ufeffgrüße, 世界 🦫\u2028"), "\ufeffgrüße, 世界 🦫\u2028", f.url},
		[]string{"onmessage", "message", s.publish(t, "demo", "", "text/plain", "cr\rcrlf\r\nlf\n"), "cr\ncrlf\nlf\n", f.url},
		[]string{"onmessage", "message", s.publish(t, "demo", "", "image/gif", "GIF89a"), "data:image/gif;base64,R0lGODlh", f.url},
	)
	p.until(fmt.Sprintf(`heard.length >= %d`, len(want)))
	got := evaluate[[][]string](p, `heard`)
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || fmt.Sprint(got[i]) != fmt.Sprint(want[i]) {
			t.Fatalf("heard %q, not %q", got, want)
		}
	}
	check(p, `heard[3][3].split("\n").length`, 4)
	p.checkQuiet()
}

// An EventSource whose connection is cut comes back by itself, after the time
// of "retry:", and has missed nothing (PROTOCOL.md §5.2: Last-Event-ID wins).
func TestEventSourceReconnects(t *testing.T) {
	s := serve(t)
	f := newFront(t, s.url)
	c := newCutter(t, f.addr)
	p := newTab(t, c.url+"/page")
	p.run(listen + `
		opened = 0; failed = 0; data = [];
		listen("/topics/demo");
		source.onopen = () => opened++;
		source.onerror = () => failed++;
		source.onmessage = (e) => data.push([e.lastEventId, e.data]);`)
	p.until(`opened === 1`)
	const cuts = 3
	var want []record
	publish := func() {
		data := fmt.Sprintf("event %d", len(want))
		want = append(want, record{s.publish(t, "demo", "", "text/plain", data), data})
	}
	for i := range cuts {
		for range 20 {
			publish()
		}
		cut := time.Now()
		if c.cut() == 0 {
			t.Fatal("there was nothing to cut")
		}
		for range 20 { // while it is away, or before it has noticed
			publish()
		}
		p.until(fmt.Sprintf(`failed === %d && opened === %d`, i+1, i+2))
		// The server's two seconds (a browser's own choice would be three), as exact as a timer is.
		if away := f.lastAsked().Sub(cut); away < 1990*time.Millisecond {
			t.Errorf("came back after %v, though the server said retry: 2000", away)
		}
	}
	publish()
	p.until(fmt.Sprintf(`data.length >= %d`, len(want)))
	checkRecords(t, "EventSource", pairsOf(evaluate[[][2]string](p, `data`)), want)
}

// "204: the only thing that stops an EventSource" (PROTOCOL.md §7.5): it comes
// back once after the end of its topic, and then no more.
func TestEventSourceStops(t *testing.T) {
	s := serve(t)
	f := newFront(t, s.url)
	p := newTab(t, f.url+"/page")
	s.publish(t, "demo", "", "text/plain", "one")
	p.run(listen + `listen("/topics/demo?after=earliest", "$end")`)
	p.until(`heard.some((h) => h[3] === "one")`)
	s.end(t, "demo")
	p.until(`heard.some((h) => h[1] === "$end")`)
	p.until(`source.readyState === EventSource.CLOSED`)
	if n := f.answered(204); n != 1 {
		t.Errorf("answered with 204 %d times", n)
	}
	check(p, `JSON.parse(heard.find((h) => h[1] === "$end")[3]).topic`, "demo")
	check(p, `heard.filter((h) => h[0] === "onmessage").length`, 1)
}

// A stream of JSON lines, read by fetch.
func TestFetchStream(t *testing.T) {
	s := serve(t)
	f := newFront(t, s.url)
	p := newTab(t, f.url+"/page")
	p.run(`heard = []; opened = false; over = false;
		(async () => {
			const response = await fetch("/topics/demo", { headers: { Accept: "application/x-ndjson" } });
			opened = response.status === 200;
			const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
			for (let rest = ""; ; ) {
				const { value, done } = await reader.read();
				if (done) break;
				const lines = (rest + value).split("\n");
				rest = lines.pop();
				heard.push(...lines);
			}
			over = true;
		})(); undefined`)
	p.until(`opened`)
	var want []record
	for i, data := range []string{"plain", `{"n":1}`, "<b>bold</b>", "grüße\nzwei", `"quoted"`} {
		media := "text/plain"
		if i == 1 {
			media = "application/json"
		}
		want = append(want, record{s.publish(t, "demo", "", media, data), data})
	}
	s.end(t, "demo")
	p.until(`over`)
	lines := evaluate[[]string](p, `heard`)
	checkRecords(t, "fetch", recordsOf(t, lines), want)
	var first, last event
	decode(t, lines[0], &first)
	decode(t, lines[len(lines)-1], &last)
	if first.Event != "$ping" || last.Event != "$end" {
		t.Errorf("begins with %q and ends with %q", first.Event, last.Event)
	}
	p.checkQuiet()
}
