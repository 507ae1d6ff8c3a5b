//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

const (
	said      = `[...document.querySelectorAll("#messages .said")].map((e) => e.textContent)`
	connected = `document.getElementById("status").dataset.state === "open"`
)

// say types a message into the chat of the start page, as a person does.
func (p *tab) say(text string) {
	p.t.Helper()
	perform(p, "say "+text, chromedp.SendKeys(chromedp.CSS("#text"), text+"\r"))
}

// Two browsers chat on the start page, and somebody joins in with curl.
func TestHomeChat(t *testing.T) {
	s := serve(t)
	s.publish(t, "chat/lobby", "", "text/plain", "from before")
	ada, bob := newTab(t, s.url), newTab(t, s.url)
	for i, p := range []*tab{ada, bob} {
		p.until(connected)
		p.run(fmt.Sprintf(`document.getElementById("name").value = %q`, []string{"Ada", "Bob"}[i]))
	}
	ada.say("hello <b>Bob</b>")
	bob.until(said + `.length === 2`)
	bob.say("hello Ada")
	ada.until(said + `.length === 3`)
	s.publish(t, "chat/lobby", "", "text/plain", "hello both")
	want := "from before|hello <b>Bob</b>|hello Ada|hello both"
	for _, p := range []*tab{ada, bob} {
		p.until(said + `.length === 4`)
		check(p, said+`.join("|")`, want)
		check(p, `document.querySelectorAll("#messages .mine").length`, 1)
		check(p, `document.querySelectorAll("#messages .waiting").length`, 0)
		check(p, `[...document.querySelectorAll("#messages .who")].map((e) => e.textContent.split(",")[0]).join("|")`, "somebody|Ada|Bob|somebody")
	}
	// After a reload one is still oneself.
	perform(bob, "reload", chromedp.Reload())
	bob.until(said + `.length === 4`)
	check(bob, said+`.join("|")`, want)
	check(bob, `document.querySelectorAll("#messages .mine").length`, 1)
	ada.screenshot("home-chat.png")
	for _, p := range []*tab{ada, bob} {
		p.checkQuiet()
	}
}

// What is said stays text, whoever says it and in whatever form.
func TestHomeChatIsInert(t *testing.T) {
	s := serve(t)
	p := newTab(t, s.url)
	p.until(connected)
	count := 0
	for _, text := range hostileTexts {
		s.publish(t, "chat/lobby", "", "text/plain", text)
		s.publish(t, "chat/lobby", "", "application/json", `{"name":`+quote(text)+`,"text":`+quote(text)+`,"tab":`+quote(text)+`,"key":`+quote(text)+`}`)
		count += 2
	}
	for _, odd := range []string{`null`, `1`, `[]`, `{"text":{"text":"x"}}`, `{"text":1,"name":2}`, `{"name":{},"text":"x","key":{}}`, `"text"`} {
		s.publish(t, "chat/lobby", "", "application/json", odd)
		count++
	}
	p.until(fmt.Sprintf(said+`.length === %d`, count))
	check(p, `window.__xss === undefined && document.querySelectorAll("#messages :not(li, span, time)").length`, 0)
	p.checkQuiet()
}

// The page's tabs have one connection, and go on over any transport; what is said
// while the server is away comes later.
func TestHomeOffline(t *testing.T) {
	dir := t.TempDir()
	s := serveAt(t, freeAddress(t), dir)
	browser := newTab(t, "about:blank")
	first, second := browser.sibling(s.url), browser.sibling(s.url)
	tabs := []*tab{first, second}
	for _, p := range tabs {
		p.until(connected)
	}
	until(t, "one subscription", func() bool {
		s.publish(t, "chat/lobby", "", "text/plain", "x")
		return s.subscribers(t, "chat/lobby") == 1
	})
	for _, transport := range []string{"sse", "stream", "longpoll", "poll", "websocket"} {
		first.run(`{ const select = document.getElementById("transport"); select.value = ` + quote(transport) + `; select.dispatchEvent(new Event("change")); }`)
		for _, p := range tabs {
			p.until(`document.getElementById("status").textContent.startsWith("connected: ` + transport + `")`)
		}
		first.say("by " + transport)
		for _, p := range tabs {
			p.until(said + `.at(-1) === ` + quote("by "+transport))
		}
	}
	s.kill(t)
	second.until(`!(` + connected + `)`)
	second.say("are you there?")
	second.until(`document.querySelectorAll("#messages .waiting").length === 1`)
	second.until(`document.getElementById("status").textContent.includes("1 to send")`)
	serveAt(t, s.addr, dir)
	for _, p := range tabs {
		p.until(said + `.at(-1) === "are you there?"`)
		p.until(connected + ` && document.querySelectorAll("#messages .waiting").length === 0`)
		check(p, said+`.filter((text) => text !== "x").join("|")`, "by sse|by stream|by longpoll|by poll|by websocket|are you there?")
	}
}

