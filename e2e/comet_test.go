//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// picture is a PNG of one colour.
func picture(t testing.TB, c color.Color) string {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 8, 8))
	for i := range 64 {
		img.Set(i%8, i/8, c)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Readers of multipart have each part at once (PROTOCOL.md §5.19).
func TestMultipart(t *testing.T) {
	s := serve(t)
	request, err := http.NewRequestWithContext(t.Context(), "GET", s.topic("parts"), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "multipart/x-mixed-replace")
	response, err := direct.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, params, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(response.Body, params["boundary"])
	for i := range 3 {
		id := s.publish(t, "parts", "", "text/plain", fmt.Sprint("event ", i))
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		// The next event has not been published, so nothing but this part is there.
		if data, err := io.ReadAll(part); string(data) != fmt.Sprint("event ", i) || part.Header.Get("Event-ID") != id || err != nil {
			t.Errorf("%q %v, %v", data, part.Header, err)
		}
	}
	s.end(t, "parts")
	if part, err := parts.NextPart(); err != nil || !strings.Contains(part.Header.Get("Signal"), "$end") {
		t.Errorf("the last part: %v, %v", part, err)
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("after it: %v", err)
	}

	s.publish(t, "mail", "", "text/plain; charset=utf-8", "grüße")
	s.publish(t, "mail", "", "image/png", picture(t, color.White))
	s.publish(t, "mail", "?event=count", "application/json", `{"n": 1}`)
	s.end(t, "mail")
	python(t, "email_multipart.py", s.topic("mail"))
}

// A live image without a script: each event replaces the one before.
func TestBrowserLiveImage(t *testing.T) {
	s := serve(t, "--ping", "1s")
	p := newTab(t, s.topic("camera")+"?as=poll")
	p.run(`
		img = document.createElement("img"); shown = 0;
		img.onload = () => shown++;
		img.src = location.pathname + "?as=multipart&after=earliest";
		document.body.replaceChildren(img);
		colour = () => {
			const c = document.createElement("canvas").getContext("2d");
			c.drawImage(img, 0, 0);
			return [...c.getImageData(4, 4, 1, 1).data].slice(0, 3).join();
		}`)
	s.publish(t, "camera", "", "image/png", picture(t, color.White))
	p.until(`img.complete && colour() === "255,255,255"`)
	until(t, "a reader", func() bool { return s.subscribers(t, "camera") == 1 })
	for want, c := range map[string]color.Color{
		"255,0,0": color.RGBA{255, 0, 0, 255}, "0,255,0": color.RGBA{0, 255, 0, 255}, "0,0,255": color.RGBA{0, 0, 255, 255},
	} {
		s.publish(t, "camera", "", "image/png", picture(t, c))
		p.until(`img.complete && img.naturalWidth === 8 && colour() === "` + want + `"`)
	}
	// Heartbeats change nothing.
	last := evaluate[string](p, `colour()`)
	p.run(`new Promise((resolve) => setTimeout(resolve, 2500))`)
	check(p, `colour()`, last)
	check(p, `img.naturalWidth`, 8)
	s.end(t, "camera")
	until(t, "no reader", func() bool { return s.subscribers(t, "camera") == 0 })
	check(p, `colour()`, last)
}

// What a publisher says is a page is none, also where a browser would show it.
func TestBrowserMultipartRunsNothing(t *testing.T) {
	s := serve(t)
	s.publish(t, "evil", "", "text/html", `<script>document.title = "taken"</script><img src=x onerror="document.title='taken'">`)
	s.publish(t, "evil", "", "image/svg+xml", `<svg xmlns="http://www.w3.org/2000/svg" onload="document.title='taken'"/>`)
	s.end(t, "evil")
	p := newTab(t, s.topic("evil")+"?as=poll")
	p.run(`frame = document.createElement("iframe"); frame.src = location.pathname + "?as=multipart&after=earliest"; document.body.append(frame)`)
	until(t, "it was answered", func() bool { return s.subscribers(t, "evil") == 0 })
	p.run(`new Promise((resolve) => setTimeout(resolve, 500))`)
	check(p, `document.title + (frame.contentDocument?.title ?? "")`, "")
}

// hiddenFrame calls receive for each event and signal, in order.
const hiddenFrame = `heard = []; types = [];
	receive = (event) => { types.push(event.event); if (!String(event.event).startsWith("$")) heard.push(event.data); };
	frame = document.createElement("iframe"); frame.hidden = true;
	frame.src = location.pathname + "?as=iframe&callback=receive";
	document.body.replaceChildren(frame);`

// The forever-iframe: a page without end whose scripts call the parent's
// function (PROTOCOL.md §5.20).
func TestBrowserForeverIframe(t *testing.T) {
	s := serve(t, "--ping", "2s")
	between := newCutter(t, s.addr)
	p := newTab(t, topicURL(between.url, "frame")+"?as=poll")
	p.run(hiddenFrame)
	p.until(`types[0] === "$ping"`)
	var want []string
	publish := func(data string) {
		want = append(want, quote(data))
		s.publish(t, "frame", "", "text/plain", data)
	}
	for i := range 20 {
		publish(fmt.Sprint("event ", i))
	}
	// What could end the string, the script or the page does not.
	for _, data := range []string{
		`</script><script>parent.taken = 1</script>`, `<!--<script>`, `');parent.taken=1;('`, `\');parent.taken=1;//`, `\u0027);parent.taken=1;//`,
		"\u2028parent.taken=1\u2029", `"};parent.taken=1;{"`, "line\r\nline\x00\x1b", `${parent.taken=1}`, "🦫", `]]>`, `&lt;script&gt;`,
	} {
		publish(data)
	}
	heardAll := func() {
		t.Helper()
		p.until(`JSON.stringify(heard) === JSON.stringify([` + strings.Join(want, ",") + `])`)
	}
	heardAll()
	check(p, `typeof taken`, "undefined")
	s.publish(t, "frame", "", "application/json", `{"__proto__":{"admin":true},"n":1}`)
	want = append(want, `JSON.parse('{"__proto__":{"admin":true},"n":1}')`)
	heardAll()
	check(p, `heard.at(-1).admin === undefined && Object.hasOwn(heard.at(-1), "__proto__") && ({}).admin === undefined`, true)
	check(p, `frame.contentDocument.scripts.length`, 1) // those that have run are gone

	// It goes on where it was, if its connection is lost.
	if between.cut() == 0 {
		t.Error("no connection to cut")
	}
	publish("meanwhile")
	publish("again")
	heardAll()
	s.end(t, "frame")
	p.until(`types.at(-1) === "$end"`)
	p.run(`ended = types.length; new Promise((resolve) => setTimeout(resolve, 6000))`) // longer than it waits to come back
	check(p, `types.length === ended`, true)
}

// A server that stops has the frame come back to the next one.
func TestBrowserIframeRestart(t *testing.T) {
	data := t.TempDir()
	s := serveAt(t, freeAddress(t), data)
	p := newTab(t, s.topic("frame")+"?as=poll")
	p.run(hiddenFrame)
	p.until(`types[0] === "$ping"`)
	s.publish(t, "frame", "", "text/plain", "before")
	p.until(`heard.length === 1`)
	s.stop(t)
	again := serveAt(t, s.addr, data)
	again.publish(t, "frame", "", "text/plain", "after")
	p.until(`heard.join() === "before,after"`)
}

// The polling snippet of the articles, word for word but for the URL, and its
// form that is a long-poll. Ten seconds pass in a tenth of one.
func TestBrowserJQueryPolling(t *testing.T) {
	jquery, err := os.ReadFile(filepath.Join(nodePackages(t), "node_modules", "jquery", "dist", "jquery.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	other := serve(t) // another origin
	s := serve(t, "--allow-origin", other.url)
	for _, page := range []*server{s, other} {
		topic := "jquery/" + strings.ReplaceAll(page.addr, ":", "-")
		p := newTab(t, topicURL(page.url, topic)+"?as=poll")
		p.run(string(jquery) + `; polls = 0; heard = [];
			{ const later = setTimeout; setTimeout = (f, ms, ...args) => later(f, ms / 100, ...args); }
			$(document).on("ajaxSend", () => polls++);
			update = (data) => { for (const { id, data: text } of data.events) if (!heard.some(([known]) => known === id)) heard.push([id, text]); };`)
		p.run(strings.ReplaceAll(`
(function poll() {
    setTimeout(function() {
        $.ajax({
            url: "http://localhost:3000/endpoint",
            success: function(data) {
                update(data);
                poll();
            },
            dataType: "json"
        });
    }, 10000);
})();`, "http://localhost:3000/endpoint", s.topic(topic)))
		p.until(`polls > 1`)
		var want []string
		for i := range 30 { // while it polls, and between
			want = append(want, quote(fmt.Sprint("event ", i)))
			s.publish(t, topic, "", "text/plain", fmt.Sprint("event ", i))
		}
		all := `JSON.stringify(heard.map(([, text]) => text)) === JSON.stringify([` + strings.Join(want, ",") + `])`
		p.until(all)
		p.run(`before = polls`)
		p.until(`polls > before + 2`) // it goes on, and takes nothing twice
		check(p, all, true)

		// With "complete", "timeout" and the cursor of the last answer, it is a
		// long-poll that loses nothing.
		long := topic + "/long"
		first := s.publish(t, long, "", "text/plain", "first")
		p.run(`taken = []; rounds = 0; cursor = ` + quote(first) + `;` + strings.ReplaceAll(`
(function poll() {
    $.ajax({
        url: "http://localhost:3000/endpoint",
        data: { after: cursor },
        success: function(data) {
            rounds++;
            cursor = data.cursor;
            for (const event of data.events) taken.push(event.data);
        },
        dataType: "json",
        complete: poll,
        timeout: 6000000
    });
})();`, "http://localhost:3000/endpoint", s.topic(long)+"?wait=1"))
		for i := range 30 {
			s.publish(t, long, "", "text/plain", fmt.Sprint("event ", i))
		}
		p.until(`JSON.stringify(taken) === JSON.stringify([` + strings.Join(want, ",") + `])`)
		p.run(`rounds = 0`)
		p.until(`rounds > 1`) // also with nothing to tell
		check(p, `taken.length`, 30)
	}
}
