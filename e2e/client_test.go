//go:build e2e

package e2e

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

var (
	asleep = flag.Duration("asleep", 5*time.Second, "how long the browser is stopped")
	hidden = flag.Duration("hidden", 10*time.Second, "how long a tab is in the background")
	flood  = flag.Duration("flood", 2*time.Second, "how long a tab is given 10,000 events a second")
)

// How long it takes to the first event, by each transport.
func TestClientFirstEvent(t *testing.T) {
	s := serve(t)
	s.publish(t, "a", "", "text/plain", "first")
	p := newTab(t, s.url+emptyPage)
	p.run(`import("/client.js").then((client) => window.Duplex = client.Duplex)`)
	for _, transports := range []string{``, `"websocket"`, `"sse"`, `"stream"`, `"longpoll"`, `"poll"`} {
		var took []float64
		for range 7 {
			took = append(took, evaluate[float64](p, `new Promise((done) => {
				localStorage.clear();
				const began = performance.now();
				const client = new Duplex("/", { transports: [`+transports+`].length ? [`+transports+`] : undefined });
				client.subscribe("a", () => { done(performance.now() - began); client.close(); }, { after: "earliest" });
			})`))
		}
		slices.Sort(took)
		t.Logf("%-12s first event after %.1f ms (median of %d, from %.1f to %.1f)", strings.Trim(transports, `"`), took[len(took)/2], len(took), took[0], took[len(took)-1])
	}
	p.checkQuiet()
}

// Thousands of events a second come into one tab in order, and leave the page
// time to do something else. What the browser itself and the machine take is seen
// of a WebSocket without the client.
func TestClientFlood(t *testing.T) {
	s := serve(t)
	p := newTab(t, s.url+emptyPage)
	p.run(`import("/client.js").then((client) => window.Duplex = client.Duplex)`)
	p.run(`longest = long = 0;
		new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) { long++; longest = Math.max(longest, duration); } }).observe({ type: "longtask" });
		take = ({ data }) => { if (data.n !== count++) wrong++; };`)
	for i, reader := range []struct{ name, subscribe string }{
		{"no client", `client = new WebSocket(location.origin.replace("http", "ws") + "/topics/TOPIC", ["duplex.v1"]);
			new Promise((ready) => {
				client.onmessage = ({ data }) => {
					const message = JSON.parse(data);
					message.event === "$ping" ? ready() : take(message);
				};
			})`},
		{"websocket", `client = new Duplex("/", { transports: ["websocket"] }); client.subscribe("TOPIC", take).ready`},
		{"sse", `client = new Duplex("/", { transports: ["sse"] }); client.subscribe("TOPIC", take).ready`},
		{"shared", `client = new Duplex("/", { shared: true, transports: ["websocket"] }); client.subscribe("TOPIC", take).ready`},
	} {
		topic := fmt.Sprint("flood/", i)
		p.run(`count = wrong = 0; ` + strings.ReplaceAll(reader.subscribe, "TOPIC", topic))
		const batch = 1000
		began := time.Now()
		published := 0
		for tick := began; time.Since(began) < *flood; tick = tick.Add(batch * time.Second / 10_000) {
			time.Sleep(time.Until(tick))
			s.publishNumbers(t, topic, published, batch)
			published += batch
		}
		rate := float64(published) / time.Since(began).Seconds()
		p.until(fmt.Sprintf(`count === %d`, published))
		check(p, `wrong`, 0)
		t.Logf("%s: %d events at %.0f/s; long tasks: %d, the longest %.0f ms", reader.name, published, rate, evaluate[int](p, `long`), evaluate[float64](p, `longest`))
		p.run(`client.close(); long = longest = 0`)
	}
}

// publishNumbers publishes events that say which they are.
func (s *server) publishNumbers(t testing.TB, topic string, from, n int) {
	t.Helper()
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, `{"data":{"n":%d,"text":"an event of a hundred bytes or so, as it may come from a stock exchange"}}`+"\n", from+i)
	}
	if response, body := do(t, "POST", s.topic(topic)+"?batch", lines.String()); response.StatusCode != 201 {
		t.Fatalf("%s %s", response.Status, body)
	}
}

// However much there is to catch up with, a page gets its turn after 256 events, or
// after 8 ms. (Of a WebSocket, the browser brings each message in a task of its
// own.)
func TestClientLeavesTurns(t *testing.T) {
	s := serve(t)
	const all = 3000
	for n := 0; n < all; n += 1000 {
		s.publishNumbers(t, "many", n, 1000)
	}
	s.publishNumbers(t, "few", 0, 50)
	p := newTab(t, s.url+emptyPage)
	// A message to itself comes in a task of its own.
	p.run(`import("/client.js").then((client) => window.Duplex = client.Duplex)`)
	p.run(`const { port1, port2 } = new MessageChannel();
		port1.onmessage = () => { most = Math.max(most, inTask); inTask = 0; };
		take = ({ data }) => {
			if (!inTask++) port2.postMessage(0);
			if (data.n !== count++) wrong++;
			for (const until = performance.now() + ms; performance.now() < until; );
		};
		iterate = async (subscription) => { for await (const event of subscription) take(event); };`)
	for _, transport := range []string{"sse", "stream", "longpoll", "poll"} {
		for _, read := range []string{`client.subscribe(TOPIC, take, from)`, `iterate(client.subscribe(TOPIC, from))`} {
			begin := func(topic string, ms int) {
				p.run(fmt.Sprintf(`count = wrong = inTask = most = 0; ms = %d; from = { after: "earliest" };
					client = new Duplex("/", { transports: [%q] });`, ms, transport) + strings.ReplaceAll(read, "TOPIC", quote(topic)) + `; 0`)
			}
			end := func(n, limit int) {
				p.until(fmt.Sprintf(`count === %d && !inTask`, n))
				check(p, `wrong`, 0)
				// The page's own message may come a turn later.
				if most := evaluate[int](p, `most`); most > 2*limit {
					t.Errorf("%s: %s: %d events without a turn, want %d at most", transport, read, most, 2*limit)
				}
				p.run(`client.close()`)
			}
			begin("many", 0)
			end(all, 256)
			begin("few", 1)
			end(50, 10)
		}
	}
	p.checkQuiet()
}

