package check

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/sse"
	"github.com/duplexhq/duplex/websocket"
)

// eventType is that of the events that are looked for.
const eventType = "check"

// A probe is one transport over one version of HTTP, on a connection of its own.
type probe struct {
	Result
	c       *checker
	way     *way
	traffic traffic
	before  int // of it, before events were published

	began  time.Time
	signal time.Duration // until the first signal

	// next reads until the next event or signal, and returns its type.
	next  func(ctx context.Context) (string, error)
	close func() // may be nil
}

// A message is an event, a signal or an answer, as far as it is looked at.
type message struct {
	Event string `json:"event"`
}

// connect waits for the first signal.
func (p *probe) connect(ctx context.Context) {
	p.way = p.c.newWay(p.Version, &p.traffic)
	p.began = time.Now()
	var err error
	switch p.Transport {
	case client.WebSocket:
		err = p.websocket(ctx)
	case client.WebTransport:
		err = p.webtransport(ctx)
	case client.SSE, client.Stream:
		err = p.follow(ctx)
	case Publishing:
		if err = p.post(ctx, "probe"); err == nil {
			p.signalled()
		}
	default:
		err = p.page(ctx)
	}
	if err != nil {
		p.fail(p.explain(err))
		return
	}
	p.Works, p.FirstSignal = true, p.signal
	p.before = p.traffic.since(0)
}

// signalled notes the first signal.
func (p *probe) signalled() { p.signal = time.Since(p.began) }

// receive sees the events through that were published, and what they take.
func (p *probe) receive(ctx context.Context) {
	if p.next == nil {
		return
	}
	for got := 0; got < messages; {
		waiting, cancel := context.WithTimeoutCause(ctx, p.c.Timeout, errLost)
		event, err := p.next(waiting)
		cancel()
		if err != nil {
			p.Works = false
			p.fail(&failure{Lost, fmt.Sprintf("the first signal came, and then %d of %d events: %v", got, messages, shorten(err))})
			return
		}
		if event == eventType {
			got++
		}
	}
	p.Overhead = max(0, p.traffic.since(p.before)/messages-messageBytes)
}

// publish publishes the events, one by one.
func (p *probe) publish(ctx context.Context) error {
	for i := range messages {
		data := fmt.Sprintf("%-*d", messageBytes, i)
		if err := p.post(ctx, eventType, data); err != nil {
			return err
		}
	}
	return nil
}

func (p *probe) post(ctx context.Context, event string, data ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.c.Timeout, errUnanswered)
	defer cancel()
	resp, err := p.request(ctx, http.MethodPost, url.Values{"event": {event}}, strings.NewReader(strings.Join(data, "")))
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return &failure{NotDuplex, "the answer to a publish is " + resp.Status}
	}
	return nil
}

// request sends a request about the topic; an answer that refuses is an error.
func (p *probe) request(ctx context.Context, method string, query url.Values, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.way.url(p.c.Topic, query), body)
	if err != nil {
		return nil, err
	}
	for name, values := range p.c.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/plain")
	}
	return p.do(req)
}

func (p *probe) do(req *http.Request) (*http.Response, error) {
	resp, err := p.way.http.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		if req.Context().Err() != nil {
			err = context.Cause(req.Context())
		}
		return nil, err
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what there is of it
		return nil, refused(resp.StatusCode, resp.Header, body)
	}
	return resp, nil
}

// get sends a GET for the given media type, as a browser would. It returns with
// the header, and cancel ends it.
func (p *probe) get(ctx context.Context, media string, query url.Values) (resp *http.Response, body io.Reader, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.way.url(p.c.Topic, query), nil)
	if err != nil {
		return nil, nil, err
	}
	for name, values := range p.c.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	req.Header.Set("Accept", media)
	req.Header.Set("Accept-Encoding", "gzip") // as browsers do, whether the answer can be flushed or not
	if resp, err = p.do(req); err != nil {
		return nil, nil, err
	}
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, media) {
		resp.Body.Close()
		return nil, nil, &failure{NotDuplex, fmt.Sprintf("the answer is %q, want %s", got, media)}
	}
	if err := p.readable(resp); err != nil {
		resp.Body.Close()
		return nil, nil, err
	}
	body = resp.Body
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		body = &lazyGzip{from: resp.Body}
	}
	return resp, body, nil
}

// readable reports why a browser would keep the answer from a page of the
// Origin that is pretended (PROTOCOL.md §10.2).
func (p *probe) readable(resp *http.Response) error {
	origin := p.c.Header.Get("Origin")
	if origin == "" || strings.EqualFold(origin, p.c.base.Scheme+"://"+p.c.base.Host) {
		return nil
	}
	if allowed := resp.Header.Get("Access-Control-Allow-Origin"); allowed != "*" && allowed != origin {
		return &failure{Origin, "the answer does not allow this Origin, so browsers keep it from the page (--allow-origin)"}
	}
	return nil
}

// lazyGzip reads nothing before it is read.
type lazyGzip struct {
	from   io.Reader
	reader *gzip.Reader
}

func (l *lazyGzip) Read(b []byte) (n int, err error) {
	if l.reader == nil {
		if l.reader, err = gzip.NewReader(l.from); err != nil {
			return 0, err
		}
	}
	return l.reader.Read(b)
}

