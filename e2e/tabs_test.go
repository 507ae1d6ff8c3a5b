//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// A page without anything of its own, which may load the client from its server.
const emptyPage = "/healthz"

// sibling opens an address in another tab of the same browser.
func (p *tab) sibling(address string) *tab {
	p.t.Helper()
	return openTab(p.t, p.ctx, address)
}

// call calls a method of the browser.
func call[P, R any](p *tab, method cdp.Command[P, R], params P) error {
	_, err := chromedp.Call(p.ctx, method, params)
	return err
}

// client makes a client in a page, with options in JavaScript.
func (p *tab) client(options string) {
	p.t.Helper()
	p.run(`(async () => {
		const { Duplex } = await import("/client.js");
		window.Duplex = Duplex;
		window.client = new Duplex("/", ` + options + `);
		window.heard = [];
		window.listen = (topics, options) => client.subscribe(topics, (event) => heard.push(event.event === "message" ? event.data : event.event), options);
	})()`)
}

// listen subscribes, and waits for the place.
func (p *tab) listen(topics, options string) {
	p.t.Helper()
	p.run(`(window.subscription = listen(` + quote(topics) + `, ` + options + `)).ready`)
}

// Tabs of a browser share one connection, and each is given every event once,
// whoever comes and goes.
func TestTabsShareConnection(t *testing.T) {
	for transport, count := range map[string]int{"websocket": 20, "sse": 5} { // a browser has six connections for a server
		t.Run(transport, func(t *testing.T) {
			s := serve(t)
			s.publish(t, "a", "", "text/plain", "first")
			c := newCutter(t, s.addr)
			browser := newTab(t, "about:blank")
			tabs := make([]*tab, count)
			for i := range tabs {
				tabs[i] = browser.sibling(c.url + emptyPage)
				tabs[i].client(`{ shared: true, transports: [` + quote(transport) + `] }`)
				tabs[i].listen("a", `{ after: "now" }`)
			}
			if n := s.subscribers(t, "a"); n != 1 {
				t.Errorf("%d subscriptions", n)
			}
			var want []string
			publish := func(text string) {
				want = append(want, text)
				s.publish(t, "a", "", "text/plain", text)
			}
			for i := range 20 {
				publish(fmt.Sprint("event ", i))
			}
			hear := func() {
				t.Helper()
				for i, p := range tabs {
					p.until(fmt.Sprintf(`heard.length >= %d`, len(want)))
					if got := evaluate[string](p, `heard.join()`); got != strings.Join(want, ",") {
						t.Errorf("tab %d heard %s", i, got)
					}
					// What it has heard may be of a leader that is gone.
					p.until(`client.status.transport === ` + quote(transport))
				}
			}
			hear()

			// Its own connection, and those of the browser that loaded the pages.
			t.Logf("%d connections for %d tabs", c.connections(), count)

			// Each has its own subscriptions, with a cursor of its own.
			late := tabs[count-1]
			late.run(`heard = []; subscription.close()`)
			late.listen("a", `{ after: "earliest" }`)
			late.until(`heard.length === 21`)
			check(late, `heard[0]`, "first")
			late.run(`heard.shift()`)

			// From any tab, in order.
			tabs[count/3].run(`for (let i = 0; i < 20; i++) void client.publish("a", "from a third " + i)`)
			for i := range 20 {
				want = append(want, fmt.Sprint("from a third ", i))
			}
			hear()

			// The one that has the connection is closed, reloaded, and put to sleep.
			for round := range 3 {
				publish(fmt.Sprint("before ", round))
				first := tabs[0]
				tabs = tabs[1:]
				began := time.Now()
				switch round {
				case 0:
					first.close()
				case 1:
					perform(first, "reload", chromedp.Reload())
				case 2:
					if err := call(first, cdpage.SetWebLifecycleState, cdpage.SetWebLifecycleStateParams{State: "frozen"}); err != nil {
						t.Fatal(err)
					}
				}
				publish(fmt.Sprint("after ", round))
				tabs[0].until(fmt.Sprintf(`heard.length >= %d`, len(want)))
				t.Logf("round %d: the next has it after %v", round, time.Since(began))
				hear()
			}
			until(t, "one subscription", func() bool { return s.subscribers(t, "a") == 1 })
			for _, p := range tabs {
				p.checkQuiet()
			}
		})
	}
}

