package check

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/client/conformance/hostile"
	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/view/viewtest"
)

// checkThrough checks a server behind a network, in a bubble.
func checkThrough(t *testing.T, n *hostile.Network, opts *Options) *Report {
	t.Helper()
	network := testnet.New(t)
	network.Route = func(int) testnet.Path { return n.Path() }
	listener, err := network.Listen("tcp", "duplex.test:80")
	if err != nil {
		t.Fatal(err)
	}
	server := viewtest.New(t, nil, nil)
	server.Serve(listener)
	defer func() {
		network.Cut()
		server.Close()
	}()
	opts.Dial = network.Dial
	report, err := Run(t.Context(), "http://duplex.test:80", opts)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// causes are those of HTTP/1.1, of websocket, sse, stream, longpoll, poll and
// publish; "ok" is one that works.
func causes(r *Report) string {
	var all []string
	for _, result := range r.Results[:6] {
		all = append(all, cmp.Or(string(result.Cause), "ok"))
	}
	return strings.Join(all, " ")
}

func TestHostileNetworks(t *testing.T) {
	for _, test := range []struct {
		hostile.Network
		opts   Options
		want   string
		best   client.Transport
		advice string // a part of it
	}{
		{hostile.Network{Name: "direct"}, Options{}, "ok ok ok ok ok ok", "websocket", "Clients will use WebSockets."},
		{hostile.Network{Name: "upgrade refused", Upgrade: hostile.Refused}, Options{}, "upgrade-refused ok ok ok ok ok", "sse", "refuses handshakes (403 Forbidden)"},
		{hostile.Network{Name: "upgrade never answered", Upgrade: hostile.Unheard}, Options{}, "unanswered ok ok ok ok ok", "sse", "no answer in time"},
		{hostile.Network{Name: "black hole", Upgrade: hostile.Swallowed}, Options{}, "silent ok ok ok ok ok", "sse", "a black hole"},
		{hostile.Network{Name: "upgrade stripped", Upgrade: hostile.Stripped}, Options{}, "upgrade-stripped ok ok ok ok ok", "sse", "proxy_set_header Upgrade"},
		{hostile.Network{Name: "held", Body: hostile.Held}, Options{}, "ok held held ok ok ok", "websocket", "proxy_buffering off"},
		{hostile.Network{Name: "gzip", Body: hostile.Gzipped}, Options{}, "ok held held ok ok ok", "websocket", "gzip off"},
		{hostile.Network{Name: "HTTP/1.0", HTTP10: true}, Options{}, "upgrade-stripped ok ok ok ok ok", "sse", ""},
		{hostile.Network{Name: "silence", Silent: true}, Options{}, "unanswered unanswered unanswered unanswered unanswered unanswered", "", "Nothing gets through"},
		{hostile.Network{Name: "8 s of latency", RoundTrip: 8 * time.Second}, Options{}, "unanswered unanswered unanswered unanswered unanswered unanswered", "", "--timeout 30s"},
		{hostile.Network{Name: "2 s of latency", RoundTrip: 2 * time.Second}, Options{Timeout: 20 * time.Second}, "ok ok ok ok ok ok", "websocket", ""},
		{hostile.Network{Name: "cut", CutBytes: 100}, Options{}, "cut cut cut cut cut cut", "", ""},
		{hostile.Network{Name: "401", Token: "secret"}, Options{}, "unauthorized unauthorized unauthorized unauthorized unauthorized unauthorized", "", "a token is needed"},
		{hostile.Network{Name: "a token", Token: "secret"}, Options{Header: http.Header{"Authorization": {"Bearer secret"}}}, "ok ok ok ok ok ok", "websocket", ""},
		{hostile.Network{Name: "busy", Answer: 503}, Options{}, "busy busy busy busy busy busy", "", "503"},
		{hostile.Network{Name: "not Duplex", Answer: 200}, Options{}, "upgrade-stripped not-duplex not-duplex not-duplex not-duplex not-duplex", "", "log in"},
		{hostile.Network{Name: "not found", Answer: 404}, Options{}, "upgrade-refused other other other other other", "", "404"},
		{hostile.Network{Name: "redirect", Answer: 301}, Options{}, "redirected redirected redirected redirected redirected redirected", "", "301"},
		{hostile.Network{Name: "foreign origin"}, Options{Header: http.Header{"Origin": {"https://evil.test"}}}, "origin-refused origin-refused origin-refused origin-refused origin-refused origin-refused", "", "--allow-origin"},
		{hostile.Network{Name: "read only"}, Options{ReadOnly: true}, "ok ok ok ok ok not-offered", "websocket", ""},
	} {
		t.Run(test.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				report := checkThrough(t, &test.Network, &test.opts)
				if got := causes(report); got != test.want || report.Best != test.best {
					t.Errorf("got %s, best %q\nwant %s, best %q\n%+v", got, report.Best, test.want, test.best, report.Results)
				}
				if !strings.Contains(report.Advice, test.advice) {
					t.Errorf("advice %q, want it to say %q", report.Advice, test.advice)
				}
				for _, r := range report.Results {
					if r.Works != (r.Cause == "") || r.Works == (r.Why != "") {
						t.Errorf("%+v", r)
					}
					if r.Works && r.Transport != Publishing && !test.opts.ReadOnly && (r.Overhead < 2 || r.Overhead > 2000) {
						t.Errorf("%s: %d bytes of overhead", r.Transport, r.Overhead)
					}
				}
				if took := time.Since(began); took > 4*defaultTimeout+20*test.RoundTrip {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestUnreached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := testnet.New(t)
		report, err := Run(t.Context(), "http://duplex.test:80", &Options{Dial: network.Dial})
		if err != nil {
			t.Fatal(err)
		}
		if got := causes(report); got != "unreached unreached unreached unreached unreached unreached" {
			t.Error(got)
		}
	})
}

func TestFaultyURL(t *testing.T) {
	for _, url := range []string{"", "duplex.test", "ws://duplex.test", "http://", "http://a/?x", "http://a b"} {
		if _, err := Run(t.Context(), url, &Options{Dial: func(context.Context, string, string) (net.Conn, error) {
			t.Errorf("%q: connected", url)
			return nil, context.Canceled
		}}); err == nil {
			t.Errorf("%q: accepted", url)
		}
	}
}

func TestAlternativePort(t *testing.T) {
	for field, want := range map[string]string{
		`h3=":443"; ma=2592000`:              "443",
		`h2=":8000", h3=":8443"; ma=1`:       "8443",
		`h3-29=":443"`:                       "",
		`h3="elsewhere.example:443"; ma=100`: "",
		`clear`:                              "",
	} {
		if port, _ := alternativePort([]string{field}); port != want {
			t.Errorf("%s: %q, want %q", field, port, want)
		}
	}
}
