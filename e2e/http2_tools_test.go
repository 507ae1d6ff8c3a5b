//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	terminalColours = regexp.MustCompile(`\x1b\[[0-9;]*m`)
	headersFrame    = regexp.MustCompile(`(send|recv) HEADERS frame <length=(\d+),.*stream_id=(\d+)>`)
)

// nghttp shows the frames: HTTP/2 is binary, and a second request that is the
// same costs a few bytes each way (RFC 7541).
func TestNghttp(t *testing.T) {
	nghttp := tool(t, "nghttp", "nghttp2-client")
	s := serveSecure(t)
	s.publish(t, "f", "", "text/plain", "hello")
	for _, base := range []string{s.url, s.secure} {
		address := topicURL(base, "f")
		out := terminalColours.ReplaceAllString(run(t, command(nghttp, "-nv", "--no-verify-peer", "-m2", address)), "")
		sizes := map[string][]int{}
		for _, frame := range headersFrame.FindAllStringSubmatch(out, -1) {
			n, err := strconv.Atoi(frame[2])
			if err != nil {
				t.Fatal(err)
			}
			sizes[frame[1]] = append(sizes[frame[1]], n)
		}
		for direction, want := range map[string]int{"send": 20, "recv": 15} {
			if got := sizes[direction]; len(got) != 2 || got[1] > want || got[1] > got[0]/2 {
				t.Errorf("%s: HEADERS frames of %v bytes, want a second one of at most %d:\n%s", direction, got, want, out)
			}
		}
		for _, part := range []string{"recv SETTINGS frame", "[SETTINGS_MAX_CONCURRENT_STREAMS(0x03):250]", "[SETTINGS_ENABLE_CONNECT_PROTOCOL(0x08):1]", ":status: 200", "recv DATA frame"} {
			if !strings.Contains(out, part) {
				t.Errorf("no %q:\n%s", part, out)
			}
		}
		t.Logf("HEADERS frames: %v", sizes)
	}
}

// A hundred requests at once on one connection.
func TestH2load(t *testing.T) {
	h2load := tool(t, "h2load", "nghttp2-client")
	s := serveSecure(t)
	s.publish(t, "load", "", "text/plain", "hello")
	for _, base := range []string{s.url, s.secure} {
		out := run(t, command(h2load, "-n2000", "-c1", "-m100", topicURL(base, "load")))
		if !strings.Contains(out, "2000 done, 2000 succeeded, 0 failed") || !strings.Contains(out, "2000 2xx") {
			t.Errorf("%s: %s", base, out)
		}
	}
}

func TestPythonHTTP2(t *testing.T) {
	needs(t, "httpx")
	needs(t, "h2")
	s := serveSecure(t)
	python(t, "httpx_client.py", s.secure, s.authority)
	t.Run("frames", func(t *testing.T) {
		s := serve(t, "--h2c", "--write-timeout", "5m")
		p := start(t, pythonCommand(t, "h2_streams.py", s.addr))
		until(t, "all but the end", func() bool {
			if p.hasEnded() {
				t.Fatalf("h2_streams.py: %s", p.stderr.String())
			}
			return strings.Contains(p.stdout.String(), "ready to stop")
		})
		s.terminate(t)
		if code := p.exitCode(t); code != 0 || !strings.HasSuffix(p.stdout.String(), "done\n") {
			t.Errorf("exit code %d: %s%s", code, p.stdout.String(), p.stderr.String())
		}
	})
}

// What the browser says that it speaks is what the log says.
func TestBrowserVersionsInTheLog(t *testing.T) {
	s := serveSecure(t, "--log-level", "debug")
	for _, test := range []struct{ base, protocol, version string }{{s.url, "http/1.1", "HTTP/1.1"}, {s.secure, "h2", "HTTP/2"}} {
		name := strings.ReplaceAll(test.protocol, "/", "-")
		p := newTab(t, topicURL(test.base, name)+"?as=poll")
		p.run(`fetch(location.pathname + "?as=stream")`)
		check(p, `performance.getEntriesByType("navigation")[0].nextHopProtocol`, test.protocol)
		p.run(`stop()`)
		p.run(`fetch(location.pathname, { method: "POST", body: "hello" })`)
		until(t, "the log", func() bool {
			for _, line := range []string{"method=GET path=/topics/%s status=200 version=%s ", "method=POST path=/topics/%s status=201 version=%s "} {
				if !strings.Contains(s.stderr.String(), fmt.Sprintf(line, name, test.version)) {
					return false
				}
			}
			return true
		})
	}
}

// Clients that know no HTTP/2 or want none of it get HTTP/1.1; who wants
// something else is refused by TLS.
func TestALPN(t *testing.T) {
	openssl := tool(t, "openssl", "openssl")
	s := serveSecure(t)
	address := strings.TrimPrefix(s.secure, "https://")
	for offered, want := range map[string]string{
		"h2,http/1.1": "ALPN protocol: h2", "http/1.1": "ALPN protocol: http/1.1", "http/1.1,h2": "ALPN protocol: h2", "": "No ALPN negotiated",
		"spdy/3": "no application protocol", "acme-tls/1": "no application protocol",
	} {
		args := []string{"s_client", "-connect", address, "-CAfile", s.authority}
		if offered != "" {
			args = append(args, "-alpn", offered)
		}
		cmd := exec.Command(openssl, args...)
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		cmd.Stdin = null
		out, _ := cmd.CombinedOutput() // the exit code is 1 for those that are refused
		if !strings.Contains(string(out), want) {
			t.Errorf("%q: want %q in %s", offered, want, out)
		}
	}
}
