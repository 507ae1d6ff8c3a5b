//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A path whose answer goes on, and one whose answer ends. What a stream does
// wrong is to be judged while it is open: where the answer may end first, the
// server may as well say that it needs no more of the request (RFC 9113 §8.1).
const (
	answerGoesOn = "/topics/spec?as=stream"
	answerEnds   = "/topics/spec"
)

// h2specCases are all cases of h2spec, by the path that they need.
var h2specCases = map[string][]string{
	answerGoesOn: slices.Concat([]string{
		"generic/1", "generic/3", "generic/4", "generic/5", "hpack",
		"http2/3", "http2/4", "http2/5.1.1", "http2/5.1.2", "http2/5.3", "http2/5.4", "http2/5.5",
		"http2/6.1", "http2/6.2", "http2/6.3", "http2/6.4", "http2/6.5.2", "http2/6.7", "http2/6.8", "http2/6.10", "http2/7", "http2/8",
		"http2/6.5.3/2", "http2/6.9.1/2", "http2/6.9.1/3", "http2/6.9.2/3",
	}, firstCases("generic/2", 4), firstCases("http2/5.1", 10), firstCases("http2/6.5", 3), firstCases("http2/6.9", 3)),
	answerEnds: {"generic/2/5", "http2/5.1/11", "http2/5.1/12", "http2/5.1/13", "http2/6.5.3/1", "http2/6.9.1/1", "http2/6.9.2/1", "http2/6.9.2/2"},
}

// firstCases are the first of a section, without the sections below it.
func firstCases(section string, n int) (cases []string) {
	for i := range n {
		cases = append(cases, fmt.Sprint(section, "/", i+1))
	}
	return cases
}

// All cases of h2spec. Without TLS, a preface that is none is HTTP/1.1: so
// those of §3 are for TLS only.
func TestH2spec(t *testing.T) {
	program := filepath.Join(t.TempDir(), "h2spec")
	build := exec.Command("go", "build", "-modfile=tools.mod", "-o", program, "github.com/summerwind/h2spec/cmd/h2spec")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := serveSecure(t)
	for _, test := range []struct {
		name, address string
		flags         []string
		without       string
		cases         int
	}{
		{"TLS", strings.TrimPrefix(s.secure, "https://"), []string{"--tls", "--insecure"}, "", 145},
		{"h2c", s.addr, nil, "http2/3", 143},
	} {
		host, port, err := net.SplitHostPort(test.address)
		if err != nil {
			t.Fatal(err)
		}
		passed := 0
		for path, cases := range h2specCases {
			cases = slices.DeleteFunc(slices.Clone(cases), func(c string) bool { return c == test.without })
			flags := append(test.flags, "--host", host, "--port", port, "--path", path, "--timeout", fmt.Sprint(patience.Seconds()/2))
			run := start(t, command(program, append(flags, cases...)...))
			code, out := run.exitCode(t), run.stdout.String()
			if found := h2specPassed.FindStringSubmatch(out); found != nil {
				n, _ := strconv.Atoi(found[1]) // digits
				passed += n
			}
			if code != 0 {
				_, failures, _ := strings.Cut(out, "Failures:")
				t.Errorf("%s, %s: exit code %d: %s%s", test.name, path, code, failures, run.stderr.String())
			}
		}
		if passed != test.cases {
			t.Errorf("%s: %d of %d cases passed", test.name, passed, test.cases)
		}
	}
}

var h2specPassed = regexp.MustCompile(`(\d+) passed, 0 skipped, 0 failed`)
