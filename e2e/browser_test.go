//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is the one browser of all tests; each tab has storage and
// connections of its own.
var chromium struct {
	mu     sync.Mutex // guards what follows
	ctx    context.Context
	cancel func()
}

func browser(t testing.TB) context.Context {
	t.Helper()
	chromium.mu.Lock()
	defer chromium.mu.Unlock()
	if chromium.ctx != nil {
		return chromium.ctx
	}
	ctx, cancel := launch(t,
		// A tab that is not in front goes on all the same.
		chromedp.Flag("disable-background-timer-throttling", true),
		chromedp.Flag("disable-backgrounding-occluded-windows", true),
		chromedp.Flag("disable-renderer-backgrounding", true),
	)
	chromium.ctx, chromium.cancel = ctx, cancel
	return ctx
}

// launch starts a browser.
func launch(t testing.TB, options ...chromedp.ExecAllocatorOption) (ctx context.Context, cancel func()) {
	t.Helper()
	path := tool(t, "chromium", "chromium")
	profile, err := os.MkdirTemp("", "duplex-e2e-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), append([]chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path),
		chromedp.UserDataDir(profile),
		chromedp.WSURLReadTimeout(patience),
		chromedp.Env("TMPDIR=" + profile),
		chromedp.Headless, chromedp.NoSandbox, chromedp.NoFirstRun, chromedp.DisableGPU, chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		// Only the loopback interface is for it.
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
		// Pages that tests make up come from no address: they may use servers here all the same.
		chromedp.Flag("disable-features", "LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets"),
		// Test servers sign their certificates themselves.
		chromedp.Flag("ignore-certificate-errors", true),
		chromedp.WindowSize(1000, 800),
	}, options...)...)
	ctx, closeAll := chromedp.NewContext(allocator)
	cancel = func() {
		_ = chromedp.Cancel(ctx) // it may have crashed
		closeAll()
		stop()
		os.RemoveAll(profile)
	}
	if err := chromedp.Do(ctx); err != nil {
		cancel()
		t.Fatalf("start chromium: %v", err)
	}
	return ctx, cancel
}

func closeBrowser() {
	chromium.mu.Lock()
	defer chromium.mu.Unlock()
	if chromium.ctx != nil {
		chromium.cancel()
	}
}

// A tab is a page in Chromium.
type tab struct {
	t   testing.TB
	ctx context.Context

	mu         sync.Mutex // guards what follows
	complaints []string
}

// newTab opens an address, as the first tab of a browser with nothing in it.
func newTab(t testing.TB, address string) *tab {
	t.Helper()
	return openTab(t, browser(t), address, chromedp.WithNewBrowserContext())
}

func openTab(t testing.TB, browser context.Context, address string, options ...chromedp.ContextOption) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, options...)
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, p.hear); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, log.Enable, cdp.Empty{})
		return err
	})); err != nil {
		t.Fatal(err)
	}
	perform(p, "open "+address, chromedp.Navigate(address))
	return p
}

// close closes the tab, as its user would.
func (p *tab) close() {
	_ = chromedp.Cancel(p.ctx) // it waits for five seconds, which a busy machine may need
}

// hear notes what the browser complains about: errors on the console, refused
// content (Content-Security-Policy), exceptions, and dialogs, which no page of
// ours has.
func (p *tab) hear(heard any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := heard.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			for _, arg := range e.Args {
				p.complaints = append(p.complaints, fmt.Sprintf("console.%s: %s%s", e.Type, arg.Value, arg.Description))
			}
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		p.complaints = append(p.complaints, text)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			p.complaints = append(p.complaints, fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *cdpage.EventJavascriptDialogOpening:
		p.complaints = append(p.complaints, "dialog: "+e.Message)
		// Unanswered it would hold up the page. Ends with the tab.
		go func() {
			_, _ = chromedp.Call(p.ctx, cdpage.HandleJavaScriptDialog, cdpage.HandleJavaScriptDialogParams{}) // the page may be gone
		}()
	}
}

// perform does something in a tab, which must succeed in time.
func perform[T any](p *tab, what string, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatalf("%s: %v; complaints: %q", what, err, p.complained())
	}
	return result
}

// evaluate is the value of an expression, or of the promise that it is.
func evaluate[T any](p *tab, expression string) T {
	p.t.Helper()
	return perform(p, expression, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// run runs a script.
func (p *tab) run(script string) {
	p.t.Helper()
	evaluate[chromedp.Void](p, script)
}

// until waits for a condition of the page.
func (p *tab) until(condition string) {
	p.t.Helper()
	if eventually(func() bool { return evaluate[bool](p, "!!("+condition+")") }) {
		return
	}
	page := evaluate[string](p, "document.body.innerText + '\\n' + JSON.stringify(window.heard ?? null)")
	p.t.Fatalf("waited in vain: %s; the page: %s; complaints: %q", condition, tail(page, 2000), p.complained())
}

// check asserts that expressions have values.
func check[T comparable](p *tab, expression string, want T) {
	p.t.Helper()
	if got := evaluate[T](p, expression); got != want {
		p.t.Errorf("%s is %v, not %v", expression, got, want)
	}
}

func (p *tab) complained() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.complaints)
}

// checkQuiet asserts that the browser found nothing wrong.
func (p *tab) checkQuiet() {
	p.t.Helper()
	p.run("1") // what was said before has been heard with its answer
	for _, complaint := range p.complained() {
		p.t.Errorf("the browser complains: %s", complaint)
	}
}

// quote writes a string for a script.
func quote(s string) string {
	text, _ := json.Marshal(s) // a string always marshals
	return string(text)
}

// screenshot is for a person to look at.
func (p *tab) screenshot(name string) {
	p.t.Helper()
	png := perform(p, "screenshot", chromedp.CaptureScreenshot())
	path := artifact(p.t, name)
	if err := os.WriteFile(path, png, 0o666); err != nil {
		p.t.Error(err)
	}
	p.t.Logf("screenshot: %s", path)
}

// A front is a web site with one empty page, /page, that has the server's
// topics behind a reverse proxy.
type front struct {
	url, addr string
	holding   atomic.Bool // WebSocket handshakes are not answered

	mu      sync.Mutex // guards what follows
	answers []int      // statuses of the server
	asked   time.Time  // when the last request for it came
}

func newFront(t testing.TB, backend string) *front {
	t.Helper()
	to, err := url.Parse(backend)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{addr: l.Addr().String(), url: "http://" + l.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html lang="en"><title>page</title><link rel="icon" href="data:,"><body>page`)
	})
	transport := &http.Transport{}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // the site's own origin is the server's
		},
		ModifyResponse: func(r *http.Response) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.answers = append(f.answers, r.StatusCode)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if !errors.Is(err, context.Canceled) {
				w.WriteHeader(http.StatusBadGateway)
			}
		},
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.asked = time.Now()
		f.mu.Unlock()
		if f.holding.Load() && r.Header.Get("Upgrade") != "" {
			<-r.Context().Done()
			return
		}
		proxy.ServeHTTP(w, r)
	})
	site := &http.Server{Handler: mux}
	var serving sync.WaitGroup
	// Ends when the site is closed. Joined by the cleanup.
	serving.Go(func() { _ = site.Serve(l) })
	t.Cleanup(func() {
		site.Close()
		transport.CloseIdleConnections()
		serving.Wait()
	})
	return f
}

// lastAsked is when the last request for the server came.
func (f *front) lastAsked() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// answered is how many times the server has given a status.
func (f *front) answered(status int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, s := range f.answers {
		if s == status {
			n++
		}
	}
	return n
}
