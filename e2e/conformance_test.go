//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"flag"
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
)

var allCases = flag.Bool("conformance", false, "judge the client in Chromium by all cases, not only by those of networks")

// The TypeScript client does in a real browser what it should, on networks that
// let little through; and so it does when it shares its connection.
func TestConformanceInChromium(t *testing.T) {
	script := bundleAgent(t)
	for name, options := range map[string]string{"alone": `{}`, "shared": `{ shared: true }`} {
		t.Run(name, func(t *testing.T) {
			skip := make(map[string]string)
			for _, c := range conformance.Cases {
				network := name == "alone" && strings.HasPrefix(c.Name, "network: ")
				if !*allCases && !network && !slices.Contains(inShort, c.Name) {
					skip[c.Name] = "needs -conformance: the client passes it in node, and here the like"
				}
			}
			conformance.Run(t, &conformance.Agent{
				Skip: skip,
				Start: func(t testing.TB, _ conformance.Network) (io.WriteCloser, io.Reader) {
					return startBrowserAgent(t, "agentOptions = "+options+";"+script)
				},
			})
		})
	}
}

// inShort are the cases where a browser may differ from node.
var inShort = []string{"subscriptions of one client", "the server is killed", "published while the server is away", "the token has expired"}

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

func startBrowserAgent(t testing.TB, script string) (io.WriteCloser, io.Reader) {
	a := &browserAgent{tab: newTab(t, "about:blank"), script: script, reports: make(chan string, 100_000)}
	if err := chromedp.Listen(a.ctx, a.called); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		call(a.tab, runtime.AddBinding, runtime.AddBindingParams{Name: "report"}),
		call(a.tab, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: "*/agent.html"}}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
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
			perform(a.tab, "open the agent's page", chromedp.Navigate(c.Server+"/agent.html"))
			a.run(a.script)
		}
		a.run("command(" + quote(lines.Text()) + ")")
	}
}

// called is told what the browser says.
func (a *browserAgent) called(heard any) {
	switch e := heard.(type) {
	case *runtime.EventBindingCalled:
		a.reports <- e.Payload
	case *fetch.EventRequestPaused:
		// Ends with its answer.
		go func() {
			_ = call(a.tab, fetch.FulfillRequest, fetch.FulfillRequestParams{ // the page may be gone
				RequestID: e.RequestID, ResponseCode: 200,
				ResponseHeaders: []*fetch.HeaderEntry{{Name: "Content-Type", Value: "text/html"}},
				Body:            []byte(`<!doctype html><link rel="icon" href="data:,"><title>agent</title>`),
			})
		}()
	}
}