// A tab that hangs, and holds the connection, is found out.
func TestTabsHungLeader(t *testing.T) {
	s := serve(t)
	browser := newTab(t, "about:blank")
	first := browser.sibling(s.url + emptyPage)
	first.client(`{ shared: true }`)
	first.listen("a", `{}`)
	second := browser.sibling(s.url + emptyPage)
	second.client(`{ shared: true }`)
	second.listen("a", `{}`)
	s.publish(t, "a", "", "text/plain", "one")
	second.until(`heard.length === 1`)
	began := time.Now()
	first.run(`setTimeout(() => { for (const end = Date.now() + 6000; Date.now() < end; ); })`)
	s.publish(t, "a", "", "text/plain", "two")
	second.until(`heard.length === 2`)
	t.Logf("noticed after %v", time.Since(began))
	// Who hung has missed nothing, either.
	s.publish(t, "a", "", "text/plain", "three")
	for _, p := range []*tab{first, second} {
		p.until(`heard.length === 3`)
		check(p, `heard.join()`, "one,two,three")
	}
	until(t, "one subscription", func() bool { return s.subscribers(t, "a") == 1 })
}

// A page that the browser puts aside while its user looks at another one gives up
// the connection, and has missed nothing when its user comes back.
func TestTabsBackForward(t *testing.T) {
	s := serve(t)
	const kept = "/client.d.ts" // which the browser may keep, with its script
	first := newTab(t, s.url+kept)
	first.client(`{ shared: true }`)
	first.listen("a", `{}`)
	second := first.sibling(s.url + kept)
	second.client(`{ shared: true }`)
	second.listen("a", `{}`)
	s.publish(t, "a", "", "text/plain", "one")
	first.until(`heard.length === 1`)
	perform(first, "leave", chromedp.Navigate(s.url+"/client.js"))
	s.publish(t, "a", "", "text/plain", "two")
	second.until(`heard.join() === "one,two"`)
	first.run(`setTimeout(() => history.back())`)
	until(t, "the page as it was", func() bool { // a page that was kept does not load
		ctx, cancel := context.WithTimeout(first.ctx, 5*time.Second) // while it changes there may be no answer
		defer cancel()
		back, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`window.heard?.join() === "one,two"`))
		return err == nil && back
	})
	s.publish(t, "a", "", "text/plain", "three")
	for _, p := range []*tab{first, second} {
		p.until(`heard.join() === "one,two,three"`)
	}
	until(t, "one subscription", func() bool { return s.subscribers(t, "a") == 1 })
}

// The rules by which tabs share, with hundreds of tabs that come, go and crash.
func TestTabsInNode(t *testing.T) {
	bundle := filepath.Join(t.TempDir(), "tabs.mjs")
	run(t, command("go", "tool", "-modfile=../tools.mod", "esbuild", "../ts/src/tabs.ts", "--bundle", "--format=esm", "--target=es2022", "--log-level=warning", "--outfile="+bundle))
	cmd := command(tool(t, "node", "nodejs"), "--test", "../ts/test/tabs.test.mjs")
	cmd.Env = append(cmd.Env, "TABS="+bundle)
	t.Logf("%s", run(t, cmd))
}

// outboxes is how many are kept by clients that live: each holds a lock.
func outboxes(p *tab) int {
	p.t.Helper()
	return evaluate[int](p, `navigator.locks.query().then(({ held }) => held.filter(({ name }) => name.includes(" outbox ")).length)`)
}