// The table shows what the network lets through, and what not.
func TestHomeCheck(t *testing.T) {
	s := serve(t)
	rows := func(webSocket string) []string {
		return []string{webSocket, "webtransport –  WebTransport needs https", "sse works", "stream works", "longpoll works", "poll works"}
	}
	p := newTab(t, s.url)
	p.advised("Clients will use WebSockets.", rows("websocket works")...)
	check(p, `document.querySelectorAll("#checked tr").length`, 6)
	p.checkQuiet()

	f := newFront(t, s.url)
	f.holding.Store(true)
	p = newTab(t, f.url+"/")
	p.advised("Clients will use sse, because WebSockets do not get through: there was no answer in time",
		rows("websocket no  there was no answer in time: something on the way swallows it, or is very slow")...)
	p.until(`document.getElementById("status").textContent.startsWith("connected: sse")`)
}

// advised waits for what the page makes of its check. It asks again for as long as
// the machine is too busy to answer in the five seconds that the page gives. Rows are
// beginnings of those that there have to be.
func (p *tab) advised(advice string, rows ...string) {
	p.t.Helper()
	wanted, _ := json.Marshal(append([]string{}, rows...)) // strings always marshal
	p.until(`(() => {
		const again = document.getElementById("check-again");
		const rows = [...document.querySelectorAll("#checked tr")].map((e) => [0, 1, 2, 5].map((i) => e.children[i].textContent).join(" "));
		if (document.getElementById("advice").textContent.startsWith(` + quote(advice) + `) && ` + string(wanted) + `.every((row) => rows.some((r) => r.startsWith(row)))) return true;
		if (!again.disabled) again.click();
	})()`)
}

// The topics are those of the server, the busiest first.
func TestHomeTopics(t *testing.T) {
	s := serve(t)
	p := newTab(t, s.url)
	p.until(connected)
	const names = `[...document.querySelectorAll("#rows td:first-child a")].map((e) => e.textContent).join()`
	check(p, `document.getElementById("topics-hint").hidden`, false)
	s.publish(t, "quiet", "", "text/plain", "x")
	p.until(names + ` === "quiet"`)
	for range 20 {
		s.publish(t, "busy/größe 1", "", "text/plain", "x")
	}
	s.end(t, "over")
	p.until(names + ` === "busy/größe 1,quiet,over"`)
	check(p, `document.querySelector("#rows tr:last-child .tag").textContent`, "ended")
	check(p, `document.querySelector("#rows a").href`, s.topic("busy/größe 1"))
	p.until(`document.querySelector("#rows path").getAttribute("d").includes("L")`)
	p.checkQuiet()
}

