//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// logLines are lines as logs have them, among them some that are easy to
// spoil on the way.
func logLines() []string {
	odd := []string{
		"", " ", "  leading and trailing  ", "\ttab", `back\slash "quotes" 'single' \n \u0041`, `{"level":"info","n":12}`, `"json string"`, "null", "42",
		"<script>alert(1)</script> &amp; <b>bold</b>", "data: x", "id: 1", ": comment", "event: $end", "$gap", "Grüße, 世界, 🦫 e\u0301", "\u2028line\u2029separators",
		"\x1b[31mred\x1b[0m", "[DONE]", "%s %d %%", strings.Repeat("long ", 4000),
	}
	var lines []string
	for i := range 380 {
		lines = append(lines, fmt.Sprintf("Aug 22 10:%02d:%02d host kernel: [%5d.%06d] eth0: message %d", i/60, i%60, i, i*997%1000000, i))
		if i%18 == 0 && i/18 < len(odd) {
			lines = append(lines, odd[i/18])
		}
	}
	return lines
}

// A growing file of the machine reaches all clients at the same time and
// identically (PROTOCOL.md §1.1: "A transport is an encoding").
func TestGrowingLogFile(t *testing.T) {
	tailPath := tool(t, "tail", "coreutils")
	s := serve(t)
	r := newLogReaders(t, s)
	r.addCommands(tool(t, "curl", "curl"))
	r.addPages()
	for i, isOpen := range r.opened {
		until(t, fmt.Sprintf("reader %d", i), isOpen)
	}
	want := logLines()
	published := growLog(t, s, tailPath, want)
	for name, records := range r.records {
		expected := published
		if name == "Chromium, WebSocket" { // without an envelope there are no ids (§8.2)
			expected = slices.Clone(published)
			for i := range expected {
				expected[i].id = ""
			}
		}
		eventually(func() bool { return len(records()) >= len(want) }) // if not, the next line says what is missing
		checkRecords(t, name, records(), expected)
	}
	r.live.screenshot("topic-page.png")
	r.live.checkQuiet()
	for _, page := range r.pages {
		page.checkQuiet()
	}

	// The end of the topic is the end of all of them (§7.5).
	r.pages["EventSource"].run("source.close()") // it would try once more, in two seconds
	s.end(t, "log")
	for name, p := range r.processes {
		if code := p.exitCode(t); code != 0 {
			t.Errorf("%s: exit code %d at the end of the topic", name, code)
		}
	}
	r.live.until(`document.getElementById("status").textContent === "the topic has ended"`)
	r.poller.stop()
	checkRecords(t, "curl, long-poll", r.poller.records(), published)
}

// logReaders read the topic "log" in all ways.
type logReaders struct {
	t       *testing.T
	s       *server
	opened  []func() bool // each is live
	records map[string]func() []record

	processes map[string]*process
	pages     map[string]*tab
	live      *tab // the topic's own page
	poller    *curlPoller
}

func newLogReaders(t *testing.T, s *server) *logReaders {
	return &logReaders{
		t: t, s: s, records: make(map[string]func() []record), processes: make(map[string]*process), pages: make(map[string]*tab),
	}
}

// addCommands adds those of the command line.
func (r *logReaders) addCommands(curl string) {
	sees := func(text *transcript, sign string) {
		r.opened = append(r.opened, func() bool { return strings.Contains(text.String(), sign) })
	}
	sse := start(r.t, command(curl, "-sSN", "-H", "Accept: text/event-stream", r.s.topic("log")))
	sees(&sse.stdout, "$ping")
	r.processes["curl, SSE"] = sse
	r.records["curl, SSE"] = func() []record { return messagesOf(sse.stdout.String()) }

	ndjson := start(r.t, command(curl, "-sSN", "-H", "Accept: application/x-ndjson", r.s.topic("log")))
	sees(&ndjson.stdout, "$ping")
	r.processes["curl, NDJSON"] = ndjson
	r.records["curl, NDJSON"] = func() []record { return recordsOf(r.t, ndjson.stdout.lines()) }

	r.poller = newCurlPoller(r.t, r.s, "log")
	r.records["curl, long-poll"] = r.poller.records

	for _, as := range []string{"websocket", "sse", "stream", "longpoll", "poll"} {
		p := start(r.t, command(program, "sub", "log", "--as", as, "--json", "--server", r.s.url))
		sees(&p.stderr, "subscribed")
		r.processes["duplex sub --as "+as] = p
		r.records["duplex sub --as "+as] = func() []record { return recordsOf(r.t, p.stdout.lines()) }
	}
}