// kept is how many publishes are in the database, which the browser stores
// after it was asked.
func kept(p *tab) int {
	p.t.Helper()
	return evaluate[int](p, `(async () => {
		const [{ name }] = await indexedDB.databases();
		const result = (request) => new Promise((done) => (request.onsuccess = () => done(request.result)));
		const database = await result(indexedDB.open(name));
		const count = await result(database.transaction("outbox").objectStore("outbox").count());
		database.close();
		return count;
	})()`)
}

// What is published while there is no server outlives the page.
func TestOutboxSurvivesReload(t *testing.T) {
	const offline = `{ persist: true, fetch: () => Promise.reject(new TypeError("offline")), WebSocket: null }`
	s := serve(t)
	c := newCutter(t, s.addr)
	p := newTab(t, c.url+emptyPage)
	p.client(`{ persist: true }`)
	p.run(`client.publish("a", "online")`)

	// The page can be loaded, but nothing else.
	p.run(`client.close(); client = new Duplex("/", ` + offline + `)`)
	p.run(`for (let i = 0; i < 100; i++) client.publish("a", i % 2 ? { i } : "text " + i); void client.publish("a", Uint8Array.of(0, 255))`)
	p.until(`client.status.waiting === 101`)
	until(t, "all in the store", func() bool { return kept(p) == 101 })
	// What a tab has that lives is its own.
	other := p.sibling(c.url + emptyPage)
	other.client(offline)
	other.run(`void client.publish("a", "from the other")`)
	until(t, "that of the other in the store, too", func() bool { return kept(p) == 102 })
	for range 2 {
		perform(p, "reload", chromedp.Reload())
	}
	if n := len(s.page(t, "a", "").Events); n != 1 {
		t.Fatalf("%d events are there already", n)
	}
	p.client(`{ persist: true }`)
	var events []event
	until(t, "all events", func() bool {
		events = s.page(t, "a", "?after=earliest&limit=1000").Events
		return len(events) >= 102
	})
	p.until(`client.status.waiting === 0`)
	for i, e := range events[1:101] {
		want := fmt.Sprint("text ", i)
		if i%2 == 1 {
			want = fmt.Sprintf(`{"i":%d}`, i)
		}
		if e.text() != want {
			t.Errorf("event %d is %s, not %s", i, e.text(), want)
		}
	}
	// Nothing is sent again; but what the other has left is, before what is new,
	// by a page that begins after it,
	other.close()
	until(t, "the other's outbox is given up", func() bool { return outboxes(p) == 1 })
	perform(p, "reload", chromedp.Reload())
	p.client(`{ persist: true }`)
	p.run(`client.publish("a", "last")`)
	events = s.page(t, "a", "?after=earliest&limit=1000").Events
	if len(events) != 104 || events[102].text() != "from the other" || events[103].text() != "last" {
		t.Errorf("%d events, at the end %s and %s", len(events), events[len(events)-2].text(), events[len(events)-1].text())
	}
	// by one that was there already, when it comes back,
	other = p.sibling(c.url + emptyPage)
	other.client(offline)
	other.run(`void client.publish("a", "left to a living page")`)
	until(t, "it is in the store", func() bool { return kept(p) == 1 })
	other.close()
	until(t, "its outbox is given up", func() bool { return outboxes(p) == 1 })
	p.run(`client.check()`)
	until(t, "what was left to a living page", func() bool { return len(s.page(t, "a", "?after=earliest&limit=1000").Events) == 105 })
	until(t, "an empty store", func() bool { return kept(p) == 0 })
	// and by another client of the page.
	p.run(`client.close(); client = new Duplex("/", ` + offline + `); void client.publish("a", "left to the next client").catch(() => {})`)
	until(t, "it is in the store", func() bool { return kept(p) == 1 })
	p.run(`client.close(); client = new Duplex("/", { persist: true })`)
	until(t, "what was left to the next client", func() bool { return len(s.page(t, "a", "?after=earliest&limit=1000").Events) == 106 })
	until(t, "an empty store", func() bool { return kept(p) == 0 })
	p.checkQuiet()
}
