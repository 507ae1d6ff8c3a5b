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
	curl := tool(t, "curl", "curl")
	tailPath := tool(t, "tail", "coreutils")
	s := serve(t)
	want := logLines()

	// The readers. Those that know ids tell them.
	readers := make(map[string]func() []record)
	var opened []func() bool
	sees := func(text *transcript, sign string) {
		opened = append(opened, func() bool { return strings.Contains(text.String(), sign) })
	}

	sse := start(t, command(curl, "-sSN", "-H", "Accept: text/event-stream", s.topic("log")))
	sees(&sse.stdout, "$ping")
	readers["curl, SSE"] = func() []record { return messagesOf(sse.stdout.String()) }

	ndjson := start(t, command(curl, "-sSN", "-H", "Accept: application/x-ndjson", s.topic("log")))
	sees(&ndjson.stdout, "$ping")
	readers["curl, NDJSON"] = func() []record { return recordsOf(t, ndjson.stdout.lines()) }

	poller := newCurlPoller(t, s, "log")
	readers["curl, long-poll"] = poller.records

	subs := make(map[string]*process)
	for _, as := range []string{"websocket", "sse", "stream", "longpoll", "poll"} {
		p := start(t, command(program, "sub", "log", "--as", as, "--json", "--server", s.url))
		sees(&p.stderr, "subscribed")
		readers["duplex sub --as "+as] = func() []record { return recordsOf(t, p.stdout.lines()) }
		subs[as] = p
	}

	f := newFront(t, s.url)
	eventSource := newTab(t, f.url+"/page")
	eventSource.run(`heard = []; opened = false
		source = new EventSource("/topics/log");
		source.onopen = () => opened = true;
		source.onmessage = (e) => heard.push([e.lastEventId, e.data])`)
	raw := newTab(t, f.url+"/page")
	raw.run(`heard = []; opened = false
		socket = new WebSocket("/topics/log");
		socket.onopen = () => opened = true;
		socket.onmessage = (e) => heard.push(["", e.data])`)
	subprotocol := newTab(t, f.url+"/page")
	subprotocol.run(`heard = []; opened = false
		socket = new WebSocket("/topics", "duplex.v1");
		socket.onopen = () => socket.send(JSON.stringify({op: "subscribe", topic: "log", ref: 1}));
		socket.onmessage = (e) => {
			const m = JSON.parse(e.data);
			if (m.op === "ok") opened = true;
			else if (m.topic) heard.push([m.id, m.data]);
		}`)
	for name, page := range map[string]*tab{"EventSource": eventSource, "WebSocket": raw, "WebSocket, duplex.v1": subprotocol} {
		opened = append(opened, func() bool { page.until("opened"); return true })
		readers["Chromium, "+name] = func() []record {
			return pairsOf(evaluate[[][2]string](page, "heard"))
		}
	}
	live := newTab(t, s.topic("log"))
	opened = append(opened, func() bool { live.until(`document.getElementById("status").dataset.state === "open"`); return true })
	readers["topic page"] = func() []record {
		pairs := evaluate[[][2]string](live, `[...document.querySelectorAll("#events li:not(.signal)")].map((li) => [li.querySelector("code").textContent, li.querySelector("pre").textContent])`)
		slices.Reverse(pairs) // the newest is on top
		return pairsOf(pairs)
	}
	for i, isOpen := range opened {
		until(t, fmt.Sprintf("reader %d", i), isOpen)
	}

	// The file grows, and tail pipes it through duplex pub.
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
	var growing sync.WaitGroup
	// Ends with the last line. Joined below.
	growing.Go(func() {
		pace := time.NewTicker(5 * time.Millisecond)
		defer pace.Stop()
		for _, line := range want {
			<-pace.C
			if _, err := file.WriteString(line + "\n"); err != nil {
				t.Error(err)
				return
			}
		}
	})
	growing.Wait()

	ids := make([]string, len(want))
	until(t, "all lines in the log", func() bool {
		p := s.page(t, "log", "?after=earliest&limit=1000")
		for i, e := range p.Events[:min(len(p.Events), len(want))] {
			ids[i] = e.ID
		}
		return len(p.Events) >= len(want)
	})
	following.signal(t, syscall.SIGTERM)
	if code := publishing.exitCode(t); code != 0 {
		t.Errorf("duplex pub: exit code %d", code)
	}
	if summary := publishing.stderr.String(); !strings.HasPrefix(summary, fmt.Sprintf("%d events in ", len(want))) {
		t.Errorf("duplex pub tells %q", summary)
	}

	published := make([]record, len(want))
	for i, line := range want {
		published[i] = record{ids[i], line}
	}
	for name, records := range readers {
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
	live.screenshot("topic-page.png")
	live.checkQuiet()
	eventSource.checkQuiet()
	raw.checkQuiet()
	subprotocol.checkQuiet()

	// The end of the topic is the end of all of them (§7.5).
	eventSource.run("source.close()") // it would try once more, in two seconds
	s.end(t, "log")
	for name, p := range map[string]*process{"curl, SSE": sse, "curl, NDJSON": ndjson, "sub websocket": subs["websocket"], "sub sse": subs["sse"],
		"sub stream": subs["stream"], "sub longpoll": subs["longpoll"], "sub poll": subs["poll"]} {
		if code := p.exitCode(t); code != 0 {
			t.Errorf("%s: exit code %d at the end of the topic", name, code)
		}
	}
	live.until(`document.getElementById("status").textContent === "the topic has ended"`)
	poller.stop()
	checkRecords(t, "curl, long-poll", poller.records(), published)
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