// A laptop that is closed and opened: its browser is stopped, while its
// connections die and events come.
func TestClientAsleep(t *testing.T) {
	s := serve(t, "--ping", "2s")
	ctx, cancel := launch(t)
	t.Cleanup(cancel)
	first := openTab(t, ctx, s.url+emptyPage)
	second := first.sibling(s.url + emptyPage)
	tabs := []*tab{first, second}
	for _, p := range tabs {
		p.client(`{ shared: true }`)
		p.listen("a", `{}`)
	}
	s.publish(t, "a", "", "text/plain", "before")
	for _, p := range tabs {
		p.until(`heard.length === 1`)
	}
	group := descendants(t, chromedp.FromContext(ctx).Browser.Process().Pid)
	if len(group) < 3 {
		t.Fatalf("processes of the browser: %v", group)
	}
	all := func(signal syscall.Signal) {
		for _, pid := range group {
			if err := syscall.Kill(pid, signal); err != nil && err != syscall.ESRCH {
				t.Error(err)
			}
		}
	}
	all(syscall.SIGSTOP)
	began := time.Now()
	for i := 0; time.Since(began) < *asleep; i++ {
		s.publish(t, "a", "", "text/plain", fmt.Sprint("meanwhile ", i))
		time.Sleep(*asleep / 10)
	}
	all(syscall.SIGCONT)
	woken := time.Now()
	s.publish(t, "a", "", "text/plain", "after")
	want := len(s.page(t, "a", "?after=earliest").Events)
	for _, p := range tabs {
		p.until(fmt.Sprintf(`heard.length >= %d`, want))
	}
	t.Logf("after %v asleep, both tabs had all %d events within %v", woken.Sub(began).Round(time.Second), want, time.Since(woken))
	for _, p := range tabs {
		p.until(`client.status.state === "connected"`)
		check(p, `new Set(heard).size`, want)
		check(p, `heard[0] + heard.at(-1)`, "beforeafter")
	}
	until(t, "one subscription", func() bool { return s.subscribers(t, "a") == 1 })
}

// descendants is a process and all below it.
func descendants(t testing.TB, pid int) []int {
	t.Helper()
	children := make(map[int][]int)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		stat, readErr := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil || readErr != nil {
			continue // none, or gone
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], child)
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// A tab in the background, whose timers the browser lets run once a minute,
// stays connected and is given events at once.
func TestClientInBackground(t *testing.T) {
	s := serve(t, "--ping", "4s") // a heartbeat may be late by two seconds
	f := newFront(t, s.url)
	ctx, cancel := launch(t, chromedp.Flag("enable-features", "IntensiveWakeUpThrottling:grace_period_seconds/2"))
	t.Cleanup(cancel)
	back := openTab(t, ctx, f.url+"/page")
	back.client(`{}`)
	back.run(`states = []; delays = []; ticks = 0; client.addEventListener("status", () => states.push(client.status.state));
		setInterval(() => ticks++, 100);
		client.subscribe("a", ({ time }) => delays.push(Date.now() - Date.parse(time))).ready`)
	openTab(t, back.ctx, "about:blank", chromedp.WithNewWindow(false)) // before it
	back.until(`document.visibilityState === "hidden"`)
	time.Sleep(3 * time.Second)
	back.run(`ticks = 0; states = []`)
	began := time.Now()
	published := 0
	for time.Since(began) < *hidden {
		s.publish(t, "a", "", "text/plain", "x")
		published++
		time.Sleep(time.Second)
	}
	back.until(fmt.Sprintf(`delays.length === %d`, published))
	t.Logf("%d events, the slowest after %d ms; %d ticks of a timer of 100 ms in %v", published, evaluate[int](back, `Math.max(...delays)`), evaluate[int](back, `ticks`), time.Since(began).Round(time.Second))
	check(back, `states.filter((state) => state !== "connected").length`, 0)
	if n := f.answered(101); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// Where there is no WebSocket at all, everything works but for it.
func TestHomeWithoutWebSocket(t *testing.T) {
	s := serve(t)
	p := newTab(t, "about:blank")
	if err := call(p, cdpage.AddScriptToEvaluateOnNewDocument, cdpage.AddScriptToEvaluateOnNewDocumentParams{Source: `delete globalThis.WebSocket`}); err != nil {
		t.Fatal(err)
	}
	perform(p, "open", chromedp.Navigate(s.url))
	p.until(`document.getElementById("status").textContent.startsWith("connected: sse")`)
	p.say("without")
	p.until(said + `.join() === "without" && document.querySelectorAll("#messages .waiting").length === 0`)
	p.advised("Clients will use sse, because WebSockets do not get through: this browser has no WebSocket.")
	p.checkQuiet()
}
