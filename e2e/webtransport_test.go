//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/duplexhq/duplex/client/conformance/hostile"
)

// The client in a page subscribes and publishes over a session of WebTransport, and
// takes over to other transports and back while events come.
func TestClientOverWebTransport(t *testing.T) {
	s := serveSecure(t, "--http3", "--ping", "2s")
	s.publishNumbers(t, "a", 0, 1000)
	p := newTabOverHTTP3(t, s, emptyPage)
	p.client(`{ transports: ["webtransport", "sse"] }`)
	p.run(`count = wrong = 0; take = ({ event, data }) => { if (event !== "message" || data.n !== count++) wrong++; };
		(window.subscription = client.subscribe("a", take, { after: "earliest" })).ready`)
	p.until(`count === 1000`)
	check(p, `client.status.state + client.status.transport`, "connectedwebtransport")
	check(p, `performance.getEntriesByType("resource").filter(({ name }) => name.endsWith("/webtransport.js")).length`, 1)
	p.run(`Promise.all(Array.from({ length: 200 }, (_, i) => client.publish("a", { n: 1000 + i })))`)
	p.until(`count === 1200`)
	p.run(`client.subscribe("b", ({ data }) => heard.push(data)).ready`)
	p.run(`client.publish("b", "more")`)
	p.until(`heard.join() === "more"`)
	p.until(`client.status.latency >= 0`)

	n := 1200
	for i := range 30 {
		to := []string{"webtransport", "sse", "webtransport", "longpoll", "webtransport", "websocket"}[i%6]
		p.run(fmt.Sprintf(`client.use([%q])`, to))
		for range 5 {
			s.publishNumbers(t, "a", n, 20)
			n += 20
		}
		p.until(fmt.Sprintf(`client.status.transport === %q`, to))
	}
	p.until(fmt.Sprintf(`count === %d`, n))
	check(p, `wrong`, 0)

	p.run(`client.use(["webtransport"])`)
	p.until(`client.status.transport === "webtransport"`)
	p.until(`client.status.version === "h3"`)
	p.run(`client.close()`)
	until(t, "the last session has ended", func() bool { return s.subscribers(t, "a") == 0 })
}

// Where UDP is swallowed, the next transport is taken; so it is for who has a
// token, which a page's session cannot carry.
func TestClientWithoutWebTransport(t *testing.T) {
	s := serveSecure(t)
	udp, err := net.ListenPacket("udp", strings.TrimPrefix(s.secure, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	s.publish(t, "a", "", "text/plain", "first")
	p := newTabWithQUIC(t, s, emptyPage)
	for _, test := range []struct{ options, why string }{
		{``, ""}, // that nothing came through, or on a slow machine what the browser says of it
		{`, token: "t"`, "carries no token"},
	} {
		p.run(`localStorage.clear(); began = performance.now()`)
		p.client(`{ transports: ["webtransport", "sse"]` + test.options + ` }`)
		p.listen("a", `{ after: "earliest" }`)
		p.until(`heard.join() === "first"`)
		t.Logf("first event after %.0f ms", evaluate[float64](p, `performance.now() - began`))
		check(p, `client.status.transport`, "sse")
		check(p, `client.status.failed.webtransport.includes(`+quote(test.why)+`)`, true)
		p.run(`client.close()`)
	}
}

// launchWithQUIC starts a browser that opens sessions to servers.
func launchWithQUIC(t *testing.T, servers ...*secureServer) (ctx context.Context, cancel func()) {
	t.Helper()
	var keys []string
	for _, s := range servers {
		keys = append(keys, keyHash(t, s.address(), s.authority))
	}
	return launch(t, sessionsTo(keys...)...)
}

// sessionsTo has a browser open sessions to servers with keys, although it knows
// their authorities only here.
func sessionsTo(keys ...string) []chromedp.ExecAllocatorOption {
	return []chromedp.ExecAllocatorOption{
		chromedp.Flag("disable-quic", false),
		chromedp.Flag("ignore-certificate-errors-spki-list", strings.Join(keys, ",")),
		chromedp.Flag("webtransport-developer-mode", true),
	}
}

// The check of the start page tells what becomes of UDP.
func TestCheckOverUDP(t *testing.T) {
	s, without := serveSecure(t, "--http3"), serveSecure(t)
	ctx, cancel := launchWithQUIC(t, s, without)
	t.Cleanup(cancel)
	for _, test := range []struct {
		name    string
		server  *secureServer
		network hostile.Datagrams
		row     string
		advice  string
	}{
		{"passes", s, hostile.Datagrams{}, "webtransport works HTTP/3 ", "Clients will use WebSockets. WebTransport works, too."},
		{"blocked", s, hostile.Datagrams{Blocked: true}, "webtransport no  nobody answers by UDP: ", "Clients will use WebSockets. UDP does not get through"},
		{"refused", s, hostile.Datagrams{Refused: true}, "webtransport no  no session opens: nobody listens at the UDP port", "Clients will use WebSockets."},
		{"without HTTP/3", without, hostile.Datagrams{}, "webtransport –  the server does not announce HTTP/3", "Clients will use WebSockets."},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proxy, err := hostile.ListenUDP(&hostile.Network{Datagrams: test.network}, test.server.address())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(proxy.Close)
			p := openTab(t, ctx, "https://"+proxy.Addr, chromedp.WithNewBrowserContext())
			p.advised(test.advice, test.row)
			perform(p, "look", chromedp.ScrollIntoView(chromedp.CSS("#check")))
			p.screenshot("home-check-udp-" + strings.ReplaceAll(test.name, "/", "") + ".png")
		})
	}
}

// What the server refuses to a page's Origin, the page is told of all transports.
func TestCheckOfAnotherOrigin(t *testing.T) {
	s, home := serveSecure(t, "--http3"), serveSecure(t)
	allowing := serveSecure(t, "--http3", "--allow-origin", home.secure)
	ctx, cancel := launchWithQUIC(t, s, home, allowing)
	t.Cleanup(cancel)
	p := openTab(t, ctx, home.secure+emptyPage, chromedp.WithNewBrowserContext())
	for _, test := range []struct {
		server *secureServer
		want   string
	}{
		{s, strings.Repeat("origin-refused ", 6)},
		{allowing, strings.Repeat("works ", 6)},
	} {
		for _, timeout := range checkTimeouts {
			p.run(fmt.Sprintf(`import("/check.js").then(({ check }) => check(%q, { timeout: %d })).then((found) => window.found = found)`, test.server.secure, timeout.Milliseconds()))
			got := evaluate[string](p, `found.results.map((r) => (r.cause ?? "works") + " ").join("")`)
			if got == test.want {
				break
			}
			if t.Logf("in %v: %s", timeout, got); timeout == longestCheck {
				t.Errorf("found %s, want %s", got, test.want)
			}
		}
	}
}