// addPages adds those of a browser.
func (r *logReaders) addPages() {
	f := newFront(r.t, r.s.url)
	for name, script := range map[string]string{
		"EventSource": `heard = []; opened = false
			source = new EventSource("/topics/log");
			source.onopen = () => opened = true;
			source.onmessage = (e) => heard.push([e.lastEventId, e.data])`,
		"WebSocket": `heard = []; opened = false
			socket = new WebSocket("/topics/log");
			socket.onopen = () => opened = true;
			socket.onmessage = (e) => heard.push(["", e.data])`,
		"WebSocket, duplex.v1": `heard = []; opened = false
			socket = new WebSocket("/topics", "duplex.v1");
			socket.onopen = () => socket.send(JSON.stringify({op: "subscribe", topic: "log", ref: 1}));
			socket.onmessage = (e) => {
				const m = JSON.parse(e.data);
				if (m.op === "ok") opened = true;
				else if (m.topic) heard.push([m.id, m.data]);
			}`,
	} {
		page := newTab(r.t, f.url+"/page")
		page.run(script)
		r.pages[name] = page
		r.opened = append(r.opened, func() bool { page.until("opened"); return true })
		r.records["Chromium, "+name] = func() []record { return pairsOf(evaluate[[][2]string](page, "heard")) }
	}
	r.live = newTab(r.t, r.s.topic("log"))
	r.opened = append(r.opened, func() bool { r.live.until(`document.getElementById("status").dataset.state === "open"`); return true })
	r.records["topic page"] = func() []record {
		pairs := evaluate[[][2]string](r.live, `[...document.querySelectorAll("#events li:not(.signal)")].map((li) => [li.querySelector("code").textContent, li.querySelector("pre").textContent])`)
		slices.Reverse(pairs) // the newest is on top
		return pairsOf(pairs)
	}
}

// growLog has a file grow by lines, which tail pipes through duplex pub, and
// returns what is in the topic then.
func growLog(t *testing.T, s *server, tailPath string, lines []string) []record {
	t.Helper()
	path := filepath.Join(t.TempDir(), "machine.log")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	follow := command(tailPath, "-s", "0.05", "-f", "-n", "+1", path)
	pub := command(program, "pub", "log", "-", "--server", s.url)
	piped, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	follow.Stdout, pub.Stdin = input, piped
	following, publishing := start(t, follow), start(t, pub)
	input.Close() // theirs now
	piped.Close()
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for _, line := range lines {
		<-pace.C
		if _, err := file.WriteString(line + "\n"); err != nil {
			t.Fatal(err)
		}
	}

	published := make([]record, len(lines))
	for i, line := range lines {
		published[i].data = line
	}
	until(t, "all lines in the log", func() bool {
		p := s.page(t, "log", "?after=earliest&limit=1000")
		for i, e := range p.Events[:min(len(p.Events), len(lines))] {
			published[i].id = e.ID
		}
		return len(p.Events) >= len(lines)
	})
	following.signal(t, syscall.SIGTERM)
	if code := publishing.exitCode(t); code != 0 {
		t.Errorf("duplex pub: exit code %d", code)
	}
	if summary := publishing.stderr.String(); !strings.HasPrefix(summary, fmt.Sprintf("%d events in ", len(lines))) {
		t.Errorf("duplex pub tells %q", summary)
	}
	return published
}

func pairsOf(pairs [][2]string) []record {
	records := make([]record, len(pairs))
	for i, p := range pairs {
		records[i] = record{p[0], p[1]}
	}
	return records
}

// A curlPoller runs curl for one long-poll after the other, until the topic
// ends.
type curlPoller struct {
	polling sync.WaitGroup
	mu      sync.Mutex // guards got
	got     []record
}

func newCurlPoller(t *testing.T, s *server, name string) *curlPoller {
	t.Helper()
	p := new(curlPoller)
	cursor := s.page(t, name, "").Cursor
	// Ends with the topic or the test. Joined by stop.
	p.polling.Go(func() {
		for t.Context().Err() == nil {
			cmd := command("curl", "-sS", "--get", "--max-time", curlPatience, "-H", "Accept: application/json", "-H", "Prefer: wait=2",
				"--data-urlencode", "after="+cursor, s.topic(name))
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("curl, long-poll: %v", err)
				return
			}
			var answer page
			if err := json.Unmarshal(out, &answer); err != nil {
				t.Errorf("curl, long-poll: %v in %q", err, out)
				return
			}
			p.mu.Lock()
			for _, e := range answer.Events {
				p.got = append(p.got, record{e.ID, e.text()})
			}
			p.mu.Unlock()
			if answer.End || answer.Cursor == "" {
				return
			}
			cursor = answer.Cursor
		}
	})
	t.Cleanup(p.stop)
	return p
}

func (p *curlPoller) records() []record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

func (p *curlPoller) stop() { p.polling.Wait() }