func (p *probe) websocket(ctx context.Context) error {
	dialing, cancel := context.WithTimeoutCause(ctx, p.c.Timeout, errUnanswered)
	defer cancel()
	opts := p.way.dial
	opts.Header = p.c.Header
	opts.Subprotocols = []string{"duplex.v1"}
	opts.CloseTimeout = time.Second
	// as tells a handshake whose Upgrade was lost on the way from another request.
	conn, resp, err := websocket.Dial(dialing, p.way.url(p.c.Topic, url.Values{"as": {"websocket"}}), &opts)
	if err != nil {
		return p.handshake(resp, err)
	}
	p.close = conn.CloseNow
	if conn.Subprotocol() == "" {
		return &failure{NotDuplex, "the server does not speak duplex.v1"}
	}
	p.next = func(ctx context.Context) (string, error) {
		_, text, err := conn.Read(ctx)
		return typeOf(text), err
	}
	first, cancel := context.WithTimeoutCause(ctx, p.c.Timeout, errSilent)
	defer cancel()
	_, err = p.next(first)
	if first.Err() != nil {
		return errSilent
	}
	p.signalled()
	return err
}

func (p *probe) webtransport(ctx context.Context) error {
	dialing, cancel := context.WithTimeoutCause(ctx, p.c.Timeout, errUnanswered)
	defer cancel()
	u, err := url.Parse(p.way.url(p.c.Topic, nil))
	if err != nil {
		return err
	}
	conn, err := p.way.webTransport(dialing, u, p.c.Header)
	if err != nil {
		if dialing.Err() != nil {
			err = context.Cause(dialing)
		}
		return err
	}
	p.close = conn.Close
	p.next = func(ctx context.Context) (string, error) {
		text, err := conn.ReadMessage(ctx, 0)
		return typeOf(text), err
	}
	first, cancel := context.WithTimeoutCause(ctx, p.c.Timeout, errSilent)
	defer cancel()
	_, err = p.next(first)
	p.signalled()
	return err
}

// follow opens an answer without end.
func (p *probe) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	p.close = func() { cancel(nil) } // until there is more to end
	media, query := "text/event-stream", url.Values{"envelope": {"1"}}
	if p.Transport == client.Stream {
		media, query = "application/x-ndjson", url.Values{}
	}
	waiting := time.AfterFunc(p.c.Timeout, func() { cancel(errUnanswered) })
	defer waiting.Stop()
	resp, body, err := p.get(ctx, media, query)
	if err != nil {
		return err
	}
	if !waiting.Stop() {
		return errUnanswered
	}
	// Ends with the request. Joined by close.
	events := make(chan read)
	p.close = func() {
		cancel(nil)
		for range events {
		}
	}
	go func() {
		defer close(events)
		for r := range eventsOf(p.Transport, body) {
			select {
			case events <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	p.next = func(ctx context.Context) (string, error) {
		select {
		case r, ok := <-events:
			if !ok {
				return "", io.EOF
			}
			return r.event, r.err
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	first, stop := context.WithTimeoutCause(ctx, p.c.Timeout, errHeld)
	defer stop()
	_, err = p.next(first)
	p.signalled()
	if err == errHeld && resp.Header.Get("Content-Encoding") != "" {
		return &failure{Held, "something on the way compresses the answer (" + resp.Header.Get("Content-Encoding") + "), and does not flush it"}
	}
	return err
}

// read is what came.
type read struct {
	event string
	err   error
}

// eventsOf gives the types of what comes, and the error at the end.
func eventsOf(t client.Transport, body io.Reader) func(yield func(read) bool) {
	return func(yield func(read) bool) {
		if t == client.SSE {
			for event, err := range sse.Read(body, nil) {
				if !yield(read{event.Type, err}) {
					return
				}
			}
			return
		}
		lines := bufio.NewReader(body)
		for {
			line, err := lines.ReadBytes('\n')
			if !yield(read{typeOf(line), err}) || err != nil {
				return
			}
		}
	}
}

func typeOf(text []byte) string {
	var m message
	_ = json.Unmarshal(bytes.TrimSpace(text), &m) // what is none has no type
	return m.Event
}

// page asks for a first page, and then for one event after the other.
func (p *probe) page(ctx context.Context) error {
	cursor, _, err := p.ask(ctx, url.Values{"after": {"now"}}, errUnanswered)
	if err != nil {
		return err
	}
	p.signalled()
	var waiting []string
	p.next = func(ctx context.Context) (string, error) {
		if len(waiting) == 0 {
			if cursor, waiting, err = p.ask(ctx, url.Values{"after": {cursor}, "limit": {"1"}}, errLost); err != nil {
				return "", err
			}
			if len(waiting) == 0 {
				return "", nil
			}
		}
		event := waiting[0]
		waiting = waiting[1:]
		return event, nil
	}
	if p.Transport == client.Longpoll {
		_, _, err = p.ask(ctx, url.Values{"after": {cursor}, "wait": {"1"}}, errHeldPoll)
	}
	return err
}

// ask gets a page: its cursor, and the types of its events.
func (p *probe) ask(ctx context.Context, query url.Values, late error) (cursor string, events []string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.c.Timeout, late)
	defer cancel()
	if p.Transport == client.Longpoll && query.Get("wait") == "" {
		query.Set("wait", "0")
	}
	resp, body, err := p.get(ctx, "application/json", query)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	var page struct {
		Events []message
		Cursor string
	}
	if err := json.NewDecoder(body).Decode(&page); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", nil, err
	}
	for _, e := range page.Events {
		events = append(events, e.Event)
	}
	return page.Cursor, events, nil
}

// release ends the connection.
func (p *probe) release() {
	if p.close != nil {
		p.close()
	}
	if p.way != nil {
		p.way.close()
	}
}

func (p *probe) fail(f *failure) { p.Works, p.Cause, p.Why = false, f.cause, f.text }
