package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/duplexhq/duplex/cmd/duplex/internal/stdio"
)

// An output is what a command prints, for a test that waits for some of it.
type output struct {
	mu   sync.Mutex
	more sync.Cond
	text bytes.Buffer // guarded by mu
}

func newOutput() *output {
	o := new(output)
	o.more.L = &o.mu
	return o
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.more.Broadcast()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// wait returns when the text is there, or the test is over.
func (o *output) wait(t *testing.T, text string) {
	t.Helper()
	defer context.AfterFunc(t.Context(), o.more.Broadcast)()
	o.mu.Lock()
	defer o.mu.Unlock()
	for !strings.Contains(o.text.String(), text) {
		if t.Context().Err() != nil {
			t.Fatalf("no %q in %q", text, o.text.String())
		}
		o.more.Wait()
	}
}

// A process is a command that runs.
type process struct {
	t        *testing.T
	out, err *output
	stop     context.CancelFunc
	code     chan int
}

func begin(t *testing.T, in io.Reader, args ...string) *process {
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &process{t: t, out: newOutput(), err: newOutput(), stop: stop, code: make(chan int, 1)}
	go func() {
		code := run(ctx, args, &console{in: in, out: p.out, err: p.err})
		p.code <- code
		p.out.more.Broadcast()
	}()
	t.Cleanup(stop)
	return p
}

// end waits for the exit code.
func (p *process) end(want int) {
	p.t.Helper()
	if code := <-p.code; code != want {
		p.t.Errorf("exit code %d, want %d\n%s%s", code, want, p.out, p.err)
	}
}

// duplex runs a command to its end and returns what it printed.
func duplex(t *testing.T, code int, in string, args ...string) (out, err string) {
	t.Helper()
	p := begin(t, strings.NewReader(in), args...)
	p.end(code)
	return p.out.String(), p.err.String()
}

// conversation runs a command whose input ends when it has printed some answer.
func conversation(t *testing.T, in, answer string, args ...string) (out, err string) {
	t.Helper()
	r, w := io.Pipe()
	p := begin(t, r, append(args, "--wait", "1ms")...)
	if _, err := io.WriteString(w, in); err != nil {
		t.Fatal(err)
	}
	p.out.wait(t, answer)
	w.Close()
	p.end(exitDone)
	return p.out.String(), p.err.String()
}

// serve runs a server and returns its URL.
func serve(t *testing.T, args ...string) string {
	t.Helper()
	p := begin(t, nil, append([]string{"serve", "--memory", "--listen", "127.0.0.1:0"}, args...)...)
	t.Cleanup(func() {
		p.stop()
		p.end(exitDone)
	})
	p.err.wait(t, "poll ")
	_, url, _ := strings.Cut(p.err.String(), "Duplex listens on ")
	url, _, _ = strings.Cut(url, " ")
	return url
}

func TestPubAndSub(t *testing.T) {
	url := serve(t)
	for _, transport := range []string{"websocket", "sse", "stream", "longpoll", "poll"} {
		t.Run(transport, func(t *testing.T) {
			sub := begin(t, nil, "sub", transport+"/*", "--as", transport, "--limit", "4", "--json", "--server", url)
			sub.err.wait(t, "subscribed ("+transport+")")
			var ids []string
			for _, args := range [][]string{
				{"pub", transport + "/a", "hello <world>"},
				{"pub", transport + "/b", "--event", "paid", "--json", `{"total":12}`},
				{"pub", transport + "/c", "--content-type", "image/png"},
				{"pub", transport + "/d", ""},
			} {
				id, _ := duplex(t, exitDone, "\x89PNG", append(args, "--server", url)...)
				ids = append(ids, strings.TrimSpace(id))
			}
			sub.end(exitDone)
			lines := strings.SplitAfter(sub.out.String(), "\n")
			if len(lines) != 5 {
				t.Fatalf("printed %q", lines)
			}
			for i, want := range []string{
				`{"id":"` + ids[0] + `","topic":"` + transport + `/a","data":"hello <world>","time":"`,
				`{"id":"` + ids[1] + `","topic":"` + transport + `/b","event":"paid","data":{"total":12},"time":"`,
				`{"id":"` + ids[2] + `","topic":"` + transport + `/c","media":"image/png","data":"data:image/png;base64,iVBORw==","binary":true,"time":"`,
				`{"id":"` + ids[3] + `","topic":"` + transport + `/d","data":"","time":"`,
			} {
				if !strings.HasPrefix(lines[i], want) || !strings.HasSuffix(lines[i], "Z\"}\n") {
					t.Errorf("printed %q, want %q", lines[i], want)
				}
			}
		})
	}
}

// A line is published when it comes, and not when there are more.
func TestPubLines(t *testing.T) {
	url := serve(t)
	sub := begin(t, nil, "sub", "log", "--server", url)
	sub.err.wait(t, "subscribed")
	in, write := io.Pipe()
	pub := begin(t, in, "pub", "log", "-", "--event", "line", "--server", url)
	for _, text := range []string{"first", "second \x1b[31m", "last without end"} {
		end := "\n"
		if strings.HasPrefix(text, "last") {
			end = ""
		}
		if _, err := io.WriteString(write, text+end); err != nil {
			t.Fatal(err)
		}
		if end == "" {
			write.Close()
		}
		sub.out.wait(t, "  log  line  "+stdio.Printable(text)+"\n")
	}
	pub.end(exitDone)
	if summary := pub.err.String(); !strings.HasPrefix(summary, "3 events in ") {
		t.Errorf("summary %q", summary)
	}
	sub.stop()
	sub.end(exitDone) // the way to end it
	if strings.Contains(sub.out.String(), "\x1b") {
		t.Errorf("printed a command for the terminal: %q", sub.out.String())
	}
}

func TestManyLines(t *testing.T) {
	url := serve(t)
	var in strings.Builder
	for i := range 5000 {
		in.WriteString(`{"n":` + strings.Repeat("1", i%7+1) + "}\n\n")
	}
	_, summary := duplex(t, exitDone, in.String(), "pub", "many", "-", "--json", "--server", url)
	if !strings.HasPrefix(summary, "5000 events in ") {
		t.Errorf("summary %q", summary)
	}
	out, _ := duplex(t, exitDone, "", "sub", "many", "--after", "earliest", "--limit", "5000", "--json", "--server", url)
	if n := strings.Count(out, `"data":{"n":1`); n != 5000 {
		t.Errorf("printed %d events", n)
	}
}

func TestWS(t *testing.T) {
	url := serve(t)
	address := strings.TrimPrefix(url, "http://") + "/topics/room"
	out, notes := conversation(t, "hello\n", "hello\n", "ws", address, "--frames", "-H", "X-Test: a,b")
	if out != "hello\n" {
		t.Errorf("printed %q", out)
	}
	for _, want := range []string{
		"duplex: connected\n", " -> FIN text masked 5 bytes\n", " <- FIN text 5 bytes\n",
		" -> FIN close masked 2 bytes: 1000 \"\"\n", " <- FIN close 2 bytes: 1000 \"\"\n",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in %q", want, notes)
		}
	}

	talk := begin(t, strings.NewReader(`{"op":"ping","ref":7}`+"\n"), "ws", url+"/topics", "--subprotocol", "duplex.v1", "--wait", "1h")
	talk.out.wait(t, `"op":"ok"`)
	talk.stop()
	talk.end(exitDone)
	if notes := talk.err.String(); notes != "duplex: connected, subprotocol duplex.v1\n" {
		t.Errorf("notes %q", notes)
	}
}

