//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// curlPatience is patience in curl's seconds.
var curlPatience = fmt.Sprint(patience.Seconds())

// curl of HTTP/1.0 gets all that HTTP/1.0 can carry (PROTOCOL.md §5.16).
func TestCurlHTTP10(t *testing.T) {
	curl := tool(t, "curl", "curl")
	s := serve(t)
	old := func(args ...string) *process {
		return start(t, command(curl, append([]string{"--http1.0", "-sSiN", "--max-time", curlPatience}, args...)...))
	}
	fetch := func(args ...string) (status, header, body string) {
		t.Helper()
		p := old(args...)
		if code := p.exitCode(t); code != 0 {
			t.Fatalf("curl %q: exit code %d: %s", args, code, p.stderr.String())
		}
		return splitAnswer(t, p.stdout.String())
	}

	status, _, body := fetch("-d", "one", "-H", "Content-Type: text/plain", s.topic("old"))
	if !strings.Contains(status, " 201 ") {
		t.Fatalf("publish: %s %s", status, body)
	}
	var answer struct{ ID string }
	decode(t, body, &answer)

	t.Run("poll", func(t *testing.T) {
		status, header, body := fetch(s.topic("old"))
		var p page
		decode(t, body, &p)
		if !strings.Contains(status, " 200 ") || len(p.Events) != 1 || p.Events[0].text() != "one" || p.Cursor != answer.ID {
			t.Errorf("poll: %s %s", status, body)
		}
		checkNoChunks(t, header)
	})
	t.Run("longpoll", func(t *testing.T) {
		held := old("-H", "Prefer: wait=50", s.topic("old")+"?after="+answer.ID)
		until(t, "a held poll", func() bool { return s.subscribers(t, "old") == 1 })
		if got := held.stdout.String(); got != "" {
			t.Errorf("before the event came %q: \"No byte of the answer is sent before\" (§5.6)", got)
		}
		id := s.publish(t, "old", "", "text/plain", "two")
		if code := held.exitCode(t); code != 0 {
			t.Fatalf("exit code %d: %s", code, held.stderr.String())
		}
		status, header, body := splitAnswer(t, held.stdout.String())
		var p page
		decode(t, body, &p)
		if !strings.Contains(status, " 200 ") || len(p.Events) != 1 || p.Cursor != id || !strings.Contains(header, "Preference-Applied: wait=50") {
			t.Errorf("longpoll: %s\n%s\n%s", status, header, body)
		}
		checkNoChunks(t, header)
	})
	// "sse and stream are sent without chunks and end with the connection."
	for as, media := range map[string]string{"stream": "application/x-ndjson", "sse": "text/event-stream"} {
		t.Run(as, func(t *testing.T) {
			name := "old/" + as
			s.publish(t, name, "", "text/plain", "first")
			p := old("-H", "Accept: "+media, s.topic(name)+"?after=earliest")
			until(t, "the first event", func() bool { return strings.Contains(p.stdout.String(), "first") })
			s.publish(t, name, "", "text/plain", "second")
			until(t, "the second event", func() bool { return strings.Contains(p.stdout.String(), "second") })
			s.end(t, name)
			if code := p.exitCode(t); code != 0 {
				t.Errorf("exit code %d: the end of the connection is the end of the answer", code)
			}
			status, header, body := splitAnswer(t, p.stdout.String())
			var got []record
			if as == "sse" {
				got = messagesOf(body)
			} else {
				got = recordsOf(t, strings.Split(strings.TrimSuffix(body, "\n"), "\n"))
			}
			if !strings.Contains(status, " 200 ") || len(got) != 2 || got[0].data != "first" || got[1].data != "second" || !strings.Contains(body, "$end") {
				t.Errorf("%s\n%s\n%s", status, header, body)
			}
			checkNoChunks(t, header)
		})
	}
	t.Run("websocket", func(t *testing.T) {
		status, header, body := fetch("-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13",
			"-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", s.topic("old"))
		if !strings.Contains(status, " 400 ") || !strings.Contains(header, "application/problem+json") ||
			!strings.Contains(body, "urn:duplex:problem:bad-handshake") || !strings.Contains(body, "HTTP/1.1") {
			t.Errorf("%s\n%s\n%s", status, header, body)
		}
	})
}

func splitAnswer(t testing.TB, answer string) (status, header, body string) {
	t.Helper()
	head, body, ok := strings.Cut(answer, "\r\n\r\n")
	if !ok {
		t.Fatalf("no answer: %q", answer)
	}
	status, header, _ = strings.Cut(head, "\r\n")
	return status, header, body
}

func checkNoChunks(t testing.TB, header string) {
	t.Helper()
	if strings.Contains(strings.ToLower(header), "transfer-encoding") {
		t.Errorf("HTTP/1.0 knows no Transfer-Encoding (RFC 9112 §6.1):\n%s", header)
	}
}
