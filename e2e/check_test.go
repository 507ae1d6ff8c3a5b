//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// checkTimeouts are what a check gives each transport: more, if it was wrong, as
// on a busy machine it may be. What is wrong with the network does not pass.
var checkTimeouts = []time.Duration{2 * time.Second, 8 * time.Second, longestCheck}

const longestCheck = 30 * time.Second

// duplex check sees what a proxy does to transports, and duplex sub gets
// through all the same.
func TestCheck(t *testing.T) {
	nginx := proxyKinds[slices.IndexFunc(proxyKinds, func(k proxyKind) bool { return k.name == "nginx" })]
	held := []string{"client_max_body_size 16m;", "client_max_body_size 16m; proxy_ignore_headers X-Accel-Buffering;"}
	defaults := slices.Concat(nginx.http10, nginx.deaf, nginx.ownHost)
	for _, test := range []struct {
		name    string
		changes []string // of the configuration
		best    string
		causes  map[string]string // over HTTP/1.1
	}{
		{"as recommended", nil, "websocket", nil},
		{"without Upgrade", nginx.deaf, "sse", map[string]string{"websocket": "upgrade-stripped"}},
		{"with nginx's own settings", defaults, "sse", map[string]string{"websocket": "upgrade-stripped"}},
		{"with buffering", slices.Concat(defaults, held), "longpoll", map[string]string{"websocket": "upgrade-stripped", "sse": "held", "stream": "held"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t)
			p := nginx.behind(t, s, test.changes...)
			for _, timeout := range checkTimeouts {
				out := run(t, command(program, "check", p.url, "--json", "--timeout", timeout.String()))
				var report struct {
					Best    string
					Advice  string
					Results []struct{ Transport, Version, Cause string }
				}
				if err := json.Unmarshal([]byte(out), &report); err != nil {
					t.Fatal(err)
				}
				wrong := ""
				if report.Best != test.best {
					wrong = fmt.Sprintf("best is %q, want %q: %s", report.Best, test.best, report.Advice)
				}
				for _, r := range report.Results {
					if r.Version == "HTTP/1.1" && r.Cause != test.causes[r.Transport] {
						wrong = fmt.Sprintf("%s: cause %q, want %q", r.Transport, r.Cause, test.causes[r.Transport])
					}
				}
				if wrong == "" {
					break
				}
				if t.Logf("in %v: %s", timeout, wrong); timeout == longestCheck {
					t.Error(wrong)
				}
			}
			sub := start(t, command(program, "sub", "a", "--limit", "1", "--server", p.url))
			until(t, "a subscription by "+test.best, func() bool {
				return strings.Contains(sub.stderr.String(), "subscribed ("+test.best+")")
			})
			s.publish(t, "a", "", "text/plain", "through")
			until(t, "the event", func() bool { return strings.Contains(sub.stdout.String(), "through") })
		})
	}
}
