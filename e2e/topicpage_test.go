//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"slices"
	"strings"
	"testing"

	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

const (
	statusText = `document.getElementById("status").textContent`
	shownData  = `[...document.querySelectorAll("#events li pre")].map((e) => e.textContent)`
)

// uses waits until the page of a topic uses a transport of its own choice. It gives
// each three seconds, which a busy machine may need: then it is loaded again.
func (p *tab) uses(transport string) {
	p.t.Helper()
	until(p.t, "the page uses "+transport, func() bool {
		used, connected := strings.CutPrefix(evaluate[string](p, statusText), "connected: ")
		if connected && used != transport {
			perform(p, "load it again", chromedp.Reload())
			p.mu.Lock()
			p.complaints = nil // of what was given up
			p.mu.Unlock()
		}
		return used == transport
	})
}

// The page of a topic is live: events appear, and the box publishes (PROTOCOL.md
// §5.11).
func TestTopicPage(t *testing.T) {
	s := serve(t)
	s.publish(t, "chat/lobby", "", "text/plain", "from before")
	p := newTab(t, s.topic("chat/lobby"))
	p.uses("websocket")
	check(p, shownData+`.join("|")`, "from before")
	check(p, `document.title`, "chat/lobby")
	s.publish(t, "chat/lobby", "?event=note", "text/plain", "live")
	p.until(shownData + `[0] === "live"`)
	check(p, `document.querySelector("#events li i").textContent`, "note")
	check(p, `document.getElementById("count").textContent`, "2 events")

	// As a person does it.
	perform(p, "publish", chromedp.Steps(
		chromedp.SendKeys(chromedp.CSS("#data"), "typed <b>in</b>"),
		chromedp.SendKeys(chromedp.CSS("#type"), "said"),
		chromedp.Click(chromedp.CSS("#publish button")),
	))
	p.until(shownData + `[0] === "typed <b>in</b>"`)
	p.until(`document.getElementById("answer").textContent.startsWith("published as ")`)
	check(p, `document.getElementById("data").value`, "")
	p.run(`document.getElementById("type").value = ""`)
	perform(p, "publish JSON", chromedp.SendKeys(chromedp.CSS("#data"), `{"n": 1}`+"\r"))
	p.until(shownData + `.length === 4`)
	events := s.page(t, "chat/lobby", "").Events
	if e := events[2]; e.Event != "said" || e.text() != "typed <b>in</b>" {
		t.Errorf("published %+v", e)
	}
	if e := events[3]; e.Event != "" || e.text() != `{"n": 1}` {
		t.Errorf("published %+v", e)
	}
	p.screenshot("chat-page.png")
	s.end(t, "chat/lobby")
	p.until(statusText + ` === "the topic has ended"`)
	p.checkQuiet()
}

// Each transport of the page works, and from one to the other nothing is lost
// or doubled.
func TestTopicPageTransports(t *testing.T) {
	s := serve(t)
	p := newTab(t, s.topic("room"))
	p.uses("websocket")
	var want []string
	for round := range 2 {
		for _, transport := range []string{"sse", "stream", "longpoll", "poll", "websocket"} {
			want = append(want, fmt.Sprintf("%d before %s", round, transport))
			s.publish(t, "room", "", "text/plain", want[len(want)-1])
			p.choose(transport)
			want = append(want, fmt.Sprintf("%d meanwhile", round))
			s.publish(t, "room", "", "text/plain", want[len(want)-1])
			p.until(statusText + ` === ` + quote("connected: "+transport))
			want = append(want, fmt.Sprintf("%d by %s", round, transport))
			s.publish(t, "room", "?event=typed", "text/plain", want[len(want)-1])
			p.until(fmt.Sprintf(shownData+`.length >= %d`, len(want)))
		}
	}
	got := evaluate[[]string](p, shownData)
	slices.Reverse(got)
	if !slices.Equal(got, want) {
		t.Errorf("shown %q, not %q", got, want)
	}
	p.checkQuiet()

	// Each of them knows the end.
	for _, transport := range []string{"websocket", "sse", "stream", "longpoll", "poll"} {
		name := "end/" + transport
		s.publish(t, name, "", "text/plain", "one")
		p := newTab(t, s.topic(name))
		p.uses("websocket")
		p.choose(transport)
		p.until(statusText + ` === ` + quote("connected: "+transport))
		s.publish(t, name, "?end", "text/plain", "two")
		p.until(statusText + ` === "the topic has ended"`)
		p.until(`document.querySelectorAll("#events li").length === 3`)
		check(p, `[...document.querySelectorAll("#events li")].map((li) => li.querySelector("pre")?.textContent ?? "end").join()`, "end,two,one")
		p.checkQuiet()
	}
}

