//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/duplexhq/duplex/client/conformance"
	"github.com/duplexhq/duplex/client/conformance/hostile"
)

var allCases = flag.Bool("conformance", false, "judge the client in Chromium by all cases, not only by some")

// The TypeScript client does in a real browser what it should, on networks that
// let little through; and so it does when it shares its connection.
func TestConformanceInChromium(t *testing.T) {
	script := bundleAgent(t)
	for name, options := range map[string]string{"alone": `{}`, "shared": `{ shared: true }`} {
		t.Run(name, func(t *testing.T) {
			skip := make(map[string]string)
			for _, c := range conformance.Cases {
				if short := slices.Contains(inShort, c.Name) || name == "alone" && slices.Contains(networksInShort, strings.TrimPrefix(c.Name, "network: ")); !*allCases && !short {
					skip[c.Name] = "needs -conformance: the client passes it in node, and here the like"
				}
			}
			conformance.Run(t, &conformance.Agent{
				Skip: skip,
				Start: func(t testing.TB, _ conformance.Network) (io.WriteCloser, io.Reader) {
					return startBrowserAgent(t, browser(t), "agentOptions = "+options+";"+script)
				},
			})
		})
	}
}

// So it does over WebTransport, whatever becomes of datagrams.
func TestConformanceOverUDP(t *testing.T) {
	script := bundleAgent(t)
	skip := make(map[string]string)
	for _, c := range conformance.Cases {
		if !c.UDP || !*allCases && !slices.Contains(udpInShort, c.Name) {
			skip[c.Name] = "needs -conformance, or is not about UDP"
		}
	}
	ctx, cancel := launch(t, sessionsTo(conformance.KeyHash())...)
	t.Cleanup(cancel)
	conformance.Run(t, &conformance.Agent{
		Skip: skip,
		Start: func(t testing.TB, _ conformance.Network) (io.WriteCloser, io.Reader) {
			return startBrowserAgent(t, ctx, script)
		},
	})
}

// udpInShort are the cases where QUIC of a browser may differ from that of Go.
var udpInShort = []string{
	"webtransport", "udp: dies and comes back", "udp: the NAT forgets", "udp: the server is killed", "udp: changes under load",
	"udp: blocked", "udp: refused, as without HTTP/3", "udp: lossy and out of order",
}

// inShort are the cases where a browser may differ from node.
var inShort = []string{"subscriptions of one client", "the server is killed", "published while the server is away", "the token has expired"}

// networksInShort are those that a browser may see in another way than node.
var networksInShort = []string{"101, then a black hole", "upgrade stripped", "streams held to their end", "gzip that does not flush", "cut in the middle"}

// bundleAgent makes a script for pages of the agent that runs in node.
func bundleAgent(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.js")
	run(t, command("go", "tool", "-modfile=../tools.mod", "esbuild", "../ts/conformance/agent.mjs", "--bundle", "--format=iife", "--target=es2022", "--log-level=warning",
		"--alias:node:readline=./testdata/agent/readline.mjs", "--inject:./testdata/agent/node.mjs", "--outfile="+path))
	script, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(script)
}

// A browserAgent is a page that does what it is told (package conformance).
type browserAgent struct {
	*tab
	script  string
	reports chan string
	ended   sync.WaitGroup
}

func startBrowserAgent(t testing.TB, browser context.Context, script string) (io.WriteCloser, io.Reader) {
	a := &browserAgent{tab: openTab(t, browser, "about:blank", chromedp.WithNewBrowserContext()), script: script, reports: make(chan string, 100_000)}
	a.makeUpPage()
	if err := chromedp.Listen(a.ctx, a.called); err != nil {
		t.Fatal(err)
	}
	if err := call(a.tab, runtime.AddBinding, runtime.AddBindingParams{Name: "report"}); err != nil {
		t.Fatal(err)
	}
	commands, in := io.Pipe()
	out, reports := io.Pipe()
	// Ends with its input. Joined by its output.
	go func() {
		defer reports.Close()
		a.ended.Go(func() { a.obey(commands) })
		// Ends with the command reader's last word.
		go func() { a.ended.Wait(); close(a.reports) }()
		for line := range a.reports {
			if _, err := io.WriteString(reports, line); err != nil {
				return
			}
		}
	}()
	return in, out
}

func (a *browserAgent) obey(commands io.Reader) {
	lines := bufio.NewScanner(commands)
	for lines.Scan() {
		var c conformance.Command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			a.t.Error(err)
			return
		}
		if c.Do == "open" {
			// The page belongs to the server, but does not come through its network.
			perform(a.tab, "open the agent's page", chromedp.Navigate(c.Server+madeUpPage))
			a.run(a.script)
		}
		a.run("command(" + quote(lines.Text()) + ")")
	}
}

