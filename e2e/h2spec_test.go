//go:build e2e

package e2e

import (
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// All cases of h2spec, with a path that reads what is sent to it. Without TLS,
// a preface that is none is HTTP/1.1: so one case is for TLS only.
func TestH2spec(t *testing.T) {
	program := filepath.Join(t.TempDir(), "h2spec")
	build := exec.Command("go", "build", "-modfile=tools.mod", "-o", program, "github.com/summerwind/h2spec/cmd/h2spec")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := serveSecure(t)
	for _, test := range []struct {
		name, url string
		flags     []string
	}{
		{"TLS", s.secure, []string{"--tls", "--insecure"}},
		{"h2c", "http://" + s.addr, []string{"generic", "http2/4", "http2/5", "http2/6", "http2/7", "http2/8", "hpack"}},
	} {
		_, address, _ := strings.Cut(test.url, "://")
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		run := start(t, command(program, append(test.flags, "--host", host, "--port", port, "--path", "/topics/spec", "--timeout", "10")...))
		if code := run.exitCode(t); code != 0 || !strings.Contains(run.stdout.String(), " 0 skipped, 0 failed") {
			_, failures, _ := strings.Cut(run.stdout.String(), "Failures:")
			t.Errorf("%s: exit code %d: %s%s", test.name, code, failures, run.stderr.String())
		}
	}
}