// choose selects a transport on the page of a topic.
func (p *tab) choose(transport string) {
	p.t.Helper()
	p.run(`(() => {
		const select = document.getElementById("transport");
		select.value = ` + quote(transport) + `;
		select.dispatchEvent(new Event("change"));
	})()`)
}

// Where WebSockets do not come through, the page finds another way; and who
// chooses one is not kept waiting.
func TestTopicPageFallback(t *testing.T) {
	s := serve(t)
	f := newFront(t, s.url)
	f.holding.Store(true)
	p := newTab(t, f.url+"/topics/room")
	p.uses("sse")
	s.publish(t, "room", "", "text/plain", "hello")
	p.until(shownData + `.join() === "hello"`)

	p = newTab(t, "about:blank")
	if err := call(p, cdpage.AddScriptToEvaluateOnNewDocument, cdpage.AddScriptToEvaluateOnNewDocumentParams{Source: `
		seen = [];
		new MutationObserver(() => {
			const status = document.getElementById("status")?.textContent;
			if (!status || seen.at(-1) === status) return;
			seen.push(status);
			if (status === "connecting: websocket") {
				const select = document.getElementById("transport");
				select.value = "stream";
				select.dispatchEvent(new Event("change"));
			}
		}).observe(document, { subtree: true, childList: true, characterData: true });`}); err != nil {
		t.Fatal(err)
	}
	perform(p, "open", chromedp.Navigate(f.url+"/topics/room"))
	p.until(`seen.at(-1) === "connected: stream"`)
	check(p, `seen.filter((status) => /^connect.+: /.test(status)).join()`, "connecting: websocket,connecting: stream,connected: stream")
}

// The page comes back after its connection was cut and its server was away.
func TestTopicPageReconnects(t *testing.T) {
	s := serve(t)
	c := newCutter(t, s.addr)
	for _, transport := range []string{"websocket", "sse", "stream", "longpoll"} {
		name := "cut/" + transport
		p := newTab(t, topicURL(c.url, name))
		p.choose(transport)
		p.until(statusText + ` === ` + quote("connected: "+transport))
		var want []string
		for i := range 3 {
			s.publish(t, name, "", "text/plain", fmt.Sprintf("before %d", i))
			until(t, "a connection to cut", func() bool { return c.cut() > 0 })
			s.publish(t, name, "", "text/plain", fmt.Sprintf("after %d", i))
			want = append([]string{fmt.Sprintf("after %d", i), fmt.Sprintf("before %d", i)}, want...)
			p.until(fmt.Sprintf(shownData+`.length >= %d`, len(want)))
			check(p, shownData+`.join()`, strings.Join(want, ","))
		}
	}
}