func TestExitCodes(t *testing.T) {
	t.Setenv("DUPLEX_SERVER", serve(t))
	duplex(t, exitDone, "", "pub", "ended", "x")
	const nobody = "http://127.0.0.1:1"
	tests := []struct {
		code int
		note string // a part of it
		args []string
	}{
		{exitUsage, "unknown flag --nothing", []string{"sub", "a", "--nothing"}},
		{exitUsage, "expected", []string{"pub"}},
		{exitUsage, "expected", nil},
		{exitUsage, "--key is for one event", []string{"pub", "a", "-", "--key", "k"}},
		{exitUsage, `no transport "pigeon"`, []string{"sub", "a", "--transport", "pigeon"}},
		{exitUsage, "want http://HOST", []string{"sub", "a", "--server", "127.0.0.1"}},
		{exitUsage, "'NAME: VALUE'", []string{"sub", "a", "-H", "x"}},
		{exitUsage, "has an empty segment", []string{"sub", "a//b"}},
		{exitUsage, "can't be used together", []string{"pub", "a", "x", "--json", "--content-type", "text/html"}},
		{exitUsage, "want a number of bytes", []string{"serve", "--retain-bytes", "many"}},
		{exitUsage, "--max-wait: must be more than 0", []string{"serve", "--max-wait", "0s"}},
		{exitUsage, "is on no disk", []string{"serve", "--memory", "--durability", "fsync"}},
		{exitUsage, "has no name", []string{"serve", "--data="}},
		{exitUsage, "--nats-stream is for a log on NATS", []string{"serve", "--nats-stream", "s"}},
		{exitUsage, "want 1, 3 or 5", []string{"serve", "--nats", "nats://127.0.0.1:1", "--nats-replicas", "2"}},
		{exitUsage, "belong together", []string{"serve", "--nats", "nats://127.0.0.1:1", "--nats-key", "k"}},
		{exitFailed, "--nats-ca: open", []string{"serve", "--nats", "nats://127.0.0.1:1", "--nats-ca", "/nothing"}},
		{exitFailed, "NATS cannot be used", []string{"serve", "--nats", "nats://127.0.0.1:1"}},
		{exitUsage, "--durability must be one of", []string{"serve", "--durability", "best"}},
		{exitUsage, "https://x.example/path", []string{"serve", "--memory", "--allow-origin", "https://x.example/path"}},
		{exitRefused, "403 ", []string{"pub", "$sys", "x"}},
		{exitRefused, "400 ", []string{"pub", "a", "x", "--json"}},
		{exitRefused, "after 0 events: 400 ", []string{"pub", "a/*", "-"}},
		{exitRefused, "(404 ", []string{"ws", os.Getenv("DUPLEX_SERVER") + "/nothing"}},
		{exitUnreached, "not reached", []string{"pub", "a", "x", "--server", nobody}},
		{exitUnreached, "not reached", []string{"pub", "a", "-", "--server", nobody}},
		{exitUnreached, "not reached", []string{"sub", "a", "--server", nobody}},
		{exitUnreached, "not reached", []string{"sub", "a", "--server", nobody, "--as", "poll"}},
		{exitUnreached, "not reached", []string{"ws", nobody}},
	}
	for _, test := range tests {
		_, notes := duplex(t, test.code, "line\n", test.args...)
		if !strings.HasPrefix(strings.TrimPrefix(notes, "0 events in 0s, 0/s\n"), "duplex: ") && !strings.Contains(notes, "\nduplex: ") || !strings.Contains(notes, test.note) {
			t.Errorf("%q: %q", test.args, notes)
		}
	}
}

