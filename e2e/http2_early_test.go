//go:build e2e

package e2e

import (
	"regexp"
	"strings"
	"testing"
)

// What the start page needs is pushed to who takes pushes, and named by 103 to
// everybody else on HTTP/2.
func TestEarlyFiles(t *testing.T) {
	s := serveSecure(t)
	nghttp := func(flags ...string) string {
		run := start(t, command("nghttp", append(flags, "-nv", "-H", "accept: text/html", s.secure+"/")...))
		if code := run.exitCode(t); code != 0 {
			t.Fatalf("exit code %d: %s", code, run.stderr.String())
		}
		return run.stdout.String()
	}
	files := regexp.MustCompile(`:path: /assets/[0-9a-f]+/(\w+\.\w+)`)
	pushed := nghttp()
	var names []string
	for _, found := range files.FindAllStringSubmatch(pushed, -1) {
		names = append(names, found[1])
	}
	if got := strings.Join(names, " "); got != "look.css home.css home.js" || strings.Count(pushed, "recv PUSH_PROMISE") != 3 || strings.Count(pushed, ":status: 200") != 4 {
		t.Errorf("pushed: %s\n%s", got, pushed)
	}
	hinted := nghttp("--no-push")
	if strings.Contains(hinted, "PUSH_PROMISE") || strings.Count(hinted, "link: </assets/") != 3 || !strings.Contains(hinted, ":status: 103") || strings.Count(hinted, ":status: 200") != 1 {
		t.Error(hinted)
	}

	// It takes hints, though not their word, from a certificate that it only puts
	// up with.
	p := newTab(t, s.secure+"/")
	p.until(`performance.getEntriesByType("navigation")[0].firstInterimResponseStart > 0`)
}