// A binary image is shown as one, whether it was there before or comes live,
// and reaches an EventSource as what an image takes.
func TestImages(t *testing.T) {
	s := serve(t)
	picture := image.NewRGBA(image.Rect(0, 0, 640, 480))
	for i := range picture.Pix {
		picture.Pix[i] = byte(i*i>>7) | 0x1f // not easily compressed
	}
	picture.Set(0, 0, color.Black)
	var data bytes.Buffer
	if err := png.Encode(&data, picture); err != nil {
		t.Fatal(err)
	}
	t.Logf("an image of %d bytes", data.Len())
	s.publish(t, "pictures", "", "image/png", data.String())
	p := newTab(t, s.topic("pictures"))
	p.uses("websocket")
	p.until(`document.querySelector("#events li img")?.naturalWidth === 640`)
	s.publish(t, "pictures", "", "image/png", data.String())
	p.until(`document.querySelectorAll("#events li img").length === 2 && [...document.querySelectorAll("#events li img")].every((i) => i.naturalWidth === 640 && i.naturalHeight === 480)`)
	p.screenshot("pictures-page.png")
	p.checkQuiet()

	p = newTab(t, newFront(t, s.url).url+"/page")
	p.run(`img = document.body.appendChild(document.createElement("img"));
		new EventSource("/topics/pictures?after=earliest").onmessage = (e) => img.src = e.data`)
	p.until(`img.naturalWidth > 0`)
	p.checkQuiet()
}

// hostileTexts are what must stay text, wherever it comes from.
var hostileTexts = []string{
	`<script>window.__xss=1</script>`,
	`</script><script>window.__xss=1</script>`,
	`<img src=x onerror=window.__xss=1>`,
	`"><img src=x onerror=window.__xss=1>`,
	`'><svg onload=window.__xss=1>`,
	`" onmouseover=window.__xss=1 autofocus onfocus=window.__xss=1 x="`,
	`<svg><animate onbegin=window.__xss=1 attributeName=x dur=1s>`,
	`<iframe srcdoc="<script>parent.__xss=1</script>">`,
	`<iframe src=javascript:parent.__xss=1>`,
	`<details open ontoggle=window.__xss=1>`,
	`<body onload=alert(1)>`,
	`javascript:alert(1)`,
	`<a href="javascript:alert(1)" autofocus>x</a>`,
	`<style>@import "x";*{background:url(x)}</style>`,
	`<link rel=stylesheet href=x>`,
	`<meta http-equiv=refresh content="0;url=javascript:alert(1)">`,
	`<base href=//evil.example.com/>`,
	`<form action=javascript:alert(1)><input type=submit autofocus>`,
	`</title></textarea></style></pre></li></ol><script>alert(1)</script>`,
	`<!--><script>alert(1)</script-->`,
	`]]><script>alert(1)</script>`,
	`a${alert(1)}{{alert(1)}}<%=1%>`,
	"`;alert(1);`",
	`\u003cscript\u003ealert(1)\u003c/script\u003e`,
	`&lt;script&gt;alert(1)&lt;/script&gt;`,
	`';alert(1)//`,
	`";alert(1)//`,
	"\u2028alert(1)//\u2029",
	"\u202egnp.exe\u202c",
	"\ufeff<script>alert(1)</script>",
	`__proto__`,
	`{"__proto__":{"__xss":1}}`,
	`data:text/html,<script>alert(1)</script>`,
}

