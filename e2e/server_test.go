//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// A server is a running "duplex serve".
type server struct {
	*process
	url      string // http://HOST:PORT
	addr     string // HOST:PORT
	stopping bool   // was told to
	killed   bool
}

var bannerURL = regexp.MustCompile(`(?m)^Duplex listens on (http://(\S+))`)

// serve starts a server on a free port, with a log of its own. At the end of
// the test it is stopped as an administrator would, and must take that well.
func serve(t testing.TB, flags ...string) *server {
	t.Helper()
	return serveAt(t, "127.0.0.1:0", t.TempDir(), flags...)
}

// serveAt starts a server at an address, with the log of a directory.
func serveAt(t testing.TB, address, data string, flags ...string) *server {
	t.Helper()
	return serveBy(t, command(program, append([]string{"serve", "--listen", address, "--data", data}, flags...)...))
}

// serveBy starts a server by a command.
func serveBy(t testing.TB, cmd *exec.Cmd) *server {
	t.Helper()
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0") // the race detector would wait for a second
	p := start(t, cmd)
	var found []string
	until(t, "the server's banner", func() bool {
		if p.hasEnded() {
			t.Fatalf("duplex serve ended: %s", p.stderr.String())
		}
		found = bannerURL.FindStringSubmatch(p.stderr.String())
		return found != nil
	})
	s := &server{process: p, url: found[1], addr: found[2]}
	t.Cleanup(func() { s.stop(t) })
	return s
}

// terminate tells the server to stop. Twice would be to kill it.
func (s *server) terminate(t testing.TB) {
	t.Helper()
	if !s.stopping {
		s.stopping = true
		s.signal(t, syscall.SIGTERM)
	}
}

// kill ends the server as a power switch would, but for the kernel.
func (s *server) kill(t testing.TB) {
	t.Helper()
	s.killed = true
	s.signal(t, syscall.SIGKILL)
	s.exitCode(t)
}

// stop ends the server in good order, if it runs.
func (s *server) stop(t testing.TB) {
	t.Helper()
	if s.killed {
		return
	}
	s.terminate(t)
	if code := s.exitCode(t); code != 0 {
		t.Errorf("duplex serve: exit code %d after SIGTERM", code)
	}
	stderr := s.stderr.String()
	if i := strings.Index(stderr, "DATA RACE"); i >= 0 {
		t.Errorf("duplex serve has a data race:\n%s", stderr[i:min(len(stderr), i+8<<10)])
	}
	if i := strings.Index(stderr, "panic"); i >= 0 {
		t.Errorf("duplex serve panics:\n%s", stderr[i:min(len(stderr), i+8<<10)])
	}
}

// topic is the URL of a topic.
func (s *server) topic(name string) string { return topicURL(s.url, name) }

func topicURL(base, name string) string {
	segments := strings.Split(name, "/")
	for i, segment := range segments {
		segments[i] = url.PathEscape(segment)
	}
	return base + "/topics/" + strings.Join(segments, "/")
}

// direct knows no proxy, and does not wait for ever.
var direct = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}, Timeout: patience}

// do sends a request and returns the answer with its body.
func do(t testing.TB, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := direct.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(data)
}

// publish stores one event and returns its id.
func (s *server) publish(t testing.TB, name, query, media, data string) string {
	t.Helper()
	response, body := do(t, "POST", s.topic(name)+query, data, "Content-Type", media)
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("publish to %q: %s %s", name, response.Status, body)
	}
	var answer struct{ ID string }
	decode(t, body, &answer)
	return answer.ID
}

// end ends a topic.
func (s *server) end(t testing.TB, name string) {
	t.Helper()
	if response, body := do(t, "DELETE", s.topic(name), ""); response.StatusCode != http.StatusNoContent {
		t.Fatalf("end %q: %s %s", name, response.Status, body)
	}
}

// page polls a topic.
func (s *server) page(t testing.TB, name, query string) page {
	t.Helper()
	response, body := do(t, "GET", s.topic(name)+query, "", "Accept", "application/json")
	if response.StatusCode != http.StatusOK {
		t.Fatalf("poll %q: %s %s", name, response.Status, body)
	}
	var p page
	decode(t, body, &p)
	return p
}

// subscribers is how many there are of a topic, by the list of topics.
func (s *server) subscribers(t testing.TB, name string) int {
	t.Helper()
	_, body := do(t, "GET", s.url+"/topics?limit=1000", "")
	var list struct {
		Topics []struct {
			Topic       string
			Subscribers int
		}
	}
	decode(t, body, &list)
	for _, entry := range list.Topics {
		if entry.Topic == name {
			return entry.Subscribers
		}
	}
	return 0
}

// An event, or a signal, as JSON (PROTOCOL.md §3.4, §6.1).
type event struct {
	ID, Topic, Event, Media, Time string
	Data                          json.RawMessage
	Binary                        bool
}

// text is the data: of a string its characters, of other JSON the JSON.
func (e event) text() string {
	var s string
	if json.Unmarshal(e.Data, &s) == nil {
		return s
	}
	return string(e.Data)
}

func (e event) isSignal() bool { return strings.HasPrefix(e.Event, "$") }

// A page is an answer of poll and longpoll (PROTOCOL.md §5.4).
type page struct {
	Events []event
	Cursor string
	More   bool
	End    bool
	Gap    json.RawMessage
}

func decode(t testing.TB, text string, into any) {
	t.Helper()
	if err := json.NewDecoder(bytes.NewReader([]byte(text))).Decode(into); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
}

// A record is what all transports can tell of an event.
type record struct{ id, data string }

// recordsOf leaves out the signals.
func recordsOf(t testing.TB, lines []string) []record {
	t.Helper()
	var records []record
	for _, line := range lines {
		var e event
		decode(t, line, &e)
		if !e.isSignal() {
			records = append(records, record{e.ID, e.text()})
		}
	}
	return records
}

// checkRecords compares what arrived with what was published.
func checkRecords(t testing.TB, who string, got, want []record) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("%s: %d of %d events; %v is missing", who, len(got), len(want), want[i])
		case i >= len(want):
			t.Errorf("%s: %d events, not %d; %v is too much", who, len(got), len(want), got[i])
		case got[i] != want[i]:
			t.Errorf("%s: event %d is %q, not %q", who, i, got[i], want[i])
		default:
			continue
		}
		return
	}
}
