//go:build e2e

package e2e

import (
	"bufio"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// pipeTo gives the end of a pipe that is read here, and calls use with the other.
func pipeTo(t *testing.T, use func(w *os.File)) (*os.File, *bufio.Reader) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	use(w)
	w.Close()
	return r, bufio.NewReader(r)
}

// duplex sub ends when nobody reads what it prints, as in duplex sub | grep -m1,
// also if no event comes any more.
func TestUnreadOutput(t *testing.T) {
	s := serve(t)
	s.publish(t, "news", "", "text/plain", "the first")
	for _, transport := range []string{"websocket", "sse", "poll"} {
		var p *process
		r, in := pipeTo(t, func(w *os.File) {
			cmd := command(program, "sub", "news", "--server", s.url, "--after", "earliest", "--transport", transport)
			cmd.Stdout = w
			p = start(t, cmd)
		})
		if line, err := in.ReadString('\n'); err != nil || !strings.HasSuffix(line, "  the first\n") {
			t.Errorf("%s: %q %v", transport, line, err)
		}
		r.Close()
		if code := p.exitCode(t); code != 0 {
			t.Errorf("%s: exit code %d: %s", transport, code, p.stderr.String())
		}
	}
}

// A server outlives who reads its log.
func TestUnreadLog(t *testing.T) {
	var p *process
	r, in := pipeTo(t, func(w *os.File) {
		cmd := command("/bin/sh", "-c", `exec "$0" "$@" 2>&1`, program, "serve", "--memory", "--listen", "127.0.0.1:0", "--log-level", "debug")
		cmd.Stdout = w
		p = start(t, cmd)
	})
	url := ""
	for url == "" {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if found := bannerURL.FindStringSubmatch(line); found != nil {
			url = found[1]
		}
	}
	r.Close()
	for range 3 {
		if answer, body := do(t, "POST", url+"/topics/news", "x"); answer.StatusCode != http.StatusCreated {
			t.Errorf("%s %s", answer.Status, body)
		}
	}
	p.signal(t, syscall.SIGTERM) // there is a line about it, too
	if code := p.exitCode(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A server whose terminal is closed ends in good order, unless it was begun by nohup.
func TestHangup(t *testing.T) {
	serving := []string{program, "serve", "--memory", "--listen", "127.0.0.1:0"}
	s := serveBy(t, command(tool(t, "env", "coreutils"), append([]string{"--default-signal=HUP"}, serving...)...)) // whoever has begun the tests
	s.signal(t, syscall.SIGHUP)
	if code := s.exitCode(t); code != 0 {
		t.Errorf("exit code %d after SIGHUP", code)
	}
	if !strings.Contains(s.stderr.String(), "msg=stopping") {
		t.Errorf("no word of a stop: %s", s.stderr.String())
	}

	kept := serveBy(t, command(tool(t, "nohup", "coreutils"), serving...))
	kept.signal(t, syscall.SIGHUP)
	for range 3 {
		kept.publish(t, "news", "", "text/plain", "x")
	}
	if kept.hasEnded() {
		t.Error("nohup does not keep it")
	}
}