// Whatever is published, as topic, type or data: the pages show it as text, and
// nothing of it runs (PROTOCOL.md §5.11: "It shows events as text and never as
// markup").
func TestStoredXSS(t *testing.T) {
	s := serve(t)
	type shown struct{ topic, event, data string }
	var want []shown
	publish := func() {
		for i, text := range hostileTexts {
			// Names cannot hold what divides them, nor wildcards.
			name := "xss/" + strings.NewReplacer("/", "∕", "*", "∗").Replace(text)
			e := shown{name, text, text}
			s.publish(t, name, "?event="+escapeQuery(text), "text/plain", text)
			want = append(want, e)
			if i%3 == 0 { // other ways to publish the same
				s.publish(t, name, "", "text/html", text)
				want = append(want, shown{name, "", text})
				s.publish(t, name, "", "application/json", `{"html":`+quote(text)+`}`)
				want = append(want, shown{name, "", "JSON: " + text})
			}
		}
		for _, media := range []string{"image/svg+xml", "text/xml"} {
			text := `<svg xmlns="http://www.w3.org/2000/svg" onload="window.__xss=1"><script>window.__xss=1</script></svg>`
			s.publish(t, "xss/svg", "", media, text)
			want = append(want, shown{"xss/svg", "", text})
		}
	}
	publish()
	live := newTab(t, s.url+"/topics/xss/*")
	live.uses("websocket")
	publish()

	rows := `[...document.querySelectorAll("#events li:not(.signal)")].map((li) => [li.querySelector("b").textContent, li.querySelector("i")?.textContent ?? "", li.querySelector("pre").textContent])`
	quiet := func(p *tab) {
		t.Helper()
		check(p, `window.__xss === undefined && ({}).__xss === undefined`, true)
		check(p, `document.querySelectorAll("#events :not(time, b, i, code, pre, li)").length`, 0)
		check(p, `[...document.querySelectorAll("*")].flatMap((e) => e.getAttributeNames()).filter((name) => name.startsWith("on")).length`, 0)
		p.checkQuiet()
	}
	compare := func(p *tab, want []shown) {
		t.Helper()
		got := evaluate[[][3]string](p, rows)
		slices.Reverse(got)
		got = got[max(0, len(got)-len(want)):]
		for i := range want {
			if i < len(got) {
				var value struct{ HTML *string }
				if json.Unmarshal([]byte(got[i][2]), &value) == nil && value.HTML != nil {
					got[i][2] = "JSON: " + *value.HTML // it may be written in several ways
				}
			}
			if i >= len(got) || got[i] != [3]string{want[i].topic, want[i].event, want[i].data} {
				t.Errorf("event %d of %d is shown as %q, not %q", i, len(got), got[min(i, len(got)-1)], want[i])
				return
			}
		}
	}
	half := len(want) / 2
	live.until(fmt.Sprintf(`%s.length >= %d`, rows, min(50, half)+half))
	compare(live, want[half-min(50, half):])
	quiet(live)
	live.screenshot("hostile-page.png")

	// The same, as the server writes it into the page.
	again := newTab(t, s.url+"/topics/xss/*")
	again.uses("websocket")
	compare(again, want[len(want)-50:])
	quiet(again)

	// A page of each topic, and the list of them.
	for _, e := range want[:half] {
		if e.topic == "xss/svg" || e.event == "" {
			continue
		}
		p := again
		perform(p, "open", chromedp.Navigate(s.topic(e.topic)))
		p.uses("websocket")
		check(p, `document.querySelector("h1").textContent`, e.topic)
		check(p, `document.body.dataset.topic`, e.topic)
	}
	quiet(again)
	perform(again, "open", chromedp.Navigate(s.url+"/topics"))
	names := evaluate[[]string](again, `[...document.querySelectorAll("td:first-child")].map((e) => e.textContent)`)
	for _, e := range want {
		if !slices.Contains(names, e.topic) {
			t.Errorf("%q is not in the list", e.topic)
		}
	}
	quiet(again)

	// Its links lead to the topics.
	for _, e := range want[:half:half] {
		link := evaluate[string](again, `[...document.querySelectorAll("td:first-child a")].find((a) => a.textContent === `+quote(e.topic)+`)?.href ?? ""`)
		if response, body := do(t, "GET", link, "", "Accept", "application/json"); response.StatusCode != http.StatusOK || !strings.Contains(body, `"events":[{`) {
			t.Errorf("the link %q of %q gives %s %s", link, e.topic, response.Status, tail(body, 200))
		}
	}

	// Media types may hold quotes: here in the attribute that makes the image.
	odd := newTab(t, s.topic("odd"))
	odd.uses("websocket")
	s.publish(t, "odd", "", `image/png; a="\" onerror=window.__xss=1 x=\""`, "no image")
	odd.until(`document.querySelectorAll("#events li img").length === 1`)
	check(odd, `document.querySelector("#events img").getAttributeNames().filter((name) => name.startsWith("on")).length`, 0)
	perform(odd, "reload", chromedp.Reload())
	odd.until(`document.querySelectorAll("#events li img").length === 1`)
	check(odd, `document.querySelector("#events img").getAttributeNames().filter((name) => name.startsWith("on")).length`, 0)
	check(odd, `window.__xss === undefined`, true)
}

func escapeQuery(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