// called is told what the browser says.
func (a *browserAgent) called(heard any) {
	if e, ok := heard.(*runtime.EventBindingCalled); ok {
		a.reports <- e.Payload
	}
}

const madeUpPage = "/agent.html"

// makeUpPage has every server seem to have an empty page, whatever its network lets
// through.
func (p *tab) makeUpPage() {
	p.t.Helper()
	if err := chromedp.Listen(p.ctx, func(heard any) {
		e, ok := heard.(*fetch.EventRequestPaused)
		if !ok {
			return
		}
		// Ends with its answer.
		go func() {
			_ = call(p, fetch.FulfillRequest, fetch.FulfillRequestParams{ // the page may be gone
				RequestID: e.RequestID, ResponseCode: 200,
				ResponseHeaders: []*fetch.HeaderEntry{{Name: "Content-Type", Value: "text/html"}},
				Body:            []byte(`<!doctype html><link rel="icon" href="data:,"><title>page</title>`),
			})
		}()
	}); err != nil {
		p.t.Fatal(err)
	}
	if err := call(p, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: "*" + madeUpPage}}}); err != nil {
		p.t.Fatal(err)
	}
}

// The check finds out what each network does.
func TestCheckInChromium(t *testing.T) {
	s := serve(t)
	_, script := do(t, "GET", s.url+"/check.js", "")
	for _, test := range []struct {
		hostile.Network
		want, advice string
	}{
		{hostile.Network{Name: "direct"}, "ok not-offered ok ok ok ok", "Clients will use WebSockets."},
		{hostile.Network{Name: "upgrade refused", Upgrade: hostile.Refused}, "upgrade-refused not-offered ok ok ok ok", "Clients will use sse, because WebSockets do not get through"},
		{hostile.Network{Name: "upgrade never answered", Upgrade: hostile.Unheard}, "unanswered not-offered ok ok ok ok", "no answer in time"},
		{hostile.Network{Name: "black hole", Upgrade: hostile.Swallowed}, "silent not-offered ok ok ok ok", "a black hole"},
		{hostile.Network{Name: "upgrade stripped", Upgrade: hostile.Stripped}, "upgrade-refused not-offered ok ok ok ok", "drops Upgrade"},
		{hostile.Network{Name: "held", Body: hostile.Held}, "ok not-offered held held ok ok", "proxy_buffering off"},
		{hostile.Network{Name: "gzip", Body: hostile.Gzipped}, "ok not-offered held held ok ok", "gzip off"},
		{hostile.Network{Name: "silence", Silent: true}, "unanswered not-offered unanswered unanswered unanswered unanswered", "Nothing gets through: there was no answer"},
		{hostile.Network{Name: "401", Token: "secret"}, "upgrade-refused not-offered unauthorized unauthorized unauthorized unauthorized", "a token is needed"},
		{hostile.Network{Name: "busy", Answer: 503}, "upgrade-refused not-offered busy busy busy busy", "503"},
		{hostile.Network{Name: "not Duplex", Answer: 200}, "upgrade-refused not-offered not-duplex not-duplex not-duplex not-duplex", "no answer of a Duplex server"},
	} {
		t.Run(test.Name, func(t *testing.T) {
			t.Parallel()
			proxy, err := hostile.Listen(&test.Network, s.addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(proxy.Close)
			p := newTab(t, "about:blank")
			p.makeUpPage()
			perform(p, "open", chromedp.Navigate("http://"+proxy.Addr+madeUpPage))
			p.run(`import(URL.createObjectURL(new Blob([` + quote(script) + `], { type: "text/javascript" }))).then((module) => window.find = module.check)`)
			for _, timeout := range checkTimeouts {
				p.run(fmt.Sprintf(`find("/", { timeout: %d }).then((found) => window.found = found)`, timeout.Milliseconds()))
				causes := evaluate[string](p, `found.results.map((r) => r.cause ?? "ok").join(" ")`)
				if causes == test.want {
					break
				}
				if t.Logf("in %v: %s", timeout, causes); timeout == longestCheck {
					t.Errorf("found %s, want %s", causes, test.want)
				}
			}
			check(p, `found.results.map((r) => r.transport).join(" ")`, "websocket webtransport sse stream longpoll poll")
			if advice := evaluate[string](p, `found.advice`); !strings.Contains(advice, test.advice) {
				t.Errorf("advice %q, want it to say %q", advice, test.advice)
			}
			t.Log(evaluate[string](p, `JSON.stringify(found)`))
		})
	}
}