func TestInterrupted(t *testing.T) {
	url := serve(t)
	sub := begin(t, nil, "sub", "a", "--limit", "1", "--server", url)
	sub.err.wait(t, "subscribed")
	sub.stop()
	sub.end(exitInterrupted)

	in, _ := io.Pipe()
	pub := begin(t, in, "pub", "a", "-", "--server", url)
	pub.stop()
	pub.end(exitInterrupted)
}

func TestHelpOfServe(t *testing.T) {
	out, _ := duplex(t, exitDone, "", "serve", "--help")
	groups := []string{"\nFlags:\n", "\nWhere it listens", "\nTLS: ", "\nThe log: ", "\nLimits: "}
	for i, group := range groups {
		if at := strings.Index(out, group); at < 0 || i > 0 && at < strings.Index(out, groups[i-1]) {
			t.Errorf("no %q in its place:\n%s", group, out)
		}
	}
	if strings.Contains(out, "\n...") || !strings.Contains(out, "--rule=RULE  ") {
		t.Errorf("flags of several lines:\n%s", out)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"-h"}, {"serve", "--help"}, {"pub", "--help"}, {"sub", "-h"}, {"ws", "--help"}, {"version", "--help"}} {
		out, notes := duplex(t, exitDone, "", args...)
		want := "Examples:"
		if len(args) == 1 {
			want = "Exit codes:"
		}
		if !strings.Contains(out, "Usage: duplex") || args[0] != "version" && !strings.Contains(out, want) || notes != "" {
			t.Errorf("%q: %q %q", args, out, notes)
		}
	}
}

func TestVersion(t *testing.T) {
	if out, _ := duplex(t, exitDone, "", "version"); !strings.HasPrefix(out, "duplex ") {
		t.Errorf("printed %q", out)
	}
}

func TestAddressInUse(t *testing.T) {
	address := strings.TrimPrefix(serve(t), "http://")
	if _, notes := duplex(t, exitFailed, "", "serve", "--memory", "--listen", address); !strings.Contains(notes, "address already in use; another program listens there: choose another address with --listen") {
		t.Errorf("notes %q", notes)
	}
}