// Who uses no mouse gets everywhere, and the code is that of this server.
func TestHomeCode(t *testing.T) {
	s := serve(t)
	p := newTab(t, s.url)
	p.until(connected)
	const shown = `[...document.querySelectorAll("[role=tabpanel]:not([hidden])")].map((e) => e.dataset.tab).join()`
	check(p, shown, "curl")
	p.run(`document.querySelector("[role=tab]").focus()`)
	for _, step := range []struct{ key, want string }{
		{"ArrowRight", "EventSource"}, {"End", "Shell"}, {"ArrowRight", "curl"}, {"ArrowLeft", "Shell"}, {"Home", "curl"}, {"x", "curl"},
	} {
		p.run(`document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "` + step.key + `", bubbles: true }))`)
		check(p, shown, step.want)
		check(p, `document.activeElement.textContent`, step.want)
	}
	check(p, `document.querySelectorAll("[role=tab][tabindex='0']").length`, 1)

	// What is copied works: here what the page says of curl.
	commands := evaluate[[]string](p, `[...document.querySelectorAll("[data-tab=curl] pre")].map((e) => e.textContent)`)
	if len(commands) != 3 || !strings.Contains(commands[1], "-d 'hello'") {
		t.Fatalf("commands: %q", commands)
	}
	if out := run(t, command(tool(t, "sh", "dash"), "-c", commands[1])); !strings.Contains(out, `{"id":`) {
		t.Errorf("%s: %s", commands[1], out)
	}
	p.until(said + `.join() === "hello"`)
	scripts := evaluate[[]string](p, `[...document.querySelectorAll("[data-tab=EventSource] pre, [data-tab=WebSocket] pre, [data-tab=Client] pre")].map((e) => e.textContent)`)
	if len(scripts) != 5 {
		t.Fatalf("scripts: %q", scripts)
	}
	for i, script := range scripts {
		// Here it is no module, which alone may import so.
		script = strings.Replace(strings.Replace(script, "import {", "const {", 1), `} from "`, `} = await importing("`, 1)
		script = strings.Replace(script, `client.js";`, `client.js");`, 1)
		p.run(`before = ` + said + `.length; logged = []; importing = (name) => import(name);
			((list) => (async (console) => {` + script + `})({ log: (...heard) => list.push(JSON.stringify(heard)) }))(logged)`)
		if i == 1 { // which only publishes
			p.until(said + `.length > before`)
			continue
		}
		until(t, script, func() bool {
			s.publish(t, "chat/lobby", "", "text/plain", "hello")
			return evaluate[bool](p, `logged.some((text) => text.includes("hello"))`)
		})
	}
	p.checkQuiet()
}

// Everybody can read the page: on a telephone and on a wide screen, by day and by
// night. Text has the contrast of WCAG 2.2 §1.4.3, what can be used has a name,
// and nothing is wider than the screen.
func TestHomeForEverybody(t *testing.T) {
	s := serve(t)
	s.publish(t, "chat/lobby", "", "application/json", `{"name":"Ada","text":"`+strings.Repeat("a long word ", 20)+strings.Repeat("x", 200)+`"}`)
	p := newTab(t, s.url)
	p.until(connected + ` && document.querySelector("#rows tr")`)
	p.say("hello")
	p.until(said + `.length === 2`)
	for _, scheme := range []string{"light", "dark"} {
		if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
			t.Fatal(err)
		}
		for _, width := range []int64{360, 1000, 1600} {
			perform(p, "resize", chromedp.EmulateViewport(width, 1200))
			check(p, `document.documentElement.scrollWidth <= innerWidth`, true)
			if faint := evaluate[[]string](p, faintText); len(faint) > 0 {
				t.Errorf("%s at %d: not enough contrast: %q", scheme, width, faint)
			}
			p.screenshot(fmt.Sprintf("home-%s-%d.png", scheme, width))
		}
	}
	check(p, `[...document.querySelectorAll("input:not([type=hidden]), button, select, a")].filter((e) => !(e.labels?.length || e.textContent.trim() || e.ariaLabel)).length`, 0)
	check(p, `document.querySelectorAll("main, header.top, nav").length`, 3)
	check(p, `[...document.querySelectorAll("h1, h2, h3")].filter((e) => e.checkVisibility()).every((e, i, all) => i === 0 || e.tagName[1] - all[i - 1].tagName[1] <= 1)`, true)
	p.checkQuiet()
}

// faintText lists the text that has less contrast than 4.5:1.
const faintText = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
	const paint = (colour, below) => { canvas.fillStyle = below; canvas.fillRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
	const text = (c) => "rgb(" + c.slice(0, 3).join() + ")";
	const behind = (e) => e ? text(paint(getComputedStyle(e).backgroundColor, behind(e.parentElement))) : "white";
	const light = (c) => c.slice(0, 3).map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	const found = new Set();
	for (const e of document.querySelectorAll("body *")) {
		if (!e.checkVisibility() || e.closest(".waiting, .unseen") || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
		const ground = behind(e);
		const [a, b] = [light(paint(getComputedStyle(e).color, ground)), light(paint(ground, ground))].sort((x, y) => y - x);
		if ((a + .05) / (b + .05) < 4.5) found.add(e.tagName + "." + e.className + " " + ((a + .05) / (b + .05)).toFixed(2) + " " + e.textContent.slice(0, 30));
	}
	return [...found];
})()`
